"""Comparison of networks on test sets: measurement, tables, plots and a page."""
