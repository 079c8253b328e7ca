"""Prepares images as the LMDBs and folders that option files name; needs neither torch nor BasicSR."""
