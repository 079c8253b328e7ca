"""Makes LR images from HR images exactly as the papers did. Needs only NumPy and OpenCV."""

from rcan_plugin.degradations.degrade import KINDS, Degradation, degrade, noise_rng
from rcan_plugin.degradations.identify import Identification, identify
from rcan_plugin.degradations.ties import matches_up_to_ties
from rcan_plugin.resampling.bicubic import imresize
from rcan_plugin.resampling.separable import BORDERS

__all__ = [
    "BORDERS",
    "KINDS",
    "Degradation",
    "Identification",
    "degrade",
    "identify",
    "imresize",
    "matches_up_to_ties",
    "noise_rng",
]
