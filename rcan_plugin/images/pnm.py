"""Binary PNM, the format of raw LMDB values: a line of text, then the pixels, which can be used where they lie."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import numpy as np

# "P6\n2040 1356\n255\n", https://netpbm.sourceforge.net/doc/ppm.html; comments, which nobody writes here, are not read.
_HEADER = re.compile(rb"P[56]\s\d{1,9}\s\d{1,9}\s\d{1,5}\s")
_HEADER_BYTES = 64
_TYPES: dict[int, np.dtype[Any]] = {255: np.dtype(np.uint8), 65535: np.dtype(">u2")}


def encode(image: np.ndarray) -> bytes:
    """The image as binary PNM, which OpenCV and Pillow, and so BasicSR, decode to the same values.

    Args:
        image: H x W (gray) or H x W x 3 (B, G, R), uint8 or uint16.
    """
    gray = image.ndim == 2
    header = b"P%d\n%d %d\n%d\n" % (5 if gray else 6, image.shape[1], image.shape[0], np.iinfo(image.dtype).max)
    values = image if gray else image[..., ::-1]
    # PNM has the higher byte first.
    return header + np.ascontiguousarray(values, values.dtype.newbyteorder(">")).tobytes()


def view(buffer: bytes | memoryview) -> np.ndarray | None:
    """The pixels of a binary PNM image where they lie, without a copy; None if it is something else.

    Args:
        buffer: the whole encoded image; the result must not outlive it.

    Returns:
        H x W (gray) or H x W x 3 in the order R, G, B (!), read-only, uint8 or big-endian uint16.

    Raises:
        ValueError: it is shorter or longer than its header says.
    """
    found = _HEADER.match(bytes(buffer[:_HEADER_BYTES]))
    head = None if found is None else _read(found[0])
    if head is None:
        return None
    start, expected, shape, dtype = head
    if len(buffer) != expected:
        raise ValueError(f"it has {len(buffer)} bytes and its header says {expected}")
    return np.ndarray(shape, dtype, buffer, start)


@functools.lru_cache(maxsize=4096)
def _read(header: bytes) -> tuple[int, int, tuple[int, ...], np.dtype[Any]] | None:
    """Where the pixels begin and end, their shape and type; None where others must decode them."""
    kind, width, height, peak = map(int, header[1:].split())
    if peak not in _TYPES:
        return None
    shape = (height, width) if kind == 5 else (height, width, 3)
    return len(header), len(header) + math.prod(shape) * _TYPES[peak].itemsize, shape, _TYPES[peak]
