"""Luma (Y of YCbCr) as MATLAB computes it."""

from __future__ import annotations

import numpy as np

# MATLAB's `rgb2ycbcr` (ITU-R BT.601, 16 to 235 of 255), in OpenCV's channel order B, G, R.
_WEIGHTS = np.array([24.966, 128.553, 65.481])
_OFFSET = 16.0


def bgr_to_y(image: np.ndarray) -> np.ndarray:
    """Convert a B, G, R image to luma, as MATLAB's `rgb2ycbcr` does.

    Args:
        image: H x W x 3, uint8 or uint16.

    Returns:
        H x W x 1 of the same type; black is 16 and white 235 of 255.
    """
    peak = np.iinfo(image.dtype).max
    luma = (image @ (_WEIGHTS / 255)) + _OFFSET * peak / 255
    return np.floor(luma + 0.5).astype(image.dtype)[..., None]
