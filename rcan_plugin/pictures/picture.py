"""A picture in memory: pixels and metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))


class PictureError(ValueError):
    """A picture cannot be read or written. The message names the file."""


@dataclass(frozen=True, eq=False)
class Picture:
    """Upright pixels with their metadata.

    Attributes:
        color: H x W x 1 (gray) or H x W x 3 (R, G, B); uint8, uint16, or float32 from 0 to 1. The values are those of
            the file, in the colour space of `icc`.
        alpha: H x W, of the type of `color`: 0 is transparent. Colours are not multiplied by it. None: opaque.
        icc: ICC profile. None: the file has none.
        exif: EXIF as in a JPEG file ("Exif", two zero bytes, TIFF structure); orientation 1, no thumbnail.
        dpi: horizontal and vertical resolution in pixels per inch.
        format: Pillow's name of the format of the file; "" if it comes from no file.
        remarks: descriptions of what was lost or converted when the file was read.
    """

    color: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    format: str = ""
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check shapes and types.

        Raises:
            ValueError: a shape or a type is wrong; the message names it.
        """
        color, alpha = self.color, self.alpha
        if color.ndim != 3 or color.shape[2] not in (1, 3) or not color.size:
            raise ValueError(f"color has shape {color.shape}; expected H x W x 1 or H x W x 3 with at least one pixel.")
        if color.dtype not in DTYPES:
            raise ValueError(f"color has values of type {color.dtype}; expected uint8, uint16 or float32.")
        if alpha is not None and (alpha.shape != color.shape[:2] or alpha.dtype != color.dtype):
            raise ValueError(
                f"alpha is {alpha.dtype} of shape {alpha.shape}; expected {color.dtype} of shape {color.shape[:2]}."
            )

    @property
    def height(self) -> int:
        """Rows."""
        return self.color.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.color.shape[1]

    @property
    def channels(self) -> int:
        """Number of channels including alpha, 1 to 4."""
        return self.color.shape[2] + (self.alpha is not None)


def white_value(dtype: np.dtype[Any]) -> float:
    """The value of white and of full opacity: 255, 65535, or 1 for floats."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
