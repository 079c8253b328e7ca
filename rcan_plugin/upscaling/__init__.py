"""Upscales picture files: finds inputs, plans outputs, runs the network, reports failures."""
