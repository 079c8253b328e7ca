"""Writes pictures to files: beside the place where they belong, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from rcan_plugin.pictures.formats import output_format
from rcan_plugin.pictures.picture import Picture


def write(
    path: str | os.PathLike[str], picture: Picture, *, format: str | None = None, quality: int | None = None
) -> None:
    """Write a picture to a file. See `write_rows`."""
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

    The file is written beside `path` and renamed when it is complete. On any error, and on one that `strips` raises,
    nothing is left and a file at `path` stays as it was.

    Args:
        path: the file. An existing one is replaced.
        strips: rows from top to bottom, as `enlarge_rows` yields them.
        picture: the picture that was enlarged: profile, EXIF, resolution.
        width, height: of the result.
        format: a name of `FORMATS`; None: by the suffix of `path`.
        quality: 1 to 100 for JPEG, WebP, AVIF; None: 95, for AVIF 90. WebP of 100 is without loss.

    Raises:
        ValueError: the format cannot hold the result, see `check_output`; or the strips do not have the size.
        OSError: it cannot be written.
    """
    form = output_format("", path=None if format else path, format=format)
    pixels = np.concatenate(list(strips))
    part = Path(path).with_name(f".{os.getpid()}.part")
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(part, form)
    part.replace(path)
