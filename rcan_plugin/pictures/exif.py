"""EXIF: kept byte for byte except what enlarging changes; converted between TIFF's own directory and EXIF blocks.

An EXIF block is a small TIFF structure: a header and directories (IFDs) of entries, each with a tag, a type, a count
and a value, or the offset of the value if it is longer than four bytes (TIFF 6.0, section 2; Exif 3.0, section 4.6).
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

ORIENTATION = 274
EXIF_IFD, GPS_IFD, INTEROP_IFD = 34665, 34853, 40965
_SIZES = (40962, 40963)  # PixelXDimension, PixelYDimension
_THUMBNAIL = 513  # JPEGInterchangeFormat: offset of the thumbnail

Order = Literal["<", ">"]  # of bytes

_PREFIX = b"Exif\0\0"
_SHORT, _LONG = 3, 4
_POINTERS = {None: (EXIF_IFD, GPS_IFD), EXIF_IFD: (INTEROP_IFD,)}
"""Directories that a directory may point to, by its own tag; None: the first directory."""
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_ENTRY_BYTES = 12

DESCRIPTIVE_TAGS = frozenset(
    [
        *(270, 271, 272, 305, 306, 315, 316, 33432),  # description, camera, software, time, artist, computer, copyright
        *(18246, 18249),  # rating
        *range(40091, 40096),  # Windows: title, comment, author, keywords, subject
        *(EXIF_IFD, GPS_IFD),
    ]
)
"""Tags of a TIFF file's directory that describe the picture; the others describe how its pixels are stored."""


class Entry(NamedTuple):
    """An entry of a directory; its value is bytes or the directory that it points to."""

    tag: int
    type: int
    number: int
    value: bytes | list[Entry]


def upright(exif: bytes) -> bytes:
    """Return EXIF for pixels that have been rotated: orientation 1, no thumbnail; everything else byte for byte.

    Args:
        exif: with or without "Exif" and two zero bytes before it.

    Raises:
        ValueError: it is damaged.
    """
    data, order, first = _opened(exif)
    read_directory(data, first, order)  # raise errors now, not when the result is written
    for at, tag, _, _ in _entries(data, first, order):
        if tag == ORIENTATION:
            struct.pack_into(order + "HIHH", data, at + 2, _SHORT, 1, 1, 0)
    link = first + 2 + _ENTRY_BYTES * _unpack(order + "H", data, first)
    thumbnails = _unpack(order + "I", data, link) if link + 4 <= len(data) else 0
    if thumbnails:
        struct.pack_into(order + "I", data, link, 0)
        _cut_thumbnail(data, thumbnails, order)
    return _PREFIX + bytes(data)


def _cut_thumbnail(data: bytearray, directory: int, order: Order) -> None:
    """Remove the thumbnail if it is at the end of the block, as cameras write it; otherwise its bytes remain unused."""
    values = {tag: _unpack(order + "I", data, at + 8) for at, tag, _, _ in _entries(data, directory, order)}
    start, length = values.get(_THUMBNAIL, 0), values.get(_THUMBNAIL + 1, 0)
    if directory < start and start + length >= len(data) - 1:
        del data[start:]


def with_size(exif: bytes, width: int, height: int) -> bytes:
    """Return EXIF with the picture's size corrected, if it contains the size."""
    data, order, first = _opened(exif)
    for at, tag, _, _ in _entries(data, first, order):
        if tag == EXIF_IFD:
            for inner, size_tag, _, _ in _entries(data, _unpack(order + "I", data, at + 8), order):
                if size_tag in _SIZES:
                    struct.pack_into(order + "HII", data, inner + 2, _LONG, 1, (width, height)[_SIZES.index(size_tag)])
    return _PREFIX + bytes(data)


def of_tiff(file: bytes) -> bytes | None:
    """Return an EXIF block with the descriptive tags of a TIFF file's first directory; None if there are none.

    Raises:
        ValueError: a directory is damaged, or the file is a BigTIFF.
    """
    data, order, first = _opened(file)
    entries = read_directory(data, first, order, DESCRIPTIVE_TAGS)
    if not entries:
        return None
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return _PREFIX + header + pack_directory(entries, 8, order)


