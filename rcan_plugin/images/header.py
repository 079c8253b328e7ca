"""The header of an image file: size, channels and depth, read without decoding the pixels."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"])
"""File name suffixes, in lower case, that count as images; files with other suffixes are ignored."""

# Pillow's names of pixel modes.
_GRAY_MODES = frozenset(["1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F"])
_ALPHA_MODES = frozenset(["LA", "La", "PA", "RGBA", "RGBa"])

_EXIF_ORIENTATION = 0x0112

_limit_lock = threading.Lock()


_NOT_COUNTED = frozenset(["degradation.json"])  # beside our own LR images


def is_image_name(name: str) -> bool:
    """Whether a file counts as an image by its suffix."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def count_ignored(names: Iterable[str], folders: int = 0) -> str:
    """Count the files whose suffix is not that of an image: `3 .gif, 1 .txt, 2 folders`; "" if there are none.

    Args:
        names: names of files, with or without folders.
        folders: number of folders that are also ignored.
    """
    files = (PurePosixPath(name) for name in names if not is_image_name(name))
    counts = Counter(file.suffix.lower() or "without suffix" for file in files if file.name not in _NOT_COUNTED)
    parts = [f"{count} {suffix}" for suffix, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    return ", ".join([*parts, f"{folders} folder{'s' * (folders > 1)}"] if folders else parts)


class Header(NamedTuple):
    """Properties of an image.

    Attributes:
        height, width: in pixels, after EXIF's rotation; but see `turned`.
        alpha: whether it has transparency.
        gray: whether it has one colour channel, or a palette of grays.
        mode: Pillow's name of the pixel mode; "" if the header was not read by Pillow.
        bits: bits per value, 8, 16 or 32.
        file_format: Pillow's name of the file format; "" if the header was not read by Pillow.
        turned: whether EXIF requires a quarter turn. It depends on OpenCV's version which formats it turns, so only
            the decoded pixels show which side is the height.
    """

    height: int
    width: int
    alpha: bool
    gray: bool
    mode: str = ""
    bits: int = 8
    file_format: str = ""
    turned: bool = False


@contextlib.contextmanager
def open_image(file: IO[bytes]) -> Iterator[ImageFile]:
    """`Image.open` without warnings and without Pillow's limit of pixels, which a user could not change.

    Raises:
        Exception: almost any, for a damaged header.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            image = Image.open(file)
        except Image.DecompressionBombError:
            file.seek(0)
            stack.enter_context(_without_limit())  # while it is open: `load` checks the limit, too
            image = Image.open(file)
        yield stack.enter_context(image)


@contextlib.contextmanager
def _without_limit() -> Iterator[None]:
    with _limit_lock:  # the limit is a global of Pillow
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def read_header(file: IO[bytes]) -> Header | None:
    """Read the header of an encoded image.

    Returns:
        The header; None if only decoding shows the size, or the file is not an image.

    Raises:
        MemoryError: there is not enough memory.
    """
    try:
        with open_image(file) as image:
            # Without the first condition Pillow would decode every PNG here. Orientations from 5 on swap the sides.
            turned = "exif" in image.info and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
            return Header(
                image.height,
                image.width,
                alpha=image.mode in _ALPHA_MODES or "transparency" in image.info,
                gray=image.mode in _GRAY_MODES or _has_gray_palette(image),
                mode=image.mode,
                bits=_bits(image),
                file_format=image.format or "",
                turned=turned,
            )
    except MemoryError:
        raise
    except Exception:  # Pillow raises almost any exception for a damaged header
        return None


def of_pixels(pixels: np.ndarray, header: Header | None = None) -> Header:
    """Return the header of a decoded image, H x W (gray) or H x W x 3: `header`, if given, with the size corrected."""
    height, width = pixels.shape[:2]
    if header is not None:
        return header._replace(height=height, width=width, turned=False)
    return Header(height, width, alpha=False, gray=pixels.ndim == 2, bits=8 * pixels.dtype.itemsize)


def _bits(image: ImageFile) -> int:
    """Bits per value. "I" is 32-bit gray in TIFFs, and in older versions of Pillow 16-bit gray in PNG and PPM."""
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        return 32
    if image.mode.startswith("I") or any(_is_deep(codec, arguments) for codec, _, _, arguments in image.tile):
        return 16
    return 8


def _is_deep(codec: str, arguments: Any) -> bool:
    """Whether a tile has 16 bits per value. Pillow's mode is RGB for 8 and 16 bits; the raw mode differs, or in PPM the
    largest value."""
    raw_mode, *more = arguments if isinstance(arguments, tuple) else (arguments,)
    return "16" in str(raw_mode) or (codec == "ppm" and more[-1] > 255)


def _has_gray_palette(image: Image.Image) -> bool:
    if image.mode != "P" or image.palette is None:
        return False
    order, colours = image.palette.getdata()
    if order == "RGB;L":  # of TIFF: all reds, all greens, all blues
        third = len(colours) // 3
        return colours[:third] == colours[third : 2 * third] == colours[2 * third :]
    step = len(order)
    return step >= 3 and colours[0::step] == colours[1::step] == colours[2::step]
