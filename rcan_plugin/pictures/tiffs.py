"""Reads TIFF files of 16 bits and floats, which Pillow cuts to 8 bits or does not support; writes TIFF in strips."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from tifffile import PHOTOMETRIC, RESUNIT, TiffFile, TiffPage, TiffWriter

from rcan_plugin.pictures import exif as exif_blocks
from rcan_plugin.pictures.picture import Picture, PictureError, white_value

_LEVEL = 4  # of zlib
_CM_PER_INCH = 2.54
_STRIP_BYTES = 1 << 20  # uncompressed, of the files that are written
_CLASSIC_BYTES = (1 << 32) - (1 << 26)  # larger results are BigTIFF
_ASSOCIATED, _UNASSOCIATED = 1, 2  # ExtraSamples
_DNG_VERSION = 50706
_METADATA = {700: "XMP", 33723: "IPTC"}  # tags of metadata that are not copied to the result
_TEXT_TYPES = (1, 2)  # bytes (UTF-16 in tags of Windows) and ASCII


logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # this module raises an error for a damaged file


class Page(NamedTuple):
    """The directory of a TIFF file with one picture.

    Attributes:
        width, height: as stored, before the orientation.
        orientation: 1 to 8.
        deep: whether it has 16 bits or floats, to be read by `read_deep`; otherwise Pillow reads it.
        icc, dpi, exif: as in `Picture`; the EXIF's orientation is 1.
        remarks: descriptions of what is lost.
    """

    width: int
    height: int
    orientation: Any
    deep: bool
    icc: bytes | None
    dpi: tuple[float, float] | None
    exif: bytes | None
    remarks: tuple[str, ...]


def inspect(path: Path) -> Page:
    """Read the directory of a TIFF file, and check that it holds one picture of a kind that can be enlarged.

    Raises:
        PictureError: it does not hold such a picture; the message does not name the file.
        Exception: almost any, for a damaged file.
    """
    with TiffFile(path) as file:
        page = _only_page(file)
        if _DNG_VERSION in page.tags:
            raise PictureError("is a camera's raw file (DNG): develop it and export it as 16-bit TIFF")
        exif: bytes | None = None
        remarks: tuple[str, ...] = ()
        try:
            exif = exif_blocks.of_tiff(path.read_bytes())
        except ValueError as error:
            remarks = (f"its EXIF is not kept ({error})",) if exif_blocks.EXIF_IFD in page.tags else ()
        remarks += tuple(f"its {name} is not kept" for tag, name in _METADATA.items() if tag in page.tags)
        return Page(
            page.imagewidth,
            page.imagelength,
            page.tags.valueof(exif_blocks.ORIENTATION),
            _is_deep(page),
            page.iccprofile,
            _resolution(page),
            exif,
            remarks,
        )


def _only_page(file: TiffFile) -> TiffPage:
    """Return the page of a file. Thumbnails, smaller copies and masks are not counted."""
    pages = [page.aspage() for page in file.pages]
    if not pages:
        raise PictureError("has no page: it is cut short: fetch or make it again")
    pages = [page for page in pages if not (page.is_reduced or page.is_mask)] or pages[:1]
    if len(pages) > 1:
        raise PictureError(f"has {len(pages)} pages: save the one you mean as a file of its own")
    return pages[0]


def _is_deep(page: TiffPage) -> bool:
    bits, kind = _bits(page), page.sampleformat if isinstance(page.sampleformat, int) else page.sampleformat[0]
    photometric = _photometric_name(page)
    if bits in (1, 2, 4, 8) and kind in (1, 4):
        return False
    if (bits, kind) not in ((16, 1), (16, 4), (16, 3), (32, 3), (64, 3)):
        name = {1: "unsigned integers", 2: "signed integers", 3: "floats"}.get(kind, "values of an unknown type")
        raise PictureError(f"has {bits}-bit {name}; expected 1 to 8 or 16 bits, or floats: convert it")
    if page.photometric not in (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB):
        raise PictureError(f"has {bits}-bit {photometric} colours: convert it to RGB")
    return True


def _bits(page: TiffPage) -> int:
    bits = page.bitspersample
    if isinstance(bits, tuple):
        raise PictureError(f"has channels of {' and '.join(map(str, bits))} bits: convert it to 8 or 16 bits")
    return bits


def _photometric_name(page: TiffPage) -> str:
    name = getattr(page.photometric, "name", str(page.photometric))
    return {"SEPARATED": "CMYK", "CIELAB": "Lab", "ICCLAB": "Lab", "YCBCR": "YCbCr", "PALETTE": "palette"}.get(
        name, name
    )


def _resolution(page: TiffPage) -> tuple[float, float] | None:
    """The resolution in pixels per inch; None if it has no unit."""
    unit = page.tags.valueof(296, 2)
    values = [page.tags.valueof(code) for code in (282, 283)]
    if unit not in (2, 3) or not all(isinstance(value, tuple) and value[1] for value in values):
        return None
    x, y = (value[0] / value[1] * (_CM_PER_INCH if unit == 3 else 1) for value in values)
    return x, y


def read_deep(path: Path) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Read the pixels of a TIFF file of 16 bits or floats.

    Returns:
        Colour, H x W x 1 or 3, uint16 or float32; alpha, H x W, or None; remarks. As stored, before the orientation.

    Raises:
        PictureError: it has a compression that neither tifffile nor OpenCV reads, or floats that are not from 0 to 1.
        Exception: almost any, for a damaged file.
    """
    remarks = []
    with TiffFile(path) as file:
        page = _only_page(file)
        values = _samples(page, path)
        extra = [int(kind) for kind in page.extrasamples]
    colors = 3 if page.photometric == PHOTOMETRIC.RGB else 1
    if not extra and values.shape[2] == colors + 1:
        extra = [_UNASSOCIATED]  # OpenCV and other writers omit this tag; Pillow also reads the channel as alpha
    if values.dtype.kind == "f":
        if values.dtype.itemsize == 8:
            remarks.append("its 64-bit floats become 32-bit")
        values = values.astype(np.float32, copy=False)
        _check_range(values)
    elif values.dtype != np.uint16:
        raise PictureError(f"has values of type {values.dtype}; expected 16 bits or floats: convert it")
    color, alpha = values[..., :colors], None
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        color = np.array(white_value(values.dtype), values.dtype) - color
    if extra and extra[0] in (_ASSOCIATED, _UNASSOCIATED):
        alpha = values[..., colors]
        color = _divided(color, alpha) if extra[0] == _ASSOCIATED else color
        extra = extra[1:]
    if extra:
        remarks.append(f"{len(extra)} extra channel{'s' * (len(extra) > 1)} without a known meaning not kept")
    return color, alpha, remarks


