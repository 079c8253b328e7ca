"""Formats in which pictures are written, and what each of them can hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

import PIL
from PIL import Image

from rcan_plugin.pictures.colours import is_srgb
from rcan_plugin.pictures.picture import Picture

_OWN_WRITERS = ("PNG", "TIFF", "PPM")  # the others are Pillow's
_JPEG_EXIF = 65_533  # bytes of a segment


@dataclass(frozen=True)
class Format:
    """What a file format holds.

    Attributes:
        name: Pillow's name.
        suffixes: suffixes of file names; the first is the usual one.
        max_side: largest width and height that can be written and read again, in pixels.
        alpha: whether it can hold transparency.
        dtypes: types of values that it can hold.
        icc, exif, dpi: whether it can hold a colour profile, EXIF, a resolution.
        quality: default quality of a lossy format, 1 to 100; None: lossless.
        max_pixels: largest product of width and height.
    """

    name: str
    suffixes: tuple[str, ...]
    max_side: int
    alpha: bool = False
    dtypes: tuple[str, ...] = ("uint8",)
    icc: bool = True
    exif: bool = True
    dpi: bool = False
    quality: int | None = None
    max_pixels: int | None = None


FORMATS = {
    form.name: form
    for form in (
        Format("PNG", (".png",), 1_000_000, alpha=True, dtypes=("uint8", "uint16"), dpi=True),  # libpng's readers
        Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), 65_500, dpi=True, quality=95),  # libjpeg's own limit
        Format("TIFF", (".tif", ".tiff"), (1 << 31) - 1, alpha=True, dtypes=("uint8", "uint16", "float32"), dpi=True),
        Format("WEBP", (".webp",), 16_383, alpha=True, quality=95),
        Format("AVIF", (".avif",), 32_768, alpha=True, quality=90, max_pixels=1 << 28),  # of libavif's readers
        Format("BMP", (".bmp",), (1 << 31) - 1, icc=False, exif=False, dpi=True, max_pixels=1_400_000_000),
        Format("TGA", (".tga",), 65_535, alpha=True, icc=False, exif=False),
        Format("JPEG2000", (".jp2", ".j2k"), (1 << 31) - 1, alpha=True, icc=False, exif=False),
        Format("PPM", (".ppm", ".pgm", ".pnm"), (1 << 31) - 1, dtypes=("uint8", "uint16"), icc=False, exif=False),
    )
}

_BY_SUFFIX = {suffix: form.name for form in FORMATS.values() for suffix in form.suffixes}

_WRITTEN_AS = {"DIB": "BMP", "MPO": "JPEG"}  # formats that are written under another name

SUFFIXES = frozenset([*_BY_SUFFIX, ".apng", ".avifs", ".dib", ".gif", ".heic", ".heif", ".mpo", ".pbm", ".qoi"])
"""File name suffixes, in lower case, that count as pictures in a folder."""


def is_picture_name(name: str | os.PathLike[str]) -> bool:
    """Whether a file counts as a picture by its suffix."""
    return PurePath(name).suffix.lower() in SUFFIXES


def output_format(source: str, *, path: str | os.PathLike[str] | None = None, format: str | None = None) -> str:
    """Return the format that a result is written in.

    Args:
        source: format of the picture that is enlarged, `Picture.format`.
        path: of the result, where the user named a file: its suffix decides.
        format: a name of `FORMATS` (upper or lower case) or a suffix such as `jpg`, if the user gave one.

    Returns:
        A name of `FORMATS`. Without `path` and `format` that of the source; PNG for sources in formats that cannot hold
        the result (GIF has 256 colours) or are not written.

    Raises:
        ValueError: `format` or the suffix of `path` is not known, or they contradict each other.
    """
    by_name = None if format is None else _known(format, "format")
    by_path = None if path is None else _known(Path(path).suffix, f"{path}: the suffix")
    if by_name and by_path and by_name != by_path:
        raise ValueError(f"{path} has the suffix of {by_path}, and the format is {by_name}: change one of them.")
    source = _WRITTEN_AS.get(source, source)
    return by_name or by_path or (source if source in FORMATS else "PNG")


def suffix_of(format: str) -> str:
    """The usual suffix of a format of `FORMATS`: `.jpg`."""
    return FORMATS[format].suffixes[0]


def _known(text: str, what: str) -> str:
    by_suffix = _BY_SUFFIX.get("." + text.lower().removeprefix("."))
    name = by_suffix or {"JPEG2000": "JPEG2000", "JP2": "JPEG2000"}.get(text.upper(), text.upper())
    if name == "GIF":
        raise ValueError(
            f"{what} is {text!r}: GIF has 256 colours, too few for an enlarged picture: choose png or webp."
        )
    if name not in FORMATS:
        known = ", ".join(suffix_of(name)[1:] for name in FORMATS)
        raise ValueError(f"{what} is {text!r}; expected one of {known}.")
    return name


def check_output(format: str, width: int, height: int, picture: Picture) -> list[str]:
    """Check before the work that a format can hold the result.

    Args:
        format: a name of `FORMATS`.
        width, height: of the result, in pixels.
        picture: the picture that is enlarged.

    Returns:
        Descriptions of what the format does not keep: EXIF, resolution, an sRGB profile.

    Raises:
        ValueError: the result is too large for the format, or has alpha, 16 bits, floats or a profile other than sRGB
            that it cannot hold.
    """
    Image.init()
    form = FORMATS[format]
    if format not in {*_OWN_WRITERS, *Image.SAVE}:
        raise ValueError(
            f"this Pillow ({PIL.__version__}) cannot write {format}: update it (pip install -U Pillow), or {_other()}."
        )
    side = max(width, height)
    if side > form.max_side or (form.max_pixels and width * height > form.max_pixels):
        limit = f"{form.max_side:,} pixels a side" if side > form.max_side else f"{form.max_pixels:,} pixels"
        raise ValueError(
            f"the result has {width} x {height} pixels; {format} holds at most {limit}: {_other(png=side)}."
        )
    dtype = str(picture.color.dtype)
    if dtype not in form.dtypes:
        kind = {"uint16": "16 bits a value", "float32": "float values"}[dtype]
        raise ValueError(f"the picture has {kind}, which {format} as written here does not hold: {_other(dtype)}.")
    if picture.alpha is not None and not form.alpha:
        raise ValueError(
            f"the picture has transparency, which {format} does not hold: {_other()}, or flatten it first."
        )
    if picture.icc and not form.icc and not is_srgb(picture.icc):
        raise ValueError(
            f"the picture has a colour profile other than sRGB, which {format} does not hold, and without which its "
            f"colours are wrong: {_other()}, or convert it to sRGB first."
        )
    if format == "JPEG" and len(picture.exif or b"") > _JPEG_EXIF:
        raise ValueError(
            f"the picture has {len(picture.exif or b''):,} bytes of EXIF; JPEG holds {_JPEG_EXIF:,}: {_other()}."
        )
    lost = [
        (picture.icc, form.icc, "sRGB profile"),
        (picture.exif, form.exif, "EXIF"),
        (picture.dpi, form.dpi, "resolution"),
    ]
    return [f"{format} does not keep the {what}" for has, holds, what in lost if has and not holds]


def _other(dtype: str = "uint8", png: int = 0) -> str:
    tiff_only = dtype == "float32" or png > FORMATS["PNG"].max_side
    return "choose tiff" if tiff_only else "choose png or tiff"
