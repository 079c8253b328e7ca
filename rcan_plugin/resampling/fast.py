"""The same sums as `separable`, for 8-bit images that shrink by a whole number: many times faster, equal values.

Each pass multiplies a small banded matrix with blocks of rows, in float32. The image is transposed between the passes
and after them, so that both run down the rows. What makes float32 safe is told at `apply`.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from rcan_plugin.resampling import separable
from rcan_plugin.resampling.separable import Image, Indices, Taps, inside

_BICUBIC_STEPS = (2, 3, 4, 8)  # for which the reasoning at `apply` holds
_OUTPUTS = 4  # rows that one product makes: more waste work on the zeros of the matrix, fewer repeat more of the calls
_TILE_ROWS, _TILE_COLUMNS = 64, 2048  # rows of the result and columns of the image: a tile stays in cache
_MANY = 0.02  # share of doubtful values from which on it is quicker to sum all of a tile again
_CENTRE = np.float32(128)  # taken from the pixels before the sums, given back after: one bit more for the fraction

Block = npt.NDArray[np.float32]


def apply(image: Image, rows: Taps, cols: Taps, border: str, *, round_between: bool) -> Image:
    """`separable.apply`, the fast way where there is one, with the same values.

    BI (`round_between`): float32 decides every rounding rightly. At x2, x4 and x8 the weights are multiples of 2**-8,
    2**-12 and 2**-16, so that each partial sum of centred pixels, below 2**8, is exact, ties included. At x3 they are
    multiples of 1/81: no sum is closer to a tie than 1/162, and float32 errs by less than 0.001.
    BD: a sum that float32 leaves in doubt, closer to a tie than its error may be, is made again in float64.
    """
    whole = rows.step == cols.step and rows.step > 1
    if image.dtype == np.uint8 and whole and (not round_between or rows.step in _BICUBIC_STEPS):
        return _apply_fast(image, rows, cols, border, round_between)
    return separable.apply(image, rows, cols, border, round_between=round_between)


def _apply_fast(image: Image, rows: Taps, cols: Taps, border: str, round_between: bool) -> Image:
    if image.ndim == 2:
        return _apply_fast(image[..., None], rows, cols, border, round_between)[..., 0]
    out = np.empty((len(rows.first), len(cols.first), image.shape[2]), np.uint8)
    down, along = _banded(rows), _banded(cols)
    width = max(1, _TILE_COLUMNS // cols.step)
    for left in range(0, out.shape[1], width):
        part = cols.window(left, min(width, out.shape[1] - left))
        columns = inside(_reach(part), image.shape[1], border)
        start = columns.min()
        strip = image[:, start : columns.max() + 1]
        columns -= start
        for top in range(0, out.shape[0], _TILE_ROWS):
            lines = rows.window(top, min(_TILE_ROWS, out.shape[0] - top))
            middle = _sum(_centred(_lines(strip, _reach(lines), border)), lines, down)
            if round_between:
                turned = _rounded(_sum(_centred(_transposed(_rounded(middle))[columns]), part, along))
            else:
                turned = _settled(_sum(_transposed(middle)[columns], part, along), image, lines, part, border)
            out[top : top + _TILE_ROWS, left : left + width] = _transposed(turned)
    return out


def _lines(image: Image, positions: Indices, border: str) -> Image:
    """The rows of `image` at `positions`, a run of them; away from the borders without a copy."""
    start, stop = int(positions[0]), int(positions[-1]) + 1
    return image[start:stop] if start >= 0 and stop <= len(image) else image[inside(positions, len(image), border)]


def _reach(taps: Taps) -> Indices:
    """The positions that `_sum` wants for `taps`: those of a whole number of products."""
    outputs = -(-len(taps.first) // _OUTPUTS) * _OUTPUTS
    return taps.first[0] + np.arange((outputs - 1) * taps.step + taps.weights.shape[1])


def _centred(source: Image) -> Block:
    """`source` - 128, by way of 8 bits with a sign, where flipping the highest bit subtracts 128."""
    return np.bitwise_xor(source, 128, order="C").view(np.int8).astype(np.float32)


def _banded(taps: Taps) -> Block:
    """The matrix that makes _OUTPUTS rows of a result out of the rows that they read."""
    count = taps.weights.shape[1]
    matrix = np.zeros((_OUTPUTS, (_OUTPUTS - 1) * taps.step + count), np.float32)
    for i, row in enumerate(matrix):
        row[i * taps.step : i * taps.step + count] = taps.weights[0]
    return matrix


def _sum(source: Block, taps: Taps, matrix: Block) -> Block:
    """The weighted sums down the rows of `source`, whose rows are those at `_reach(taps)`."""
    flat = source.reshape(len(source), -1)
    shape = (-(-len(taps.first) // _OUTPUTS), matrix.shape[1], flat.shape[1])
    strides = (_OUTPUTS * taps.step * flat.strides[0], *flat.strides)
    # The windows of rows overlap: each product reads its own, none is copied.
    windows: Block = np.ndarray(shape, np.float32, flat, strides=strides)
    return np.matmul(matrix, windows).reshape(-1, *source.shape[1:])[: len(taps.first)]


def _rounded(values: Block) -> Image:
    """Give the centre back, round halves up and clip, as 8 bits. Overwrites `values`."""
    values += _CENTRE + np.float32(0.5)
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


def _settled(values: Block, image: Image, rows: Taps, cols: Taps, border: str) -> Image:
    """`_rounded` for BD, whose sums may come too close to a tie for float32. Overwrites `values`.

    Args:
        values: (outputs of `cols`) x (outputs of `rows`) x C: columns come first here.
        image: HxWxC, what they were summed from.
    """
    values += _CENTRE + np.float32(0.5)  # a blur of 0 to 255 stays there: nothing to clip
    rounded = values.astype(np.uint8)
    values -= rounded
    values -= 0.5
    # Every product and sum of the two passes, and every weight, may err by 2**-24 of at most 2**8.
    doubt = (rows.weights.shape[1] + cols.weights.shape[1] + 8) * 2.0**-16
    spots = np.flatnonzero(np.abs(values, out=values) > 0.5 - doubt)
    if len(spots) > _MANY * values.size:  # a drawing or a test pattern may be ties all over
        return separable.apply(image, rows, cols, border, round_between=False).swapaxes(0, 1)
    x, y, channel = np.unravel_index(spots, values.shape)
    ys = inside(rows.first[y][:, None] + np.arange(rows.weights.shape[1]), image.shape[0], border)
    xs = inside(cols.first[x][:, None] + np.arange(cols.weights.shape[1]), image.shape[1], border)
    pixels = image[ys[:, :, None], xs[:, None, :], channel[:, None, None]].astype(np.float64)
    sums = pixels @ cols.weights[0] @ rows.weights[0]
    rounded.reshape(-1)[spots] = separable.round_half_up(sums, image.dtype)
    return rounded


def _transposed(block: Image) -> Image:
    """Swap rows and columns, in memory too."""
    if block.shape[2] > 4:  # more than OpenCV has
        return np.ascontiguousarray(block.swapaxes(0, 1))
    return cv2.transpose(block).reshape(block.shape[1], block.shape[0], block.shape[2])
