"""MATLAB's `imresize` with the bicubic kernel, for NumPy arrays."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from rcan_plugin._checks import is_number
from rcan_plugin.resampling.banded_matmul import apply_taps
from rcan_plugin.resampling.separable import Floats, Image, Taps, check_border, check_image


def imresize(image: Image, factor: float, *, border: str = "replicate") -> Image:
    """Resize like MATLAB's `imresize(image, factor, 'bicubic')`, antialiased when the image shrinks.

    Rows are resampled first, then columns. Integer images are rounded (halves away from zero) and clipped after each
    pass, because MATLAB keeps the class of its input between them.

    Args:
        image: H x W or H x W x C; uint8, uint16, float32 or float64, in any range. It is not changed.
        factor: output size divided by input size, above 0: 0.5 and 1/3 shrink, 2 enlarges.
        border: pixels assumed past the border. `replicate` repeats the nearest pixel, as in the LR images of RCAN's
            test data and of Set5, Set14, B100 and Urban100 as published in 2015; `symmetric` mirrors the image, as in
            another published set. `identify` finds out which of them made a pair.

    Returns:
        ceil(H * factor) x ceil(W * factor) [x C], of the type of `image`. Sums are float64; floats are not rounded.

    Raises:
        TypeError: the image is not an array of a supported type, or `factor` is not a number.
        ValueError: bad shape, an empty image, an unknown border, or a factor that is not positive and finite.

    Examples:
        >>> import numpy as np
        >>> imresize(np.array([[0, 0, 255, 255]], np.uint8), 0.5)
        array([[ 17, 238]], dtype=uint8)
    """
    check_image(image)
    check_border(border)
    if not is_number(factor, (int, float, np.integer, np.floating)):
        raise TypeError(f"factor is a {type(factor).__name__}; expected a number, such as 0.5 to halve the image")
    if not 0 < factor < math.inf:
        raise ValueError(f"factor is {factor}; expected a positive number, such as 0.5 to halve the image")
    rows, cols = (bicubic_taps(size, float(factor)) for size in image.shape[:2])
    return apply_taps(image, rows, cols, border, round_between=True)


def cubic(x: Floats) -> Floats:
    """Keys' cubic convolution kernel with a = -0.5; zero for |x| >= 2.

    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981, equation 15.
    """
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@lru_cache(maxsize=64)
def bicubic_taps(size: int, factor: float) -> Taps:
    """Compute the taps that resample an axis of `size` pixels to ceil(size * factor) pixels.

    As in MATLAB's `contributions`: output i is centred at (i + 0.5) / factor - 0.5 of the input, and when the image
    shrinks the kernel is stretched by 1 / factor.
    """
    outputs = math.ceil(size * factor * (1 - 1e-12))  # 1e-12: 0.1 * 30 is a little more than 3
    scale = 1 / factor
    step = round(scale)
    is_whole_step = step >= 1 and abs(scale - step) < 1e-12 * scale
    if is_whole_step:
        scale = float(step)
    stretch = max(scale, 1.0)
    centres = (np.arange(1 if is_whole_step else outputs) + 0.5) * scale - 0.5
    first = np.floor(centres - 2 * stretch).astype(np.intp)
    positions = first[:, None] + np.arange(math.ceil(4 * stretch) + 2)
    weights = cubic((centres[:, None] - positions) / stretch)
    used = np.flatnonzero(weights.any(axis=0))
    first += used[0]
    weights = weights[:, used[0] : used[-1] + 1]
    weights /= weights.sum(axis=1, keepdims=True)
    if is_whole_step:
        return Taps(first[0] + step * np.arange(outputs), weights, step)
    return Taps(first, weights)
