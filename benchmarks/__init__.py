"""Benchmark scripts. Each prints the figures of one Markdown file beside it."""
