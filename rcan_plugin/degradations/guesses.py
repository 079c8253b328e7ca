"""Candidates for how an LR image was made: what each predicts, and which is nearest."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from rcan_plugin.degradations.degrade import Region, degrade
from rcan_plugin.degradations.residuals import as_grey255
from rcan_plugin.resampling.bicubic import imresize
from rcan_plugin.resampling.separable import BORDERS, Image

_WINDOW = 96  # LR pixels a side of the square in which shifts are tried
_MARGIN = 6  # LR pixels at each border not compared when shifted: half of BD's 12 taps reach that far at x2
_MIN_GAIN = 0.02  # part of the squared error by which a shift must reduce it to be accepted
_MAX_DECIMATION_ERROR = 1.0  # squared error on the scale of 0 to 255; other samplers have more

Shift = tuple[float, float]
"""Down and right, in HR pixels."""


@dataclass(frozen=True)
class Guess:
    """A way in which the LR image may have been made.

    Attributes:
        kind: `BI`, `BD` or `decimation`.
        border: border of the HR image; None for the default.
        shift: displacement of the sampling grid.
    """

    kind: str
    border: str | None = None
    shift: Shift = (0, 0)


def predict(hr: Image, lr: Image, scale: int, guess: Guess) -> tuple[Image, Image]:
    """Return the LR image that `guess` makes, and the part of `lr` to compare it with; both H x W x C."""
    if guess.kind == "decimation":
        top, left = (round(shift + (scale - 1) / 2) for shift in guess.shift)
        predicted = hr[top::scale, left::scale]
    elif guess.shift != (0, 0):
        return _predict_shifted(hr, lr, scale, guess)
    elif guess.kind == "BI":
        predicted = imresize(hr, 1 / scale, border=guess.border or BORDERS[0])  # also of a last, partial pixel
    else:
        predicted = degrade(hr, scale, guess.kind)
    height, width = (min(a, b) for a, b in zip(predicted.shape[:2], lr.shape[:2], strict=True))
    return np.ascontiguousarray(predicted[:height, :width]), np.ascontiguousarray(lr[:height, :width])


def _predict_shifted(
    hr: Image, lr: Image, scale: int, guess: Guess, window: Region | None = None
) -> tuple[Image, Image]:
    """`predict` for shifts by whole HR pixels: LR pixel i shows what pixel i + shift / scale should.

    Args:
        window: part of `lr` to compare, which both must contain; None for the shared part without a margin.
    """
    start: list[int] = []  # along each axis: the first HR pixel used, ...
    span: list[tuple[int, int]] = []  # ... first and last + 1 of the LR pixels compared, ...
    offset: list[int] = []  # ... and their displacement in the predicted LR image
    for axis in (0, 1):
        lr_pixels, hr_pixels = divmod(int(guess.shift[axis]), scale)
        if window is None:
            low, high = max(0, -lr_pixels), min(lr.shape[axis], (hr.shape[axis] - hr_pixels) // scale - lr_pixels)
            margin = min(_MARGIN, (high - low) // 4)
            span.append((low + margin, high - margin))
        else:
            span.append((window[axis], window[axis] + window[axis + 2]))
        start.append(hr_pixels)
        offset.append(lr_pixels)
    (top, bottom), (left, right) = span
    region = (top + offset[0], left + offset[1], bottom - top, right - left)
    predicted = degrade(hr[start[0] :, start[1] :], scale, guess.kind, region=region)
    return predicted, np.ascontiguousarray(lr[top:bottom, left:right])


def best_guess(hr: Image, lr: Image, scale: int) -> Guess:
    """Return the nearest of BI, BD, their shifts, and decimation, in the window with the most detail.

    Args:
        hr, lr: H x W x C, of one type.
    """
    predicted, actual = predict(hr, lr, scale, Guess("BI"))
    window = window_with_most_detail(predicted)
    top, left, height, width = window
    lr_window = lr[top : top + height, left : left + width]

    shifts = {(0, 0), *_likely_shifts(predicted, actual, scale, window)}
    errors = {
        guess: squared_error(*_predict_shifted(hr, lr, scale, guess, window))
        for guess in (Guess(kind, shift=shift) for kind in ("BI", "BD") for shift in shifts)
    }
    middle = (scale - 1) / 2
    for phase in itertools.product(range(scale), repeat=2):
        sampled = hr[phase[0] :: scale, phase[1] :: scale][top : top + height, left : left + width]
        error = squared_error(sampled, lr_window)
        if error < _MAX_DECIMATION_ERROR:
            errors[Guess("decimation", shift=(phase[0] - middle, phase[1] - middle))] = error

    unshifted = min((Guess("BI"), Guess("BD")), key=errors.__getitem__)
    best = min(errors, key=errors.__getitem__)
    # With noise, the squared error over n values varies by chance by a part of sqrt(2 / n).
    gain = min(0.5, max(_MIN_GAIN, 6 * (2 / (height * width)) ** 0.5))
    return best if errors[best] < (1 - gain) * errors[unshifted] else unshifted


def window_with_most_detail(image: Image) -> Region:
    """Return the square with the most detail in the middle half of `image`: shifted by a quarter it is still inside."""
    detail = np.square(cv2.Laplacian(as_grey255(image).mean(axis=2), cv2.CV_32F))
    height, width = (max(1, min(_WINDOW, side // 2)) for side in detail.shape)
    sums = cv2.boxFilter(detail, -1, (width, height), anchor=(0, 0))
    top, left = (side // 4 for side in detail.shape)
    bottom = max(3 * detail.shape[0] // 4 - height, top) + 1
    right = max(3 * detail.shape[1] // 4 - width, left) + 1
    sums = sums[top:bottom, left:right]
    y, x = np.unravel_index(np.argmax(sums), sums.shape)
    return top + int(y), left + int(x), height, width


def _likely_shifts(predicted: Image, actual: Image, scale: int, window: Region) -> list[Shift]:
    """Return shifts by whole HR pixels around the one with which the window of `actual` fits `predicted` best."""
    top, left, height, width = window
    whole, part = (as_grey255(image).mean(axis=2) for image in (predicted, actual))
    misfit: Image = cv2.matchTemplate(whole, part[top : top + height, left : left + width], cv2.TM_SQDIFF)
    y, x = np.unravel_index(np.argmin(misfit), misfit.shape)
    margin = max(2, 3 * scale // 8)  # the parabola through an aliased match is accurate to a third of an LR pixel
    axes = []
    for line, best, start, side in ((misfit[:, x], y, top, whole.shape[0]), (misfit[y], x, left, whole.shape[1])):
        centre = round((_parabola_minimum(line, int(best)) - start) * scale)
        limit = max(0, side // 4 - 1) * scale
        axes.append([n for n in range(centre - margin, centre + margin + 1) if abs(n) <= limit])
    return list(itertools.product(axes[0], axes[1]))


def _parabola_minimum(values: Image, index: int) -> float:
    """Fit a parabola to the least of `values`, at `index`, and its neighbours; return the position of its minimum."""
    if not 0 < index < len(values) - 1:
        return index
    before, least, after = values[index - 1 : index + 2].astype(np.float64)
    curvature = before - 2 * least + after
    return index + (before - after) / (2 * curvature) if curvature > 0 else index


def squared_error(predicted: Image, actual: Image) -> float:
    """Return the mean squared error, on the scale of 0 to 255, of the channels' mean: noise and the compression of
    colours affect it least.

    Args:
        predicted, actual: H x W x C.
    """
    return float(np.square((as_grey255(predicted) - as_grey255(actual)).mean(axis=2)).mean())
