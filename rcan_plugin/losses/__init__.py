"""Losses that the networks need and BasicSR lacks; usable without BasicSR. To add one, list it in `LOSSES`."""

from rcan_plugin.losses.supervised import EuclideanLoss, PyramidLoss, RecursiveLoss

LOSSES = (EuclideanLoss, PyramidLoss, RecursiveLoss)
"""The losses that an option file may name as `pixel_opt: type`; all accept several outputs."""
