"""Decoding of encoded images. Each function returns all pixels or raises `ImageError`."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from rcan_plugin.images.header import Header

_SUPPORTED_MODES = ("", "1", "L", "RGB", "I", "I;16", "I;16B", "I;16L")
"""Pillow's pixel modes that can be stored without loss; "I" is 16-bit gray in older versions of Pillow."""

_UNSUPPORTED_MODES = {
    "CMYK": "has CMYK colours: convert it to RGB",
    "P": "has a palette: convert it to RGB",
    "PA": "has a palette: convert it to RGB",
}


class ImageError(ValueError):
    """An image that cannot be used. The message gives the reason and does not name the image."""


def decode_pixels(content: bytes, flags: int = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH) -> np.ndarray:
    """Decode an encoded image with OpenCV, without looking for damage that OpenCV tolerates; see `decode_verified`.

    Args:
        content: the encoded image.
        flags: OpenCV's `IMREAD_*`. By default channels and depth stay as they are.

    Returns:
        H x W (gray) or H x W x 3 (B, G, R), uint8 or uint16.

    Raises:
        ImageError: it cannot be decoded, or its values are neither 8 nor 16 bits.
        MemoryError: there is not enough memory.
    """
    if not content:
        raise ImageError("is empty (0 bytes): fetch or make it again")
    pixels: np.ndarray | None = None
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:  # raised for more pixels than OpenCV accepts, too
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error)) from None
    if pixels is None:
        raise ImageError(
            f"({len(content)} bytes) cannot be read as an image: it is damaged or cut short, or no image: "
            "fetch or make it again"
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"has {pixels.dtype} values; expected 8 or 16 bits: convert it")
    return pixels


def decode_verified(content: bytes) -> np.ndarray:
    """Decode an encoded image after checking that it is complete and undamaged.

    Returns:
        H x W (gray) or H x W x 3 (B, G, R), uint8 or uint16.

    Raises:
        ImageError: it is damaged, cut short, or of a kind that `decode_pixels` refuses.
        MemoryError: there is not enough memory.
    """
    try:
        # Pillow, because some versions of OpenCV fill in what is missing at the end of a file.
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter("ignore")
            if image.format == "PNG":
                image.verify()  # all checksums, at a fraction of the time of decoding
            else:
                image.load()
    except UnidentifiedImageError:
        pass  # a format that OpenCV alone knows, or no image
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises almost any exception for a damaged image
        raise ImageError(f"is damaged or cut short ({error}): fetch or make it again") from None
    return decode_pixels(content)


def check_storable(header: Header) -> None:
    """Check that an image has a kind of pixels that LMDBs and test sets can hold without loss.

    Raises:
        ImageError: it has alpha, a palette, CMYK or another unsupported pixel mode.
    """
    if header.mode in _UNSUPPORTED_MODES:
        raise ImageError(_UNSUPPORTED_MODES[header.mode])
    if header.alpha:
        raise ImageError("has alpha: flatten it, or remove the alpha channel")
    if header.mode not in _SUPPORTED_MODES:
        raise ImageError(f"has pixels of the mode {header.mode}: convert it to 8-bit RGB")
