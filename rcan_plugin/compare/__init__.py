"""Comparison of networks on test sets: measurement, tables, plots and a page."""

from rcan_plugin.compare.run import Report, compare

__all__ = ["Report", "compare"]
