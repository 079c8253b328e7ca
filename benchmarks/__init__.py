"""Scripts that measure. Each prints the figures of one file beside it."""
