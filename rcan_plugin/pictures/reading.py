"""Reads a file into a `Picture`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from rcan_plugin.pictures.picture import Picture

MAX_PIXELS = 178_956_970
"""Default limit of pixels of a picture: that of Pillow, above which a small file that fills the memory is suspected."""


def read(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture from a file.

    Args:
        path: the file.
        max_pixels: refuse pictures of more pixels before they are decoded.

    Raises:
        PictureError: it is damaged, animated, too large, of a kind that cannot be enlarged, or no picture.
        OSError: it cannot be read.
    """
    with Image.open(Path(path)) as image:
        mode = image.mode if image.mode in ("L", "LA", "RGB", "RGBA") else "RGB"
        values = np.atleast_3d(np.asarray(image.convert(mode)))
        colors = values.shape[2] - values.shape[2] % 2 if values.shape[2] != 2 else 1
        colors = {1: 1, 2: 1, 3: 3, 4: 3}[values.shape[2]]
        alpha = values[..., -1] if values.shape[2] != colors else None
        return Picture(values[..., :colors], alpha, format=image.format or "")
