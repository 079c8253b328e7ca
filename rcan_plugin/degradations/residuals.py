"""What is left between a predicted and an actual LR image: is it noise, and do the two show the same thing?"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from rcan_plugin.resampling.separable import Image

Levels = npt.NDArray[np.float32]

_MOST_COARSE = 64  # pixels a side
_FLAT, _FLAT_DETAIL = 16.0, 1.0  # variances in levels below which an image has nothing to correlate
_QUANTILE = 0.6745  # half of a normal distribution lies within so many standard deviations
_FEW = 200  # values too few to judge by


def as_levels(image: Image) -> Levels:
    """HxWxC as float32 on the scale of 0 to 255: integers by their range, floats taken to lie in 0 to 1."""
    top = float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 1.0
    levels = image.astype(np.float32)
    return levels if top == 255 else levels * np.float32(255 / top)


def coarse_correlation(first: Image, second: Image) -> float:
    """How alike two HxWxC images are at a quarter of their size or less, where noise is averaged out; -1 to 1."""
    height, width = first.shape[:2]
    size = (max(1, min(width // 4, _MOST_COARSE)), max(1, min(height // 4, _MOST_COARSE)))
    a, b = (cv2.resize(_gray(image), size, interpolation=cv2.INTER_AREA) for image in (first, second))
    return _correlation(a - a.mean(), b - b.mean(), _FLAT)


def detail_correlation(first: Image, second: Image) -> float:
    """How alike two HxWxC images are in what is finer than some 5 pixels; -1 to 1."""
    a, b = (gray - cv2.blur(gray, (5, 5)) for gray in (_gray(first), _gray(second)))
    return _correlation(a, b, _FLAT_DETAIL)


def _gray(image: Image) -> Levels:
    return as_levels(image).mean(axis=2)


def _correlation(a: Image, b: Image, flat: float) -> float:
    """Of what has no mean; a variance of `flat` is added to both, so that two flat images are alike."""
    return float(((a * b).mean() + flat) / math.sqrt(((a * a).mean() + flat) * ((b * b).mean() + flat)))


def noise_level(predicted: Image, actual: Image) -> float | None:
    """Standard deviation, in levels, of the white Gaussian noise that explains `actual` - `predicted`.

    Noise was clipped with the image, so each value is judged by the side that has more room: upwards where the
    prediction is darker than mid-gray, else downwards. Half the square deviation of the noise lies there.

    Returns:
        The level, or None if the difference is not noise: what a filter or a compression leaves is strongest along
        edges, alike in neighbours and in the channels, and has longer tails.
    """
    if (actual == actual[..., :1]).all():  # a gray image, repeated for the channels of the other
        predicted, actual = predicted[..., :1], actual[..., :1]
    clean = as_levels(predicted)
    residual = as_levels(actual) - clean
    outward = np.where(clean < 127.5, residual, -residual)
    step = 1.0 if actual.dtype == np.uint8 else 0.0
    level = _one_sided(outward, step)
    if outward.size < _FEW or level == 0:
        return None
    # Mean over standard deviation: 0.80 of a normal distribution, 0.71 of a Laplacian, as images leave it; clipping
    # raises it a little.
    if not 0.75 < 2 * outward[outward > 0].sum() / outward.size / level < 0.9:
        return None
    edges = np.abs(cv2.Laplacian(cv2.blur(clean, (3, 3)), cv2.CV_32F)).reshape(clean.shape).mean(axis=2)
    rough = edges > np.median(edges)
    if min(rough.sum(), (~rough).sum()) * clean.shape[2] >= _FEW:
        smooth_level, rough_level = _one_sided(outward[~rough], step), _one_sided(outward[rough], step)
        if not 0.8 * rough_level < smooth_level < 1.25 * rough_level:
            return None
    # Where noise was clipped it has a mean; for what must have none, look at the middle of the range.
    room = np.minimum(clean, 255 - clean) > 2.5 * level
    if np.count_nonzero(room) >= _FEW and abs(residual[room].mean()) > 0.2 * level:
        return None
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1]), (np.s_[..., 1:], np.s_[..., :-1])):
        both = room[a] & room[b]
        if (count := np.count_nonzero(both)) >= _FEW:
            together = float((residual[a][both] * residual[b][both]).mean())
            if abs(together) > (0.1 + 4 / math.sqrt(count)) * level * level:
                return None
    return level


def _one_sided(outward: Levels, step: float) -> float:
    """Standard deviation of normal noise whose positive half alone was seen whole, rounded to multiples of `step`."""
    positive = outward[outward > 0]
    if not len(positive):
        return 0.0
    square = 2 * float(np.square(positive, dtype=np.float64).sum()) / outward.size
    level = math.sqrt(max(square - step * step / 12, 0.0))
    # The room is at least 127 levels; noise that needs more loses its tail but not its median.
    return level if level < 35 else float(np.median(positive)) / _QUANTILE
