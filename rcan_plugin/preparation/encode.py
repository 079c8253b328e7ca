"""Encodes images as LMDB values: binary PNM or PNG."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from rcan_plugin.images import pnm

CODECS = ("raw", "png")
PNG_COMPRESSION = 1  # BasicSR's default


class EncodedImage(NamedTuple):
    """A value to be written to an LMDB, and the fields of its line in meta_info.txt."""

    key: str
    ending: str
    shape: tuple[int, int, int]
    compression: int
    content: bytes


def encode(key: str, image: np.ndarray, codec: str) -> EncodedImage:
    """Encode an image as a value of an LMDB.

    Args:
        key: its key.
        image: H x W or H x W x 3 (B, G, R), uint8 or uint16.
        codec: `raw` or `png`.
    """
    shape = (*image.shape[:2], 1 if image.ndim == 2 else 3)
    if codec == "raw":
        return EncodedImage(key, "pgm" if image.ndim == 2 else "ppm", shape, 0, pnm.encode(image))
    content = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])[1].tobytes()
    return EncodedImage(key, "png", shape, PNG_COMPRESSION, content)
