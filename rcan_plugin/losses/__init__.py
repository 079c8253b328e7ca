"""Losses that the networks need and BasicSR lacks; usable without BasicSR."""

from rcan_plugin.losses.supervised import EuclideanLoss, PyramidLoss, RecursiveLoss

LOSSES = (EuclideanLoss, PyramidLoss, RecursiveLoss)
"""What an option file may name as `pixel_opt: type`; all take several outputs."""
