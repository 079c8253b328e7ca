"""EXIF's orientation."""

from __future__ import annotations

from typing import Any

import numpy as np


def valid(value: Any) -> int:
    """Return the orientation in a file if it is 1 to 8; otherwise 1, which means no rotation."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def swaps_sides(orientation: int) -> bool:
    """Whether an orientation exchanges width and height."""
    return orientation >= 5


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and mirror pixels, H x W [x C], of an orientation from 1 to 8 upright (Exif 3.0, tag 274)."""
    if swaps_sides(orientation):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
