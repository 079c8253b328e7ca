"""Making LR images from HR images exactly as the papers did. Needs NumPy and OpenCV alone."""

from rcan_plugin.degradations.degrade import KINDS, Degradation, degrade, noise_rng
from rcan_plugin.degradations.identify import Identification, identify
from rcan_plugin.resampling.bicubic import imresize
from rcan_plugin.resampling.separable import BORDERS

__all__ = ["BORDERS", "KINDS", "Degradation", "Identification", "degrade", "identify", "imresize", "noise_rng"]