def _samples(page: TiffPage, path: Path) -> np.ndarray:
    """Decode to H x W x samples. tifffile has few codecs by itself; OpenCV has LZW and others, but not all layouts."""
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    try:
        values = page.asarray()
        return np.moveaxis(values, 0, -1) if page.axes.startswith("S") else values.reshape(shape)
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.size != np.prod(shape) or decoded.dtype != page.dtype:
        compression = getattr(page.compression, "name", page.compression)
        raise PictureError(
            f"has the compression {compression} in a layout that cannot be read: save it uncompressed or with Deflate "
            "(ZIP), or install imagecodecs (pip install imagecodecs)"
        )
    decoded = decoded.reshape(shape)
    return decoded[..., [2, 1, 0, 3][: shape[2]]] if shape[2] >= 3 else decoded


def _check_range(values: np.ndarray) -> None:
    """Refuse floats beyond 0 to 1: they are light or other quantities, for which a picture network is not trained."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also NaN
        raise PictureError(
            f"has float values from {low:.4g} to {high:.4g}; expected 0 to 1: scale or tone-map it, or convert "
            "it to 16 bits"
        )


def _divided(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Divide colours that were multiplied by alpha."""
    white = white_value(color.dtype)
    quotient = color.astype(np.float64) * white / np.maximum(alpha, 1e-12 if white == 1 else 1)[..., None]
    return (np.clip(quotient, 0, white) + (0.5 if white > 1 else 0)).astype(color.dtype)


