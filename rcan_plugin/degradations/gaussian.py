"""The Gaussian blur of the degradation BD."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from rcan_plugin.resampling.separable import Floats, Taps

OFFICIAL_SIGMA = 1.6  # of BD in RCAN's `Prepare_TestData_HR_LR.m`


def gaussian_kernel(size: int, sigma: float) -> Floats:
    """Return `size` samples of a Gaussian, with sum 1. The outer product of two is MATLAB's `fspecial('gaussian')`."""
    x = np.arange(size) - (size - 1) / 2
    kernel = np.exp(-(x * x) / (2 * sigma * sigma))
    return kernel / kernel.sum()


def official_kernel_size(scale: int, sigma: float) -> int:
    """Return the kernel size in RCAN's `Prepare_TestData_HR_LR.m`: 7 at x3 with sigma 1.6; odd at odd scales."""
    if scale == 3 and sigma == OFFICIAL_SIGMA:
        return 7
    return 2 * math.ceil(3 * sigma) + (1 if scale % 2 else 2)


@lru_cache(maxsize=64)
def gaussian_taps(size: int, scale: int, sigma: float, kernel_size: int) -> Taps:
    """Compute the taps that blur an axis of `size` pixels, a multiple of `scale`, and keep every `scale`-th pixel.

    The kept pixels, counted from 0, are (scale - 1) // 2 + i * scale (`Prepare_TestData_HR_LR.m`). The origin of the
    kernel is its element (kernel_size - 1) // 2, as in MATLAB's `imfilter`, which does not mirror the kernel.
    """
    kept = np.arange((scale - 1) // 2, size, scale)
    return Taps(kept - (kernel_size - 1) // 2, gaussian_kernel(kernel_size, sigma)[None], scale)
