"""Upscales pictures from files to files: which inputs give which outputs, the run, and what did not succeed."""
