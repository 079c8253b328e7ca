"""The ways an LR image may have been made, what each predicts, and which comes nearest."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from rcan_plugin.degradations.degrade import Region, degrade
from rcan_plugin.degradations.residuals import as_levels
from rcan_plugin.resampling.bicubic import imresize
from rcan_plugin.resampling.separable import BORDERS, Image

_WINDOW = 96  # LR pixels a side of the square in which shifts are tried
_MARGIN = 6  # LR pixels at each border that a shifted image need not share: what half of BD's 12 taps reach at x2
_GAIN = 0.02  # by how much a shift must lessen the squared error at least, to be believed
_DECIMATED = 1.0  # squared error, in levels, up to which it is decimation: other samplers only come near

Shift = tuple[float, float]


@dataclass(frozen=True)
class Guess:
    """A way the LR image may have been made."""

    kind: str
    border: str | None = None
    shift: Shift = (0, 0)


def predict(hr: Image, lr: Image, scale: int, guess: Guess) -> tuple[Image, Image]:
    """The LR image that `guess` makes, and the part of `lr` to compare it with."""
    if guess.kind == "decimation":
        top, left = (round(shift + (scale - 1) / 2) for shift in guess.shift)
        predicted = hr[top::scale, left::scale]
    elif guess.shift != (0, 0):
        return _predict_shifted(hr, lr, scale, guess)
    elif guess.kind == "BI":
        predicted = imresize(hr, 1 / scale, border=guess.border or BORDERS[0])  # the last pixel may be a part of one
    else:
        predicted = degrade(hr, scale, guess.kind)
    height, width = (min(a, b) for a, b in zip(predicted.shape[:2], lr.shape[:2], strict=True))
    return np.ascontiguousarray(predicted[:height, :width]), np.ascontiguousarray(lr[:height, :width])


def _predict_shifted(
    hr: Image, lr: Image, scale: int, guess: Guess, window: Region | None = None
) -> tuple[Image, Image]:
    """`predict` for what is shifted by whole HR pixels: LR pixel i shows what pixel i + shift / scale should.

    Args:
        window: the part of `lr` to compare, which both must have; None for all that they have, less a margin.
    """
    start: list[int] = []  # along each axis: the first HR pixel used, ...
    span: list[tuple[int, int]] = []  # ... and the LR pixels compared, from one up to another, ...
    offset: list[int] = []  # ... which lie so many pixels further on in the LR image predicted
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
    """The nearest of BI, BD and their shifts, and of decimation, in a part of the image that shows something."""
    predicted, actual = predict(hr, lr, scale, Guess("BI"))
    window = _busy_window(predicted)
    top, left, height, width = window
    here = lr[top : top + height, left : left + width]

    shifts = {(0, 0), *_likely_shifts(predicted, actual, scale, window)}
    errors = {
        guess: squared_error(*_predict_shifted(hr, lr, scale, guess, window))
        for guess in (Guess(kind, shift=shift) for kind in ("BI", "BD") for shift in shifts)
    }
    middle = (scale - 1) / 2
    for phase in itertools.product(range(scale), repeat=2):
        sampled = hr[phase[0] :: scale, phase[1] :: scale][top : top + height, left : left + width]
        error = squared_error(sampled, here)
        if error < _DECIMATED:
            errors[Guess("decimation", shift=(phase[0] - middle, phase[1] - middle))] = error

    papers = min((Guess("BI", shift=(0, 0)), Guess("BD", shift=(0, 0))), key=errors.__getitem__)
    best = min(errors, key=errors.__getitem__)
    # Under noise the error of n values varies by a part of sqrt(2 / n), by number alone.
    gain = min(0.5, max(_GAIN, 6 * (2 / (height * width)) ** 0.5))
    return best if errors[best] < (1 - gain) * errors[papers] else papers


def _busy_window(image: Image) -> Region:
    """The square with the most detail in the middle half of `image`, which a shift by a quarter leaves inside."""
    detail = np.square(cv2.Laplacian(as_levels(image).mean(axis=2), cv2.CV_32F))
    height, width = (max(1, min(_WINDOW, side // 2)) for side in detail.shape)
    sums = cv2.boxFilter(detail, -1, (width, height), anchor=(0, 0))
    top, left = (side // 4 for side in detail.shape)
    places = sums[
        top : max(3 * detail.shape[0] // 4 - height, top) + 1, left : max(3 * detail.shape[1] // 4 - width, left) + 1
    ]
    y, x = np.unravel_index(np.argmax(places), places.shape)
    return top + int(y), left + int(x), height, width


def _likely_shifts(predicted: Image, actual: Image, scale: int, window: Region) -> list[Shift]:
    """Whole HR pixels around the place where the window of `actual` fits best into `predicted`."""
    top, left, height, width = window
    whole, part = (as_levels(image).mean(axis=2) for image in (predicted, actual))
    misfit: Image = cv2.matchTemplate(whole, part[top : top + height, left : left + width], cv2.TM_SQDIFF)
    y, x = np.unravel_index(np.argmin(misfit), misfit.shape)
    around = max(2, 3 * scale // 8)  # a parabola through an aliased match is good to a third of an LR pixel
    axes = []
    for line, best, here, side in ((misfit[:, x], y, top, whole.shape[0]), (misfit[y], x, left, whole.shape[1])):
        centre = round((_lowest(line, int(best)) - here) * scale)
        most = max(0, side // 4 - 1) * scale
        axes.append([n for n in range(centre - around, centre + around + 1) if abs(n) <= most])
    return list(itertools.product(axes[0], axes[1]))


def _lowest(values: Image, at: int) -> float:
    """Where the parabola through the least of `values`, at `at`, and its neighbours is lowest."""
    if not 0 < at < len(values) - 1:
        return at
    before, here, after = values[at - 1 : at + 2].astype(np.float64)
    bend = before - 2 * here + after
    return at + (before - after) / (2 * bend) if bend > 0 else at


def squared_error(predicted: Image, actual: Image) -> float:
    """Of the mean of the channels, which noise and the compression of colours trouble least."""
    return float(np.square((as_levels(predicted) - as_levels(actual)).mean(axis=2)).mean())
