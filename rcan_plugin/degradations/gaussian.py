"""The blur of the degradation BD."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from rcan_plugin.resampling.separable import Floats, Taps

OFFICIAL_SIGMA = 1.6  # of BD in RCAN's `Prepare_TestData_HR_LR.m`


def gaussian_kernel(size: int, sigma: float) -> Floats:
    """A Gaussian of `size` samples that sums to 1; the outer product of two is MATLAB's `fspecial('gaussian')`."""
    x = np.arange(size) - (size - 1) / 2
    kernel = np.exp(-(x * x) / (2 * sigma * sigma))
    return kernel / kernel.sum()


def official_kernel_size(scale: int, sigma: float) -> int:
    """The kernel size in RCAN's `Prepare_TestData_HR_LR.m`: 7 at x3 with sigma 1.6; odd at odd scales, else even."""
    if scale == 3 and sigma == OFFICIAL_SIGMA:
        return 7
    return 2 * math.ceil(3 * sigma) + (1 if scale % 2 else 2)


@lru_cache(maxsize=64)
def gaussian_taps(size: int, scale: int, sigma: float, kernel_size: int) -> Taps:
    """The taps that blur an axis of `size` pixels, a multiple of `scale`, and keep every `scale`-th.

    Kept, counted from 0, are the pixels (scale - 1) // 2 + i * scale (`Prepare_TestData_HR_LR.m`); the origin of the
    kernel is its element (kernel_size - 1) // 2 (MATLAB's `imfilter`, which does not mirror the kernel).
    """
    kept = np.arange((scale - 1) // 2, size, scale)
    return Taps(kept - (kernel_size - 1) // 2, gaussian_kernel(kernel_size, sigma)[None], scale)
