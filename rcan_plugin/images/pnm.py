"""Binary PNM, the format of raw LMDB values: a text header, then the pixels, which can be viewed without a copy."""

from __future__ import annotations

import functools
import math
import re
from typing import Any, NamedTuple

import numpy as np

# "P6\n2040 1356\n255\n", https://netpbm.sourceforge.net/doc/ppm.html; headers with comments are not recognised.
_HEADER = re.compile(rb"P[56]\s\d{1,9}\s\d{1,9}\s\d{1,5}\s")
_HEADER_BYTES = 64
_TYPES: dict[int, np.dtype[Any]] = {255: np.dtype(np.uint8), 65535: np.dtype(">u2")}


class _Layout(NamedTuple):
    """Where the pixels are in an encoded image: offset, total length in bytes, array shape and type."""

    start: int
    length: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def encode(image: np.ndarray) -> bytes:
    """Encode an image as binary PNM. OpenCV and Pillow, and so BasicSR, decode it to the same values.

    Args:
        image: H x W (gray) or H x W x 3 (B, G, R), uint8 or uint16.
    """
    gray = image.ndim == 2
    header = b"P%d\n%d %d\n%d\n" % (5 if gray else 6, image.shape[1], image.shape[0], np.iinfo(image.dtype).max)
    values = image if gray else image[..., ::-1]
    # PNM is big-endian.
    return header + np.ascontiguousarray(values, values.dtype.newbyteorder(">")).tobytes()


def view(buffer: bytes | memoryview) -> np.ndarray | None:
    """Return the pixels of a binary PNM image without copying them, or None for other formats.

    Args:
        buffer: the whole encoded image; the result must not outlive it.

    Returns:
        H x W (gray) or H x W x 3 in the order R, G, B (not OpenCV's), read-only, uint8 or big-endian uint16.

    Raises:
        ValueError: its length is not what its header says.
    """
    match = _HEADER.match(bytes(buffer[:_HEADER_BYTES]))
    layout = None if match is None else _layout(match[0])
    if layout is None:
        return None
    if len(buffer) != layout.length:
        raise ValueError(f"it has {len(buffer)} bytes and its header says {layout.length}")
    return np.ndarray(layout.shape, layout.dtype, buffer, layout.start)


@functools.lru_cache(maxsize=4096)
def _layout(header: bytes) -> _Layout | None:
    """Parse a header; None for a value range that `view` does not support."""
    kind, width, height, peak = map(int, header[1:].split())
    if peak not in _TYPES:
        return None
    shape = (height, width) if kind == 5 else (height, width, 3)
    return _Layout(len(header), len(header) + math.prod(shape) * _TYPES[peak].itemsize, shape, _TYPES[peak])
