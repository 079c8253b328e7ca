"""Two weighted sums, down the rows and then along the columns, with the rounding that MATLAB does."""

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
_TIE = 1e-9  # float64 sums of some hundred 16-bit values err by less; what is closer to .5 is taken for a tie


@dataclass(frozen=True)
class Taps:
    """One axis of a separable filter: output `i` is the sum over `k` of `weights[i, k] * input[first[i] + k]`.

    Attributes:
        first: (outputs,) position of the first tap in the input; taps may lie past its ends.
        weights: (outputs, taps), or (1, taps) where all outputs share them; each row sums to 1.
        step: the whole number of input pixels from one output to the next, or 0 where it is not the same for all.
    """

    first: Indices
    weights: Floats
    step: int = 0

    def window(self, start: int, length: int) -> Taps:
        """The taps of `length` outputs from `start` on."""
        stop = start + length
        weights = self.weights if len(self.weights) == 1 else self.weights[start:stop]
        return Taps(self.first[start:stop], weights, self.step)


def check_image(image: Image, name: str = "image") -> None:
    """Refuse what is not an HxW or HxWxC array of a supported type with at least one pixel.

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
    """Refuse what is not the name of a border (ValueError)."""
    if border not in BORDERS:
        raise ValueError(f"border is {border!r}; expected one of {', '.join(map(repr, BORDERS))}")


def inside(positions: Indices, length: int, border: str) -> Indices:
    """Where in 0..length-1 the pixels at `positions`, which may lie past either end, are read.

    `replicate` repeats the last pixel (a a a | a b c), `symmetric` mirrors the image (c b a | a b c).
    """
    if border == "replicate":
        return np.clip(positions, 0, length - 1)
    folded = positions % (2 * length)
    return np.minimum(folded, 2 * length - 1 - folded)


def round_half_up(values: Floats, dtype: np.dtype[Any]) -> Image:
    """Round as MATLAB's integer classes do, halves away from zero, and clip to the range of `dtype`.

    A sum within 1e-9 of a half counts as one: its last bits depend on the order of summation. Overwrites `values`.
    """
    values += 0.5 + _TIE  # negative values end at 0 whatever their rounding
    return np.clip(values, 0, np.iinfo(dtype).max, out=values).astype(dtype)


def apply(image: Image, rows: Taps, cols: Taps, border: str, *, round_between: bool) -> Image:
    """Filter down the rows, then along the columns; integers are rounded and clipped at the end.

    Args:
        image: HxW or HxWxC, any supported type; never changed.
        rows, cols: the taps of each output row and column.
        border: what the taps past an end of the image read, see `inside`.
        round_between: integer images are rounded to their type between the passes too, as MATLAB's `imresize` does.

    Returns:
        (outputs of `rows`) x (outputs of `cols`) [x C], of the type of `image`. Sums are float64, in an order that
        does not depend on the window, so a window's values are the whole image's.
    """
    height, width = image.shape[:2]
    out = np.empty((len(rows.first), len(cols.first), *image.shape[2:]), image.dtype)
    # Only the columns that some tap reads: for a crop out of a large image that is a small part.
    columns = inside(_span(cols), width, border)
    shifted = Taps(cols.first - cols.first.min(), cols.weights)
    strip = max(1, _STRIP_VALUES // (len(columns) * out[0, 0].size))
    for top in range(0, len(out), strip):
        part = rows.window(top, min(strip, len(out) - top))
        lines = inside(_span(part), height, border)
        source = image[lines[:, None], columns].astype(np.float64)
        middle = _sum(source, Taps(part.first - part.first.min(), part.weights), 0)
        if round_between and image.dtype.kind == "u":
            middle = round_half_up(middle, image.dtype).astype(np.float64)
        last = _sum(middle, shifted, 1)
        out[top : top + strip] = round_half_up(last, image.dtype) if image.dtype.kind == "u" else last
    return out


def _span(taps: Taps) -> Indices:
    """All positions from the first that some tap reads to the last."""
    return np.arange(taps.first.min(), taps.first.max() + taps.weights.shape[1])


def _sum(source: Floats, taps: Taps, axis: int) -> Floats:
    """The weighted sums along `axis`, tap by tap."""
    shape = [1] * source.ndim
    shape[axis] = len(taps.weights)
    total = source.take(taps.first, axis) * taps.weights[:, 0].reshape(shape)
    for k in range(1, taps.weights.shape[1]):
        total += source.take(taps.first + k, axis) * taps.weights[:, k].reshape(shape)
    return total
