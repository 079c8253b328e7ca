"""Reads the headers of pictures before the work, to estimate the time and to find results that a format cannot hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rcan_plugin.images.header import Header, read_header
from rcan_plugin.pictures import MAX_PIXELS, Picture, check_output, output_format
from rcan_plugin.upscaling.plan import Job, listed, printable


def read_headers(sources: Sequence[Path]) -> dict[Path, Header]:
    """Return the headers of pictures. Unreadable headers are left out; reading the picture will report the error."""
    headers = {}
    for path in tqdm(sources, "reading headers", unit="image", leave=False, delay=1):
        try:
            with path.open("rb") as file:
                header = read_header(file)
        except OSError:
            continue
        if header is not None:
            headers[path] = header
    return headers


def refuse_unfit(jobs: Sequence[Job], headers: Mapping[Path, Header], scale: int, max_pixels: int = MAX_PIXELS) -> None:
    """Check by the headers that the formats of the results can hold them.

    Pictures of more than `max_pixels` are ignored here: they fail when they are read, which does not end a run.

    Raises:
        ValueError: names the pictures whose results are too large for the format, or have transparency or 16 bits that
            it cannot hold.
    """
    lines = []
    for job in jobs:
        header = headers.get(job.source)
        if header is not None and header.width * header.height <= max_pixels:
            width, height = header.width * scale, header.height * scale
            try:
                check_output(output_format("", path=job.output), width, height, _without_pixels(header))
            except ValueError as error:
                lines.append(f"{printable(job.source)}: {error}")
    if lines:
        raise ValueError(listed("These results cannot be written, and nothing was upscaled yet", lines))


def _without_pixels(header: Header) -> Picture:
    """A picture of one pixel with the properties in a header."""
    dtype = np.uint16 if header.bits == 16 else np.uint8
    color = np.zeros((1, 1, 1 if header.gray else 3), dtype)
    return Picture(color, np.zeros((1, 1), dtype) if header.alpha else None)
