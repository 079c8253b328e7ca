"""Transparency: replaces the colours of transparent pixels, and enlarges alpha."""

from __future__ import annotations

import cv2
import numpy as np

from rcan_plugin.resampling.bicubic import bicubic_taps
from rcan_plugin.resampling.separable import apply_taps_float64

_FULL_SHARE = 16  # pixels with an opacity of 1/16 or more keep their colour
_ROWS = 256  # filled at a time; an even number
_INVISIBLE = 1e-6  # less than one of 65535; averages of smaller floats could vanish


def fill_hidden(color: np.ndarray, alpha: np.ndarray) -> None:
    """Replace the colours of transparent pixels by those of the visible pixels nearest to them.

    Transparent pixels are often black or white, which a network would mix into the visible edge. A pixel of opacity `a`
    keeps the share min(16 a, 1) of its colour: colours of nearly invisible pixels are often little more than rounding
    errors. The visible image changes by at most 1/64 of the difference of the colours, at `a` = 1/32, and not at all
    for `a` of 1/16 or more.

    The replacement colours are averages, weighted with alpha, over squares of 2, 4, 8, ... pixels: the smallest square
    with a visible pixel (pull and push of Gortler et al., "The Lumigraph", SIGGRAPH 1996).

    Args:
        color: H x W x C, float32. It is changed, unless no pixel or every pixel is transparent.
        alpha: H x W, float32 from 0 to 1.
    """
    alpha = np.where(alpha < _INVISIBLE, 0, alpha)
    if alpha.min() * _FULL_SHARE >= 1 or not alpha.any():
        return
    around = _averages(color, alpha)
    for top in range(0, len(alpha), _ROWS):
        rows = slice(top, top + _ROWS)
        share = np.minimum(alpha[rows] * _FULL_SHARE, 1)
        hidden = share < 1
        share = share[hidden][:, None]
        color[rows][hidden] = color[rows][hidden] * share + _doubled(around, rows, alpha.shape)[hidden] * (1 - share)


def _averages(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the colours of squares of 2 x 2 pixels, or of larger squares where these have no visible pixel."""
    coarse_alpha = _halved(alpha)
    coarse = np.empty((*coarse_alpha.shape, color.shape[2]), np.float32)
    for top in range(0, len(alpha), _ROWS):  # weighted by rows: a copy of a large picture takes much memory
        rows = slice(top, top + _ROWS)
        weighted = _halved(color[rows] * alpha[rows][..., None])
        coarse[top // 2 : top // 2 + len(weighted)] = weighted
    seen = coarse_alpha > 0
    coarse[seen] /= coarse_alpha[seen][:, None]
    if not seen.all():
        around = _averages(coarse, coarse_alpha)
        coarse[~seen] = _doubled(around, slice(0, len(seen)), seen.shape)[~seen]
    return coarse


def _doubled(coarse: np.ndarray, rows: slice, shape: tuple[int, ...]) -> np.ndarray:
    """Repeat the values of squares for their pixels, in some rows (the first is even) of a picture of H x W."""
    repeated = coarse[rows.start // 2 : (min(rows.stop, shape[0]) + 1) // 2].repeat(2, 0).repeat(2, 1)
    return repeated[: min(rows.stop, shape[0]) - rows.start, : shape[1]]


def _halved(values: np.ndarray) -> np.ndarray:
    """Average squares of 2 x 2 pixels; odd sides are padded with zeros."""
    height, width = values.shape[:2]
    even = cv2.copyMakeBorder(values, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
    size = ((width + 1) // 2, (height + 1) // 2)
    return cv2.resize(even, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], *values.shape[2:])


def enlarged_rows(alpha: np.ndarray, scale: int, top: int, rows: int) -> np.ndarray:
    """Compute some rows of alpha enlarged by MATLAB's bicubic; they equal the rows of the whole result.

    Args:
        alpha: H x W.
        scale: integer scale factor.
        top, rows: first row of the result, and how many.

    Returns:
        rows x (W * scale), of the type of `alpha`, clipped to its range.
    """
    down, along = (bicubic_taps(size, float(scale)) for size in alpha.shape)
    result = apply_taps_float64(alpha, down.window(top, rows), along, "replicate", round_between=False)
    return np.clip(result, 0, 1) if alpha.dtype.kind == "f" else result
