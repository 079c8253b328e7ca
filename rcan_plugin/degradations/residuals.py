"""Tests whether two LR images show the same thing, and whether their difference is noise."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from rcan_plugin.resampling.separable import Image

Grey255 = npt.NDArray[np.float32]
"""Gray or colour values on the scale of 0 to 255, whatever the type of the image was."""

_COARSE_SIDE = 64  # pixels
_FLAT_VARIANCE, _FLAT_DETAIL_VARIANCE = 16.0, 1.0  # on the scale of 0 to 255; with less an image is flat
_NORMAL_MEDIAN = 0.6745  # half of a normal distribution is within this many standard deviations
_MIN_VALUES = 200  # fewer are too few to estimate noise


def as_grey255(image: Image) -> Grey255:
    """Convert to float32 on the scale of 0 to 255: integers by the range of their type, floats from 0 to 1."""
    top = float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 1.0
    values = image.astype(np.float32)
    return values if top == 255 else values * np.float32(255 / top)


def coarse_correlation(first: Image, second: Image) -> float:
    """Correlate two H x W x C images at a quarter of their size or less, where noise is averaged out; -1 to 1."""
    height, width = first.shape[:2]
    size = (max(1, min(width // 4, _COARSE_SIDE)), max(1, min(height // 4, _COARSE_SIDE)))
    a, b = (cv2.resize(_gray(image), size, interpolation=cv2.INTER_AREA) for image in (first, second))
    return _correlation(a - a.mean(), b - b.mean(), _FLAT_VARIANCE)


def detail_correlation(first: Image, second: Image) -> float:
    """Correlate the details, finer than some 5 pixels, of two H x W x C images; -1 to 1."""
    a, b = (gray - cv2.blur(gray, (5, 5)) for gray in (_gray(first), _gray(second)))
    return _correlation(a, b, _FLAT_DETAIL_VARIANCE)


def _gray(image: Image) -> Grey255:
    return as_grey255(image).mean(axis=2)


def _correlation(a: Image, b: Image, common_variance: float) -> float:
    """Correlate two images of mean 0. A common variance is added to both, so that two flat images correlate by 1."""
    variances = ((a * a).mean() + common_variance) * ((b * b).mean() + common_variance)
    return float(((a * b).mean() + common_variance) / math.sqrt(variances))


def noise_level(predicted: Image, actual: Image) -> float | None:
    """Estimate the standard deviation of white Gaussian noise in `actual` - `predicted`, on the scale of 0 to 255.

    Noisy values were clipped to the image's range, so only deviations towards the farther end of the range count:
    upwards where the prediction is darker than mid-gray, otherwise downwards. They have half of the noise's variance.

    Args:
        predicted, actual: H x W x C, of one type.

    Returns:
        The level, or None if the difference is not noise: the residual of another filter or of compression is
        strongest along edges, correlated between neighbours and channels, and has longer tails.
    """
    if (actual == actual[..., :1]).all():  # a gray image, repeated for the channels of the other
        predicted, actual = predicted[..., :1], actual[..., :1]
    clean = as_grey255(predicted)
    residual = as_grey255(actual) - clean
    outward = np.where(clean < 127.5, residual, -residual)
    step = 1.0 if actual.dtype == np.uint8 else 0.0
    level = _one_sided_deviation(outward, step)
    if outward.size < _MIN_VALUES or level == 0:
        return None
    # Mean deviation over standard deviation: 0.80 for a normal distribution, 0.71 for a Laplacian, which residuals of
    # other filters resemble; clipping raises it a little.
    if not 0.75 < 2 * outward[outward > 0].sum() / outward.size / level < 0.9:
        return None
    edges = np.abs(cv2.Laplacian(cv2.blur(clean, (3, 3)), cv2.CV_32F)).reshape(clean.shape).mean(axis=2)
    rough = edges > np.median(edges)
    if min(rough.sum(), (~rough).sum()) * clean.shape[2] >= _MIN_VALUES:
        smooth_level, rough_level = (_one_sided_deviation(outward[part], step) for part in (~rough, rough))
        if not 0.8 * rough_level < smooth_level < 1.25 * rough_level:
            return None
    # Clipped noise has a mean. Where none was clipped, mean and covariance of neighbours and channels must be 0.
    unclipped = np.minimum(clean, 255 - clean) > 2.5 * level
    if np.count_nonzero(unclipped) >= _MIN_VALUES and abs(residual[unclipped].mean()) > 0.2 * level:
        return None
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1]), (np.s_[..., 1:], np.s_[..., :-1])):
        both = unclipped[a] & unclipped[b]
        if (count := np.count_nonzero(both)) >= _MIN_VALUES:
            covariance = float((residual[a][both] * residual[b][both]).mean())
            if abs(covariance) > (0.1 + 4 / math.sqrt(count)) * level * level:
                return None
    return level


def _one_sided_deviation(outward: Grey255, step: float) -> float:
    """Estimate the standard deviation of normal noise from its positive values; `step`: what they were rounded to."""
    positive = outward[outward > 0]
    if not len(positive):
        return 0.0
    square = 2 * float(np.square(positive, dtype=np.float64).sum()) / outward.size
    level = math.sqrt(max(square - step * step / 12, 0.0))
    # At least 127 levels are free before clipping: stronger noise loses its tail but not its median.
    return level if level < 35 else float(np.median(positive)) / _NORMAL_MEDIAN