def directory_of(exif: bytes) -> tuple[Order, list[Entry]]:
    """Return the byte order, `<` or `>`, and the entries of EXIF that may go into a TIFF file's directory.

    Raises:
        ValueError: it is damaged.
    """
    data, order, first = _opened(exif)
    return order, read_directory(data, first, order, DESCRIPTIVE_TAGS)


def read_directory(
    data: bytearray, start: int, order: Order, tags: Collection[int] | None = None, parent: int | None = None
) -> list[Entry]:
    """Read the entries of a directory, with the directories that they point to.

    Args:
        data: the TIFF structure.
        start: offset of the directory.
        order: `<` or `>`.
        tags: tags to read; None: all.
        parent: tag of the entry that points to it; None for the first directory.

    Raises:
        ValueError: it is damaged, or would expand when read: directories are nested or repeated, or values share bytes.
    """
    entries: list[Entry] = []
    left = len(data)
    for at, tag, kind, count in _entries(data, start, order):
        length = _TYPE_BYTES.get(kind, 0) * count
        if not length or (tags is not None and tag not in tags):
            continue
        value: bytes | list[Entry]
        if tag in (EXIF_IFD, GPS_IFD, INTEROP_IFD):
            if tag not in _POINTERS.get(parent, ()) or any(entry.tag == tag for entry in entries):
                raise ValueError("EXIF has a nested or repeated directory")
            value = read_directory(data, _unpack(order + "I", data, at + 8), order, None, tag)
        else:
            place = at + 8 if length <= 4 else _unpack(order + "I", data, at + 8)
            value = bytes(data[place : place + length])
            if len(value) < length:
                continue  # cut short
            if (left := left - length) < 0:
                raise ValueError("EXIF has values that share their bytes")
        entries.append(Entry(tag, kind, count, value))
    return entries


def pack_directory(entries: list[Entry], offset: int, order: Order) -> bytes:
    """Return the bytes of a directory and its values, for this offset from the start of the TIFF structure."""
    table = struct.pack(order + "H", len(entries))
    values = b""
    behind = offset + 2 + _ENTRY_BYTES * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        place = behind + len(values)
        if isinstance(value, list):
            kind, count, packed = _LONG, 1, struct.pack(order + "I", place)
            values += pack_directory(value, place, order)
        elif len(value) <= 4:
            packed = value.ljust(4, b"\0")
        else:
            packed = struct.pack(order + "I", place)
            values += value
        values += b"\0" * (len(values) % 2)  # values begin at even offsets
        table += struct.pack(order + "HHI", tag, kind, count) + packed
    return table + bytes(4) + values


def _opened(exif: bytes) -> tuple[bytearray, Order, int]:
    """Return the TIFF structure, its byte order and the offset of its first directory."""
    data = bytearray(exif.removeprefix(_PREFIX))
    orders: dict[bytes, Order] = {b"II*\0": "<", b"MM\0*": ">"}
    order = orders.get(bytes(data[:4]))
    if order is None:
        raise ValueError("EXIF has no TIFF header")
    return data, order, _unpack(order + "I", data, 4)


def _entries(data: bytearray, start: int, order: Order) -> Iterator[tuple[int, int, int, int]]:
    """Yield offset, tag, type and count of each entry."""
    for index in range(_unpack(order + "H", data, start)):
        at = start + 2 + index * _ENTRY_BYTES
        if at + _ENTRY_BYTES > len(data):
            raise ValueError("EXIF is cut short")
        yield (at, *struct.unpack_from(order + "HHI", data, at))


def _unpack(form: str, data: bytearray, at: int) -> int:
    try:
        return int(struct.unpack_from(form, data, at)[0])
    except struct.error:
        raise ValueError("EXIF is cut short") from None
