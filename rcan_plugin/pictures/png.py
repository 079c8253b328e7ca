"""Writes PNG row by row. Pillow and OpenCV need the whole picture in memory; Pillow writes no 16-bit colour.

PNG Specification (Third Edition), W3C: https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from rcan_plugin.pictures.picture import Picture

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # gray, gray with alpha, R G B, R G B A
_LEVEL = 4  # of zlib: level 6 takes twice the time for 4 % smaller files
_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 18  # rows are filtered in blocks that stay in cache
_METRES_PER_INCH = 0.0254


def write(file: BinaryIO, strips: Iterable[np.ndarray], picture: Picture, width: int, height: int) -> None:
    """Write a PNG file.

    Args:
        file: file to write to.
        strips: rows x width x 1 to 4 channels, uint8 or uint16, from top to bottom.
        picture: has the profile, EXIF and resolution, and the type and channels of the values.
        width, height: size of the whole picture in pixels.
    """
    dtype, channels = picture.color.dtype, picture.channels
    file.write(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", width, height, 8 * dtype.itemsize, _COLOUR_TYPES[channels], 0, 0, 0)
    _write_chunk(file, b"IHDR", header)
    if picture.icc:
        _write_chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.icc))
    if picture.dpi:
        _write_chunk(file, b"pHYs", struct.pack(">IIB", *(round(dots / _METRES_PER_INCH) for dots in picture.dpi), 1))
    if picture.exif:
        _write_chunk(file, b"eXIf", picture.exif.removeprefix(b"Exif\0\0"))
    compressor = zlib.compressobj(_LEVEL, strategy=zlib.Z_FILTERED)
    pending = bytearray()
    above = np.zeros(width * channels * dtype.itemsize, np.uint8)
    for strip in strips:
        rows = np.ascontiguousarray(strip, dtype.newbyteorder(">")).view(np.uint8).reshape(len(strip), -1)
        block = max(1, _BLOCK_BYTES // rows.shape[1])
        for top in range(0, len(rows), block):
            filtered = _filtered(rows[top : top + block], above, channels * dtype.itemsize)
            pending += compressor.compress(filtered.data)
            above = rows[min(top + block, len(rows)) - 1]
            if len(pending) >= _CHUNK_BYTES:
                _write_chunk(file, b"IDAT", pending)
                pending.clear()
    _write_chunk(file, b"IDAT", pending + compressor.flush())
    _write_chunk(file, b"IEND", b"")


def _filtered(rows: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """Filter rows, each by the filter with the smallest sum of absolute differences (section 12.7).

    Args:
        rows: rows x bytes.
        above: the row above them.
        step: bytes of a pixel.

    Returns:
        rows x (1 + bytes): the number of the filter, then the differences.
    """
    up = np.vstack([above[None], rows[:-1]])
    left, corner = (np.zeros_like(rows) for _ in range(2))
    left[:, step:], corner[:, step:] = rows[:, :-step], up[:, :-step]
    candidates = {1: rows - left, 2: rows - up, 4: rows - _paeth(left, up, corner)}
    costs = np.stack([np.abs(values.view(np.int8)).sum(1, dtype=np.int64) for values in candidates.values()])
    best = costs.argmin(0)
    out = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    for index, (number, values) in enumerate(candidates.items()):
        chosen = best == index
        out[chosen, 0], out[chosen, 1:] = number, values[chosen]
    return out


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The neighbour that is nearest to left + up - corner; ties in the order left, up, corner (section 9.4)."""
    a, b, c = (values.astype(np.int16) for values in (left, up, corner))
    to_left, to_up, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest_two = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest_two)


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes | bytearray) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
