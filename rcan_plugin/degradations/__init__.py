"""Making LR images from HR images exactly as the papers did. Needs NumPy and OpenCV alone."""

from .degrade import KINDS, Degradation, degrade, noise_rng
from .identify import Identification, identify
from .resize import imresize
from .separable import BORDERS

__all__ = ["BORDERS", "KINDS", "Degradation", "Identification", "degrade", "identify", "imresize", "noise_rng"]
