"""The header of an image file: size, channels and depth, read without decoding the pixels."""

from __future__ import annotations

import warnings
from typing import IO, Any, NamedTuple

from PIL import Image

SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"])
"""File name suffixes, in lower case, that count as images; files with other suffixes are ignored."""

# Pillow's names of pixel modes.
_GRAY_MODES = frozenset(["1", "L", "LA", "I", "I;16"])
_ALPHA_MODES = frozenset(["LA", "La", "PA", "RGBA", "RGBa"])

_EXIF_ORIENTATION = 0x0112


class Header(NamedTuple):
    """Properties of an image.

    Attributes:
        height, width: in pixels, after the rotation that EXIF asks for.
        alpha: whether it has transparency.
        gray: whether it has one colour channel.
        mode: Pillow's name of the pixel mode; "" if the header was not read by Pillow.
        bits: bits per value, 8 or 16.
        file_format: Pillow's name of the file format; "" if the header was not read by Pillow.
    """

    height: int
    width: int
    alpha: bool
    gray: bool
    mode: str = ""
    bits: int = 8
    file_format: str = ""


def read_header(file: IO[bytes]) -> Header | None:
    """Read the header of an encoded image.

    Returns:
        The header, or None if only decoding can tell the size, or the file is not an image.

    Raises:
        MemoryError: there is not enough memory.
    """
    try:
        with warnings.catch_warnings(), Image.open(file) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # EXIF orientations from 5 on swap height and width. Which formats OpenCV rotates depends on its version, so
            # that these images have to be decoded. (Without the first condition Pillow would decode every PNG here.)
            if "exif" in image.info and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5:
                return None
            deep = image.mode.startswith("I") or any(
                _is_deep(codec, arguments) for codec, _, _, arguments in image.tile
            )
            return Header(
                image.height,
                image.width,
                alpha=image.mode in _ALPHA_MODES or "transparency" in image.info,
                gray=image.mode in _GRAY_MODES,
                mode=image.mode,
                bits=16 if deep else 8,
                file_format=image.format or "",
            )
    except MemoryError:
        raise
    except Exception:  # Pillow raises almost any exception for a damaged header
        return None


def _is_deep(codec: str, arguments: Any) -> bool:
    """Whether a tile has 16 bits per value. Pillow's mode of 16-bit colour is RGB, too: the raw mode tells, or in PPM
    the largest value."""
    raw_mode, *more = arguments if isinstance(arguments, tuple) else (arguments,)
    return "16" in str(raw_mode) or (codec == "ppm" and more[-1] > 255)