def write(path: Path, strips: Iterable[np.ndarray], picture: Picture, width: int, height: int) -> None:
    """Write a TIFF file, compressed with Deflate.

    Args:
        path: the file.
        strips: rows x width x 1 to 4 channels, uint8, uint16 or float32, from top to bottom.
        picture: has the profile, EXIF and resolution, and the type and channels of the values.
        width, height: size of the whole picture in pixels.
    """
    channels, dtype = picture.channels, picture.color.dtype
    row_bytes = width * channels * dtype.itemsize
    rows = min(height, max(1, _STRIP_BYTES // row_bytes))
    entries: list[exif_blocks.Entry] = []
    order: exif_blocks.Order = "<"
    if picture.exif:
        order, entries = exif_blocks.directory_of(picture.exif)
    big = height * row_bytes > _CLASSIC_BYTES
    if big:  # Pillow reads only little-endian BigTIFFs: of EXIF only texts are kept
        order, entries = "<", [entry for entry in entries if entry.type in _TEXT_TYPES]
    extratags: list[tuple[int, int, int, Any, bool]] = [
        (entry.tag, entry.type, entry.number, entry.value, True) for entry in entries if isinstance(entry.value, bytes)
    ]
    pointers = [entry for entry in entries if isinstance(entry.value, list)]
    with TiffWriter(path, bigtiff=big, byteorder=order) as file:
        file.write(
            (_encoded(strip, dtype.newbyteorder(order)) for strip in _regrouped(strips, rows)),
            shape=(height, width, channels) if channels > 1 else (height, width),
            dtype=dtype.newbyteorder(order),
            photometric=PHOTOMETRIC.RGB if channels >= 3 else PHOTOMETRIC.MINISBLACK,
            planarconfig="contig" if channels > 1 else None,
            extrasamples=[_UNASSOCIATED] if picture.alpha is not None else None,
            rowsperstrip=rows,
            compression="zlib",
            predictor=dtype.kind == "u",
            iccprofile=picture.icc,
            resolution=picture.dpi,
            resolutionunit=RESUNIT.INCH if picture.dpi else None,
            extratags=extratags,
            metadata=None,
            software=False,
        )
    _append_directories(path, pointers, order)


def _encoded(strip: np.ndarray, dtype: np.dtype[Any]) -> bytes:
    """Compress a strip; integers are stored as differences of neighbouring pixels (predictor 2)."""
    values = strip
    if dtype.kind == "u":
        values = strip.copy()
        values[:, 1:] -= strip[:, :-1]
    return zlib.compress(values.astype(dtype, copy=False).tobytes(), _LEVEL)


def _regrouped(strips: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Yield the rows of `strips` in strips of `rows` rows; the last strip may have fewer."""
    pending: list[np.ndarray] = []
    count = 0
    for strip in strips:
        while len(strip):
            part, strip = strip[: rows - count], strip[rows - count :]
            pending.append(part)
            count += len(part)
            if count == rows:
                yield np.concatenate(pending)
                pending, count = [], 0
    if pending:
        yield np.concatenate(pending)


def _append_directories(path: Path, pointers: list[exif_blocks.Entry], order: exif_blocks.Order) -> None:
    """Append directories of EXIF and GPS, which tifffile does not write, to a TIFF file.

    They are written after the pixels, with a copy of the first directory that also points to them.
    """
    if not pointers:
        return
    with path.open("r+b") as file:
        (start,) = struct.unpack(order + "I", file.read(8)[4:])
        file.seek(start)
        (number,) = struct.unpack(order + "H", file.read(2))
        entries = [file.read(12) for _ in range(number)]
        offset = file.seek(0, 2)
        offset += file.write(b"\0" * (offset % 2))
        for pointer in pointers:
            assert isinstance(pointer.value, list)
            entries.append(struct.pack(order + "HHII", pointer.tag, 4, 1, offset))
            offset += file.write(exif_blocks.pack_directory(pointer.value, offset, order))
        entries.sort(key=lambda entry: struct.unpack(order + "H", entry[:2]))
        file.write(struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4))
        file.seek(4)
        file.write(struct.pack(order + "I", offset))
