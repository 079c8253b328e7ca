"""Decoding of encoded images. Each function returns all pixels or raises `ImageError`."""

from __future__ import annotations

import io
import re

import cv2
import numpy as np
from PIL import UnidentifiedImageError

from rcan_plugin.images.header import Header, open_image, read_header

_SUPPORTED_MODES = ("", "1", "L", "RGB", "I", "I;16", "I;16B", "I;16L")
"""Pillow's pixel modes that can be stored without loss; "I" is 16-bit gray in older versions of Pillow."""

_DTYPES = (np.uint8, np.uint16)

_UNSUPPORTED_MODES = {
    "CMYK": "has CMYK colours: convert it to RGB",
    "P": "has a palette: convert it to RGB",
    "PA": "has a palette: convert it to RGB",
}


_LIMIT = re.compile(r"CV_IO_MAX_IMAGE_(PIXELS|WIDTH|HEIGHT)")  # in the text of `cv2.error`
_PNG_SIDE = 1_000_000  # libpng's limit, as OpenCV uses it
_LARGE = 1 << 27  # pixels; half of Pillow's own limit is 89 million


class ImageError(ValueError):
    """An image cannot be used. The message gives the reason and does not name the image."""


def decode_pixels(content: bytes, flags: int = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH) -> np.ndarray:
    """Decode an encoded image with OpenCV, without looking for damage that OpenCV tolerates; see `decode_verified`.

    Args:
        content: the encoded image.
        flags: OpenCV's `IMREAD_*`. By default channels and depth stay as they are.

    Returns:
        H x W (gray) or H x W x 3 (B, G, R), uint8 or uint16.

    Raises:
        ImageError: it cannot be decoded, is beyond a limit of OpenCV, or its values are neither 8 nor 16 bits.
        MemoryError: there is not enough memory.
    """
    if not content:
        raise ImageError("is empty (0 bytes): fetch or make it again")
    pixels = _imdecode(content, flags)
    if pixels is None:
        # OpenCV decodes 32 bits only if it may keep them.
        pixels = _imdecode(content, cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.dtype in _DTYPES:
            raise ImageError(_why_undecodable(content))
    if pixels.dtype not in _DTYPES:
        raise ImageError(f"has {pixels.dtype} values; expected 8 or 16 bits: convert it")
    return pixels


def _imdecode(content: bytes, flags: int) -> np.ndarray | None:
    try:
        pixels: np.ndarray | None = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        return pixels
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error)) from None
        if match := _LIMIT.search(str(error)):
            raise ImageError(
                f"{_size(content)} is beyond OpenCV's limit of {match[1].lower()}: set the environment variable "
                f"OPENCV_IO_MAX_IMAGE_{match[1]} to a larger number, or cut the image into parts"
            ) from None
        return None


def _why_undecodable(content: bytes) -> str:
    header = read_header(io.BytesIO(content))
    if header and header.file_format == "PNG" and max(header.height, header.width) > _PNG_SIDE:
        return (
            f"{_size(content)} is beyond libpng's limit of {_PNG_SIDE:,} pixels a side: cut the image into parts, or "
            "store it as TIFF"
        )
    return (
        f"({len(content)} bytes) cannot be read as an image: it is damaged, cut short or no image: fetch or make it "
        "again"
    )


def _size(content: bytes) -> str:
    """The size of an image, for a message that begins with the image's name."""
    header = read_header(io.BytesIO(content))
    return f"({header.height}x{header.width})" if header else f"({len(content)} bytes)"


def decode_verified(content: bytes) -> np.ndarray:
    """Decode an encoded image after checking that it is complete and undamaged.

    Returns:
        H x W (gray) or H x W x 3 (B, G, R), uint8 or uint16.

    Raises:
        ImageError: it is damaged, cut short, or of a kind that `decode_pixels` refuses.
        MemoryError: there is not enough memory.
    """
    header = read_header(io.BytesIO(content))
    # OpenCV first, because its limits apply: Pillow would allocate memory for images that OpenCV refuses.
    large = header is not None and header.height * header.width > _LARGE
    if not large:
        _check_complete(content)
    pixels = decode_pixels(content)
    if large:
        _check_complete(content)
    return pixels


def _check_complete(content: bytes) -> None:
    """Check with Pillow, because some versions of OpenCV invent the missing pixels of an incomplete file."""
    try:
        with open_image(io.BytesIO(content)) as image:
            if image.format == "PNG":
                image.verify()  # all checksums, at a fraction of the time of decoding
            else:
                image.load()
    except UnidentifiedImageError:
        pass  # a format that only OpenCV reads, or not an image
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises almost any exception for a damaged image
        if "MAX_TEXT" in str(error):
            raise ImageError(f"has more text than Pillow reads ({error}): remove its metadata") from None
        raise ImageError(f"is damaged or cut short ({error}): fetch or make it again") from None


def check_storable(header: Header) -> None:
    """Check that an image has a kind of pixels that LMDBs and test sets can hold without loss.

    Raises:
        ImageError: it has alpha, a palette, CMYK, 32 bits or another unsupported pixel mode.
    """
    if header.mode in _UNSUPPORTED_MODES:
        raise ImageError(_UNSUPPORTED_MODES[header.mode])
    if header.alpha:
        raise ImageError("has alpha: flatten it, or remove the alpha channel")
    if header.bits not in (8, 16):
        raise ImageError(f"has {header.bits} bits a value; expected 8 or 16 bits: convert it")
    if header.mode not in _SUPPORTED_MODES:
        raise ImageError(f"has pixels of the mode {header.mode}: convert it to 8-bit RGB")
