"""Writes pictures to files, under a temporary name that is renamed when the file is complete."""

from __future__ import annotations

import dataclasses
import io
import os
import platform
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rcan_plugin._files import naming
from rcan_plugin.pictures import exif as exif_blocks
from rcan_plugin.pictures import png, tiffs
from rcan_plugin.pictures.formats import FORMATS, check_output, output_format
from rcan_plugin.pictures.picture import Picture, white_value

_PART_NAME = 32  # characters of the final name that the temporary name begins with
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"


def write(
    path: str | os.PathLike[str], picture: Picture, *, format: str | None = None, quality: int | None = None
) -> None:
    """Write a picture to a file; see `write_rows`."""
    pixels = picture.color if picture.alpha is None else np.dstack([picture.color, picture.alpha])
    write_rows(path, [pixels], picture, picture.width, picture.height, format=format, quality=quality)


def write_rows(
    path: str | os.PathLike[str],
    strips: Iterable[np.ndarray],
    picture: Picture,
    width: int,
    height: int,
    *,
    format: str | None = None,
    quality: int | None = None,
) -> None:
    """Write an enlarged picture to a file, strip by strip where the format allows it (PNG, TIFF, PPM).

    The file is written beside `path` and renamed when it is complete. After an error, also one raised by `strips`,
    nothing is left, and an existing file at `path` is unchanged.

    Args:
        path: the file. An existing one is replaced.
        strips: rows from top to bottom, as `enlarge_rows` yields them.
        picture: the picture that was enlarged, for its profile, EXIF and resolution.
        width, height: size of the result in pixels.
        format: a name of `FORMATS`, or a suffix; None: by the suffix of `path`.
        quality: 1 to 100, for JPEG, WebP and AVIF; other formats are lossless. None: 95, for AVIF 90. WebP with 100 is
            lossless. JPEG and AVIF store colours at full resolution (4:4:4).

    Raises:
        ValueError: the format cannot hold the result, see `check_output`; the quality is out of range; the strips have
            a wrong size or type.
        OSError: it cannot be written.
    """
    path = Path(path)
    form = output_format("", format=format) if format else output_format("", path=path)
    check_output(form, width, height, picture)
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; expected 1 to 100.")
    part = path.with_name(f".{path.name[:_PART_NAME]}.{_HOST}-{os.getpid()}.part")
    try:
        with naming(path):
            checked = _checked(strips, picture, width, height)
            _write_part(part, form, checked, picture, width, height, quality)
            for _ in checked:  # check for surplus rows: tifffile reads only the rows that it needs
                pass
            part.replace(path)
    except OSError as error:
        if error.filename == str(part):
            error.filename = str(path)
            del error.filename2  # of the rename; None would be printed
        raise
    finally:
        part.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files in a folder whose processes, on this machine, were killed."""
    for part in folder.glob(".*.part"):
        found = re.fullmatch(rf"\..*\.{_HOST}-(\d+)\.part", part.name, re.DOTALL)
        if found and not _runs(int(found[1])):
            part.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether a process runs; True on Windows, where asking would end it."""
    try:
        if os.name == "posix":
            os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _write_part(
    part: Path, form: str, strips: Iterator[np.ndarray], picture: Picture, width: int, height: int, quality: int | None
) -> None:
    if picture.exif:
        picture = dataclasses.replace(picture, exif=exif_blocks.with_size(picture.exif, width, height))
    if form == "TIFF":
        tiffs.write(part, strips, picture, width, height)
        return
    with part.open("wb") as file:
        if form == "PNG":
            png.write(file, strips, picture, width, height)
        elif form == "PPM":
            file.write(
                b"P%d\n%d %d\n%d\n"
                % (6 if picture.channels == 3 else 5, width, height, white_value(picture.color.dtype))
            )
            for strip in strips:
                file.write(np.ascontiguousarray(strip, strip.dtype.newbyteorder(">")).data)
        else:
            pixels = np.empty((height, width, picture.channels), picture.color.dtype)
            top = 0
            for strip in strips:
                pixels[top : top + len(strip)] = strip
                top += len(strip)
            image = Image.fromarray(pixels[..., 0] if picture.channels == 1 else pixels)
            # In memory, because some of Pillow's writers raise no error, or never return, if the disk is full.
            buffer = io.BytesIO()
            image.save(buffer, form, **_pillow_options(form, picture, quality))
            file.write(buffer.getbuffer())


def _pillow_options(form: str, picture: Picture, quality: int | None) -> dict[str, Any]:
    """Arguments of Pillow's `save`."""
    held = FORMATS[form]
    options: dict[str, Any] = {}
    if held.icc and picture.icc:
        options["icc_profile"] = picture.icc
    if held.exif and picture.exif:
        options["exif"] = picture.exif
    if held.dpi and picture.dpi:
        options["dpi"] = picture.dpi
    if held.quality:
        options["quality"] = held.quality if quality is None else quality
    if form in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4"
    if form == "WEBP" and options["quality"] == 100:
        options["lossless"] = True
    return options


def _checked(strips: Iterable[np.ndarray], picture: Picture, width: int, height: int) -> Iterator[np.ndarray]:
    """Yield strips after checking their size and type."""
    top = 0
    for strip in strips:
        top += len(strip)
        if strip.ndim != 3 or strip.shape[1:] != (width, picture.channels) or top > height:
            raise ValueError(
                f"a strip has shape {strip.shape} and ends at row {top}; expected rows x {width} x {picture.channels}, "
                f"{height} rows in all."
            )
        if strip.dtype != picture.color.dtype:
            raise ValueError(f"a strip has values of type {strip.dtype}; expected {picture.color.dtype}.")
        yield strip
    if top != height:
        raise ValueError(f"the strips have {top} rows; expected {height}.")
