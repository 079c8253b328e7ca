"""Inference in pure torch, usable without BasicSR: self-ensemble (x8), tiles, the RCAN authors' recursive chop."""
