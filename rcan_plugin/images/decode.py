"""Which images can be trained on, and their pixels, whole or not at all."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from rcan_plugin.images.sources import READING_FAILS, Source
from rcan_plugin.images.store import Header, header_of

_GOOD = ("", "1", "L", "RGB", "I", "I;16", "I;16B", "I;16L")
"""Pillow's names of pixels that can be stored without losing what they mean; "I" is 16-bit gray in older versions."""

_BAD = {
    "CMYK": "has CMYK colours: convert it to RGB",
    "P": "has a palette: convert it to RGB",
    "PA": "has a palette: convert it to RGB",
}


class BadImageError(ValueError):
    """The image cannot be used; the text says why, without naming it."""


def look(source: Source) -> Header:
    """Read an image's head, and no more where that will do.

    Raises:
        BadImageError: it is empty, no image, or of a kind that cannot be stored: alpha, a palette, CMYK, 32 bits.
    """
    try:
        with source.open() as file:
            header = header_of(file)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises almost anything for a damaged head
        raise BadImageError(f"cannot be read ({error})") from None
    if header is None:
        # Turned by EXIF, or a kind of TIFF that OpenCV alone knows.
        pixels = _decode(_content(source))
        height, width = pixels.shape[:2]
        header = Header(height, width, alpha=False, gray=pixels.ndim == 2, bits=8 * pixels.dtype.itemsize)
    if header.mode in _BAD:
        raise BadImageError(_BAD[header.mode])
    if header.alpha:
        raise BadImageError("has alpha: flatten it, or remove the alpha channel")
    if header.mode not in _GOOD:
        raise BadImageError(f"has pixels of the kind {header.mode}: convert it to 8-bit RGB")
    return header


def decode(source: Source) -> np.ndarray:
    """All pixels of an image; see `decode_bytes`."""
    return decode_bytes(_content(source))


def decode_bytes(content: bytes) -> np.ndarray:
    """All pixels of an encoded image, as the data set reads them from a folder.

    Returns:
        H x W (gray) or H x W x 3 (B, G, R), uint8 or uint16.

    Raises:
        BadImageError: it cannot be read to its end.
    """
    try:
        # OpenCV, in some versions, makes up what is missing at the end of a file.
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter("ignore")
            if image.format == "PNG":
                image.verify()  # all checksums, at a fraction of the time of decoding
            else:
                image.load()
    except UnidentifiedImageError:
        pass
    except MemoryError:
        raise
    except Exception as error:  # see above
        raise BadImageError(f"is damaged or cut short ({error}): fetch or make it again") from None
    return _decode(content)


def _content(source: Source) -> bytes:
    try:
        content = source.read()
    except READING_FAILS as error:
        raise BadImageError(f"cannot be read ({error})") from None
    if not content:
        raise BadImageError("is empty (0 bytes): fetch or make it again")
    return content


def _decode(content: bytes) -> np.ndarray:
    image: np.ndarray | None = None
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:  # for more pixels than it takes
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error)) from None
    if image is None:
        raise BadImageError(f"({len(content)} bytes) cannot be read as an image: it is damaged, cut short or none")
    if image.dtype not in (np.uint8, np.uint16):
        raise BadImageError(f"has {image.dtype} values; expected 8 or 16 bits: convert it")
    return image
