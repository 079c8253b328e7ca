"""EXIF's orientation."""

from __future__ import annotations

from typing import Any

import numpy as np


def valid(value: Any) -> int:
    """An orientation as a file has it, if it is one of 1 to 8; else 1, which turns nothing."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def swaps_sides(orientation: int) -> bool:
    """Whether width and height change places."""
    return orientation >= 5


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror pixels, H x W [x C], as an orientation of 1 to 8 says they are shown (Exif 3.0, tag 274)."""
    if swaps_sides(orientation):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
