"""Separable filters given as taps: down the rows, then along the columns, in float64, with MATLAB's rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BORDERS = ("replicate", "symmetric")
DTYPES = (np.uint8, np.uint16, np.float32, np.float64)

Image = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_STRIP_VALUES = 1 << 18  # float64 values of the widest row summed at a time: 2 MiB, so that a strip stays in cache
_HALF_TOLERANCE = 1e-9  # sums closer to .5 round as .5: float64 sums of some hundred 16-bit values err by less


@dataclass(frozen=True)
class Taps:
    """One axis of a separable filter: output `i` is the sum over `k` of `weights[i, k] * input[first[i] + k]`.

    Attributes:
        first: (outputs,) position of the first tap in the input; taps may be past its ends.
        weights: (outputs, taps), or (1, taps) where all outputs share them; each row sums to 1.
        step: input pixels between neighbouring outputs if that is the same whole number everywhere, else 0.
    """

    first: Indices
    weights: Floats
    step: int = 0

    def window(self, start: int, length: int) -> Taps:
        """Return the taps of `length` outputs, beginning with output `start`."""
        stop = start + length
        weights = self.weights if len(self.weights) == 1 else self.weights[start:stop]
        return Taps(self.first[start:stop], weights, self.step)


def check_image(image: Image, name: str = "image") -> None:
    """Check that `image` is an H x W or H x W x C array of a supported type with at least one pixel.

    Raises:
        TypeError: not a NumPy array, or its type is not uint8, uint16, float32 or float64.
        ValueError: not two or three axes, or no pixel.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{name} is a {type(image).__name__}; expected a NumPy array of HxW or HxWxC")
    if image.dtype not in DTYPES:
        raise TypeError(f"{name} has dtype {image.dtype}; expected uint8, uint16, float32 or float64: convert it first")
    if image.ndim not in (2, 3):
        raise ValueError(f"{name} has shape {image.shape}; expected HxW or HxWxC, one image at a time")
    if image.size == 0:
        raise ValueError(f"{name} has shape {image.shape}; expected at least one pixel and one channel")


def check_border(border: str) -> None:
    """Check the name of a border mode.

    Raises:
        ValueError: `border` is not one of `BORDERS`.
    """
    if border not in BORDERS:
        raise ValueError(f"border is {border!r}; expected one of {', '.join(map(repr, BORDERS))}")


def inside(positions: Indices, length: int, border: str) -> Indices:
    """Map positions that may be past either end of an axis to positions in 0..length-1.

    `replicate` repeats the last pixel (a a a | a b c), `symmetric` mirrors the image (c b a | a b c).
    """
    if border == "replicate":
        return np.clip(positions, 0, length - 1)
    folded = positions % (2 * length)
    return np.minimum(folded, 2 * length - 1 - folded)


def round_half_up(values: Floats, dtype: np.dtype[Any]) -> Image:
    """Round halves away from zero, as MATLAB's integer classes do, and clip to the range of `dtype`.

    A sum within 1e-9 of a half counts as a half: its last bits depend on the order of summation. Overwrites `values`.
    """
    values += 0.5 + _HALF_TOLERANCE  # negative values become 0 however they are rounded
    return np.clip(values, 0, np.iinfo(dtype).max, out=values).astype(dtype)


def apply_taps_float64(image: Image, rows: Taps, cols: Taps, border: str, *, round_between: bool) -> Image:
    """Filter down the rows, then along the columns; integers are rounded and clipped at the end.

    Args:
        image: H x W or H x W x C, any supported type; never changed.
        rows, cols: taps of each output row and column.
        border: what taps past an end of the image read, see `inside`.
        round_between: also round integer images to their type between the passes, as MATLAB's `imresize` does.

    Returns:
        (outputs of `rows`) x (outputs of `cols`) [x C], of the type of `image`. Sums are float64, in an order that
        does not depend on the window, so a window has the same values as the whole image.
    """
    height, width = image.shape[:2]
    out = np.empty((len(rows.first), len(cols.first), *image.shape[2:]), image.dtype)
    # Only the columns that some tap reads: a small part if the output is a crop of a large image.
    columns = inside(_span(cols), width, border)
    shifted = Taps(cols.first - cols.first.min(), cols.weights)
    strip = max(1, _STRIP_VALUES // (len(columns) * out[0, 0].size))
    for top in range(0, len(out), strip):
        strip_rows = rows.window(top, min(strip, len(out) - top))
        lines = inside(_span(strip_rows), height, border)
        source = image[lines[:, None], columns].astype(np.float64)
        middle = _weighted_sums(source, Taps(strip_rows.first - strip_rows.first.min(), strip_rows.weights), 0)
        if round_between and image.dtype.kind == "u":
            middle = round_half_up(middle, image.dtype).astype(np.float64)
        last = _weighted_sums(middle, shifted, 1)
        out[top : top + strip] = round_half_up(last, image.dtype) if image.dtype.kind == "u" else last
    return out


def _span(taps: Taps) -> Indices:
    """Return every position from the first to the last that some tap reads."""
    return np.arange(taps.first.min(), taps.first.max() + taps.weights.shape[1])


def _weighted_sums(source: Floats, taps: Taps, axis: int) -> Floats:
    """Sum along `axis`, tap by tap."""
    shape = [1] * source.ndim
    shape[axis] = len(taps.weights)
    total = source.take(taps.first, axis) * taps.weights[:, 0].reshape(shape)
    for k in range(1, taps.weights.shape[1]):
        total += source.take(taps.first + k, axis) * taps.weights[:, k].reshape(shape)
    return total
