"""Losses that the networks need and BasicSR lacks; usable without BasicSR."""
