"""Separable filters of 8-bit images that shrink by a whole number, as float32 matrix products.

Many times faster than `separable.apply_taps_float64`, with equal values. Each pass multiplies a small banded matrix by
blocks of rows. The image is transposed after each pass, so that both passes run down the rows. Why float32 is exact
enough: see `apply_taps`.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from rcan_plugin.resampling.separable import Image, Indices, Taps, apply_taps_float64, inside, round_half_up

_BICUBIC_STEPS = (2, 3, 4, 8)  # the scales that the proof in `apply_taps` covers
_ROWS_PER_MATMUL = 4  # larger wastes work on the band's zeros, smaller makes more calls
_TILE_ROWS, _TILE_COLUMNS = 64, 2048  # rows of the result and columns of the image: a tile stays in cache
_REDO_TILE_SHARE = 0.02  # share of doubtful values above which summing the whole tile again in float64 is faster
_CENTRE = np.float32(128)  # subtracted from pixels before the sums and added after: one more bit for the fraction

Block = npt.NDArray[np.float32]


def apply_taps(image: Image, rows: Taps, cols: Taps, border: str, *, round_between: bool) -> Image:
    """Like `separable.apply_taps_float64`, with the same values; uses float32 matrix products where they are exact.

    BI (`round_between`): float32 makes every rounding decision correctly. At x2, x4 and x8 the weights are multiples
    of 2**-8, 2**-12 and 2**-16, so each partial sum of centred pixels, below 2**8, is exact, ties included. At x3 they
    are multiples of 1/81: no sum is closer to a tie than 1/162, and float32 errs by less than 0.001.
    BD: a sum closer to a tie than its possible float32 error is computed again in float64.
    """
    is_whole_step = rows.step == cols.step and rows.step > 1
    if image.dtype == np.uint8 and is_whole_step and (not round_between or rows.step in _BICUBIC_STEPS):
        return _apply_taps_float32(image, rows, cols, border, round_between)
    return apply_taps_float64(image, rows, cols, border, round_between=round_between)


def _apply_taps_float32(image: Image, rows: Taps, cols: Taps, border: str, round_between: bool) -> Image:
    if image.ndim == 2:
        return _apply_taps_float32(image[..., None], rows, cols, border, round_between)[..., 0]
    out = np.empty((len(rows.first), len(cols.first), image.shape[2]), np.uint8)
    row_matrix, col_matrix = _banded_matrix(rows), _banded_matrix(cols)
    tile_width = max(1, _TILE_COLUMNS // cols.step)
    for left in range(0, out.shape[1], tile_width):
        tile_cols = cols.window(left, min(tile_width, out.shape[1] - left))
        columns = inside(_positions_read(tile_cols), image.shape[1], border)
        start = columns.min()
        strip = image[:, start : columns.max() + 1]
        columns -= start
        for top in range(0, out.shape[0], _TILE_ROWS):
            tile_rows = rows.window(top, min(_TILE_ROWS, out.shape[0] - top))
            source = _centred(_rows_at(strip, _positions_read(tile_rows), border))
            middle = _weighted_sums(source, tile_rows, row_matrix)
            if round_between:
                source = _centred(_transposed(_rounded(middle))[columns])
                tile = _rounded(_weighted_sums(source, tile_cols, col_matrix))
            else:
                sums = _weighted_sums(_transposed(middle)[columns], tile_cols, col_matrix)
                tile = _rounded_with_float64_ties(sums, image, tile_rows, tile_cols, border)
            out[top : top + _TILE_ROWS, left : left + tile_width] = _transposed(tile)
    return out


def _rows_at(image: Image, positions: Indices, border: str) -> Image:
    """Return the rows of `image` at consecutive `positions`; a view if none is past the border."""
    start, stop = int(positions[0]), int(positions[-1]) + 1
    return image[start:stop] if start >= 0 and stop <= len(image) else image[inside(positions, len(image), border)]


def _positions_read(taps: Taps) -> Indices:
    """Return the positions that `_weighted_sums` reads for `taps`, rounded up to whole matrix products."""
    outputs = -(-len(taps.first) // _ROWS_PER_MATMUL) * _ROWS_PER_MATMUL
    return taps.first[0] + np.arange((outputs - 1) * taps.step + taps.weights.shape[1])


def _centred(source: Image) -> Block:
    """Return uint8 `source` - 128 as float32, by way of int8: flipping the highest bit subtracts 128."""
    return np.bitwise_xor(source, 128, order="C").view(np.int8).astype(np.float32)


def _banded_matrix(taps: Taps) -> Block:
    """Return the matrix that turns the input rows of _ROWS_PER_MATMUL output rows into these."""
    count = taps.weights.shape[1]
    matrix = np.zeros((_ROWS_PER_MATMUL, (_ROWS_PER_MATMUL - 1) * taps.step + count), np.float32)
    for i, row in enumerate(matrix):
        row[i * taps.step : i * taps.step + count] = taps.weights[0]
    return matrix


def _weighted_sums(source: Block, taps: Taps, matrix: Block) -> Block:
    """Sum down the rows of `source`, which are those at `_positions_read(taps)`."""
    flat = source.reshape(len(source), -1)
    shape = (-(-len(taps.first) // _ROWS_PER_MATMUL), matrix.shape[1], flat.shape[1])
    strides = (_ROWS_PER_MATMUL * taps.step * flat.strides[0], *flat.strides)
    # The products' windows of rows overlap: they are views, nothing is copied.
    windows: Block = np.ndarray(shape, np.float32, flat, strides=strides)
    return np.matmul(matrix, windows).reshape(-1, *source.shape[1:])[: len(taps.first)]


def _rounded(values: Block) -> Image:
    """Undo the centring, round halves up and clip to uint8. Overwrites `values`."""
    values += _CENTRE + np.float32(0.5)
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


def _rounded_with_float64_ties(values: Block, image: Image, rows: Taps, cols: Taps, border: str) -> Image:
    """`_rounded` for BD: sums too close to a tie for float32 are computed again in float64. Overwrites `values`.

    Args:
        values: (outputs of `cols`) x (outputs of `rows`) x C, columns first: the sums of both passes.
        image: H x W x C that they were computed from.
    """
    values += _CENTRE + np.float32(0.5)  # a blur of 0 to 255 stays in that range: nothing to clip
    rounded = values.astype(np.uint8)
    values -= rounded
    values -= 0.5
    # Every product and sum of the two passes, and every weight, may err by 2**-24 of at most 2**8.
    max_error = (rows.weights.shape[1] + cols.weights.shape[1] + 8) * 2.0**-16
    doubtful = np.flatnonzero(np.abs(values, out=values) > 0.5 - max_error)
    if len(doubtful) > _REDO_TILE_SHARE * values.size:  # drawings and test patterns may consist of ties
        return apply_taps_float64(image, rows, cols, border, round_between=False).swapaxes(0, 1)
    x, y, channel = np.unravel_index(doubtful, values.shape)
    ys = inside(rows.first[y][:, None] + np.arange(rows.weights.shape[1]), image.shape[0], border)
    xs = inside(cols.first[x][:, None] + np.arange(cols.weights.shape[1]), image.shape[1], border)
    pixels = image[ys[:, :, None], xs[:, None, :], channel[:, None, None]].astype(np.float64)
    sums = pixels @ cols.weights[0] @ rows.weights[0]
    rounded.reshape(-1)[doubtful] = round_half_up(sums, image.dtype)
    return rounded


def _transposed(block: Image) -> Image:
    """Swap rows and columns of H x W x C, in memory too."""
    if block.shape[2] > 4:  # OpenCV's limit of channels
        return np.ascontiguousarray(block.swapaxes(0, 1))
    return cv2.transpose(block).reshape(block.shape[1], block.shape[0], block.shape[2])
