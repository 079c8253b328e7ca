"""What is left between a predicted and an actual LR image: is it noise, and do the two show the same thing?"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from .separable import Image

Levels = npt.NDArray[np.float32]

_MOST_COARSE = 64  # pixels a side
_FLAT = 4.0  # standard deviation in levels below which an image counts as flat, where correlation means nothing
_QUANTILE = 0.6745  # half of a normal distribution lies within so many standard deviations
_FEW = 200  # values too few to judge by


def as_levels(image: Image) -> Levels:
    """HxWxC as float32 on the scale of 0 to 255: integers by their range, floats taken to lie in 0 to 1."""
    top = float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 1.0
    levels = image.astype(np.float32)
    return levels if top == 255 else levels * np.float32(255 / top)


def correlation(first: Image, second: Image) -> float:
    """How alike coarse versions of two HxWxC images are, from -1 to 1; at most 1/4 of the size, to average noise out.

    A little is added to the variances, so that two flat images are alike although their noise is not.
    """
    height, width = first.shape[:2]
    size = (max(1, min(width // 4, _MOST_COARSE)), max(1, min(height // 4, _MOST_COARSE)))
    a, b = (
        cv2.resize(as_levels(image).mean(axis=2), size, interpolation=cv2.INTER_AREA).ravel()
        for image in (first, second)
    )
    a, b = a - a.mean(), b - b.mean()
    flat = _FLAT * _FLAT
    return float(((a * b).mean() + flat) / math.sqrt(((a * a).mean() + flat) * ((b * b).mean() + flat)))


def noise_level(predicted: Image, actual: Image) -> float | None:
    """Standard deviation, in levels, of the white noise that explains `actual` - `predicted`; None if none does.

    Noise was clipped with the image, so each value is judged by the side that has more room: upwards where the
    prediction is darker than mid-gray, else downwards. Half the square deviation of the noise lies there.
    """
    clean = as_levels(predicted)
    residual = as_levels(actual) - clean
    outward = np.where(clean < 127.5, residual, -residual)
    step = 1.0 if actual.dtype == np.uint8 else 0.0
    level = _one_sided(outward, step)
    # What a filter or a compression leaves follows the edges of the image; noise is the same everywhere ...
    edges = np.abs(cv2.Laplacian(cv2.blur(clean, (3, 3)), cv2.CV_32F)).reshape(clean.shape).mean(axis=2)
    rough = edges > np.median(edges)
    if min(rough.sum(), (~rough).sum()) * clean.shape[2] >= _FEW:
        smooth_level, rough_level = _one_sided(outward[~rough], step), _one_sided(outward[rough], step)
        if not 0.8 * rough_level < smooth_level < 1.25 * rough_level:
            return None
    # ... and does not know its neighbour. Where it was clipped it has a mean, so look at the middle of the range.
    room = np.minimum(clean, 255 - clean) > 2.5 * level
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
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
