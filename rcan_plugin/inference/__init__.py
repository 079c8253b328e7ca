"""Upscaling images with a network: self-ensemble, tiles, the authors' chop. Pure torch; usable without BasicSR."""
