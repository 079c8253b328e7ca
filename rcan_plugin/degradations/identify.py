"""How was this LR image made from this HR image?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .degrade import Region, degrade
from .residuals import Levels, as_levels, correlation, noise_level
from .resize import imresize
from .separable import BORDERS, Image, check_image

SCALES = (2, 3, 4, 8)

_WINDOW = 96  # LR pixels a side of the square in which shifts are tried
_MARGIN = 6  # LR pixels at each border that a shifted image need not share: what half of BD's 12 taps reach at x2
_GAIN = 0.02  # by how much a shift must lessen the squared error at least, to be believed
_BELONGS = 0.9  # correlation: unrelated photographs mostly stay below 0.7, noise of 50 mostly leaves 0.95
_NO_NOISE = 0.7  # BD with less than this part of BI's squared error is BD, whatever BI's error looks like
_LEAST_NOISE = 1.0  # levels; below, another rounding of the same filter looks like noise

Shift = tuple[float, float]


@dataclass(frozen=True)
class Identification:
    """What `identify` found out about a pair. Its `str` is one line.

    Attributes:
        belongs: whether the LR image shows the HR image at all. If not, `reason` says why.
        scale: 2, 3, 4 or 8; None where the sizes fit none.
        kind: the nearest of `BI`, `BD`, `DN` and `decimation` (every scale-th pixel, no filter); None of no pair.
        border: of BI and BD: `replicate` or `symmetric`, or `either` where both differ in as many values; None where
            it cannot be told: of DN, of a shifted pair, of a decimation.
        noise: of DN: estimated standard deviation of the noise, on the scale of 0 to 255; else None.
        differing: how many of the `total` values compared differ from `kind`; of DN, from BI.
        total: values compared: all of the LR image, or where it is shifted the part that it shares, less a margin.
        max_difference: the largest difference, in units of the images.
        shift: (down, right): how many HR pixels beside its place the LR image samples the HR image. (0, 0) is right.
        reason: why the pair does not belong together, else empty.
    """

    belongs: bool
    scale: int | None = None
    kind: str | None = None
    border: str | None = None
    noise: float | None = None
    differing: int = 0
    total: int = 0
    max_difference: float = 0.0
    shift: Shift = (0, 0)
    reason: str = ""

    @property
    def exact(self) -> bool:
        """Whether the LR image is what `kind` gives, value for value and in its place."""
        return self.belongs and self.differing == 0 and self.shift == (0, 0)

    def __str__(self) -> str:
        if not self.belongs:
            return f"not a pair: {self.reason}"
        border = {None: "", "either": ", either border"}.get(self.border, f", {self.border} border")
        noise = "" if self.noise is None else f", noise {self.noise:.1f}"
        shift = "" if self.shift == (0, 0) else ", shifted by ({:g}, {:g}) HR pixels (down, right)".format(*self.shift)
        origin = " from BI" if self.kind == "DN" else ""
        much = (
            f" ({100 * self.differing / self.total:.2g} %, by up to {self.max_difference:g})" if self.differing else ""
        )
        count = f"{self.differing} of {self.total} values differ{origin}{much}"
        return f"x{self.scale} {self.kind}{border}{noise}{shift}: {count}"


@dataclass(frozen=True)
class _Guess:
    """A way the LR image may have been made."""

    kind: str
    border: str | None = None
    shift: Shift = (0, 0)


def identify(hr: Image, lr: Image) -> Identification:
    """Say how `lr` was made from `hr`.

    Tried are BI with both borders, BD with the official parameters, BI under white Gaussian noise (DN), decimation,
    and BI and BD shifted by whole HR pixels. The nearest is named, with the number of values that differ from it: what
    another resizer made is "BI" with many values differing.

    Args:
        hr, lr: HxW or HxWxC, of one type: uint8, uint16, float32 or float64 (floats in 0 to 1). One may be gray and
            the other not. The sides of `lr` are those of `hr` over 2, 3, 4 or 8, rounded down or up.

    Returns:
        An `Identification`. Where the sizes fit no scale, or the images show different things, `belongs` is False.

    Raises:
        TypeError: no arrays of a supported type, or of two types.
        ValueError: bad shapes, or numbers of channels that differ while none is 1.
    """
    check_image(hr, "hr")
    check_image(lr, "lr")
    if hr.dtype != lr.dtype:
        raise TypeError(f"hr is {hr.dtype} and lr {lr.dtype}; expected one type: convert one of them")
    hr, lr = _with_same_channels(hr, lr)
    scales = [
        scale
        for scale in SCALES
        if all(b in (a // scale, -(-a // scale)) for a, b in zip(hr.shape[:2], lr.shape[:2], strict=True))
    ]
    if not scales:
        sizes = f"{lr.shape[0]}x{lr.shape[1]} is not {hr.shape[0]}x{hr.shape[1]} over 2, 3, 4 or 8"
        return Identification(False, reason=sizes)
    # More than one fits only where the sides are a few pixels.
    found = [_identify(hr, lr, scale) for scale in scales]
    return min(found, key=lambda one: (not one.belongs, one.differing))


def _with_same_channels(hr: Image, lr: Image) -> tuple[Image, Image]:
    """Both as HxWxC; a gray image is repeated for each channel of the other, as the official script does."""
    hr, lr = (image[..., None] if image.ndim == 2 else image for image in (hr, lr))
    if hr.shape[2] != lr.shape[2] and 1 not in (hr.shape[2], lr.shape[2]):
        raise ValueError(f"hr has {hr.shape[2]} channels and lr {lr.shape[2]}; expected as many, or one gray image")
    channels = max(hr.shape[2], lr.shape[2])
    hr, lr = (image if image.shape[2] == channels else image.repeat(channels, 2) for image in (hr, lr))
    return hr, lr


def _identify(hr: Image, lr: Image, scale: int) -> Identification:
    # What the LR image cannot show is not to change its border: as if cropped to a multiple, if it was.
    hr = hr[: lr.shape[0] * scale, : lr.shape[1] * scale]
    unshifted = [_report(hr, lr, scale, _Guess("BI", border)) for border in BORDERS]
    if unshifted[0].differing == unshifted[1].differing:
        unshifted = [replace(unshifted[0], border="either")]
    unshifted.append(_report(hr, lr, scale, _Guess("BD", "replicate")))
    nearest = min(unshifted, key=lambda one: one.differing)
    if nearest.differing == 0:
        return nearest

    guess = _best_in_a_window(hr, lr, scale)
    if guess.kind == "BI" and guess.shift == (0, 0):
        nearest = min(unshifted[:-1], key=lambda one: one.differing)
    elif guess.kind == "BD" and guess.shift == (0, 0):
        nearest = unshifted[-1]
    else:
        nearest = _report(hr, lr, scale, guess)
    alike = correlation(*_predict(hr, lr, scale, guess))
    if alike < _BELONGS:
        reason = f"x{scale} by their sizes, but they correlate by only {alike:.2f}"
        return Identification(False, scale, reason=reason, differing=lr.size, total=lr.size)
    # What little of the image noise leaves may look more like BD, but not by much.
    clean = _Guess("BI", shift=guess.shift)
    predicted, actual = _predict(hr, lr, scale, clean)
    explained = _squared_error(*_predict(hr, lr, scale, guess)) < _NO_NOISE * _squared_error(predicted, actual)
    if not explained and (noise := noise_level(predicted, actual) or 0) >= _LEAST_NOISE:
        return replace(_report(hr, lr, scale, clean), kind="DN", border=None, noise=noise)
    return nearest


def _report(hr: Image, lr: Image, scale: int, guess: _Guess) -> Identification:
    predicted, actual = _predict(hr, lr, scale, guess)
    if actual.dtype == np.uint8:
        difference = cv2.absdiff(predicted.reshape(len(actual), -1), actual.reshape(len(actual), -1))
    else:
        difference = np.abs(predicted.astype(np.float64) - actual)
    # Floats were 8-bit values once, as a rule, and come back with the errors of single precision.
    differing = int(np.count_nonzero(difference > (1e-5 if actual.dtype.kind == "f" else 0)))
    return Identification(
        True, scale, guess.kind, guess.border, None, differing, difference.size, float(difference.max()), guess.shift
    )


def _predict(hr: Image, lr: Image, scale: int, guess: _Guess) -> tuple[Image, Image]:
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
    hr: Image, lr: Image, scale: int, guess: _Guess, window: Region | None = None
) -> tuple[Image, Image]:
    """`_predict` for what is shifted by whole HR pixels: LR pixel i shows what pixel i + shift / scale should.

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


def _best_in_a_window(hr: Image, lr: Image, scale: int) -> _Guess:
    """The nearest of BI, BD and their shifts, and of decimation, in a part of the image that shows something."""
    predicted, actual = _predict(hr, lr, scale, _Guess("BI"))
    window = _busy_window(predicted)
    top, left, height, width = window
    here = lr[top : top + height, left : left + width]

    shifts = {(0, 0), *_likely_shifts(predicted, actual, scale, window)}
    errors = {
        guess: _squared_error(*_predict_shifted(hr, lr, scale, guess, window))
        for guess in (_Guess(kind, shift=shift) for kind in ("BI", "BD") for shift in shifts)
    }
    for phase in itertools.product(range(scale), repeat=2):
        sampled = hr[phase[0] :: scale, phase[1] :: scale][top : top + height, left : left + width]
        middle = (scale - 1) / 2
        errors[_Guess("decimation", shift=(phase[0] - middle, phase[1] - middle))] = _squared_error(sampled, here)

    papers = min((_Guess("BI", shift=(0, 0)), _Guess("BD", shift=(0, 0))), key=errors.__getitem__)
    best = min(errors, key=errors.__getitem__)
    # Under noise the error of n values varies by a part of sqrt(2 / n), by chance alone.
    gain = min(0.5, max(_GAIN, 6 * (2 / here.size) ** 0.5))
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
    misfit = cv2.matchTemplate(whole, part[top : top + height, left : left + width], cv2.TM_SQDIFF)
    y, x = np.unravel_index(np.argmin(misfit), misfit.shape)
    around = max(2, 3 * scale // 8)  # a parabola through an aliased match is good to a third of an LR pixel
    axes = []
    for line, best, here, side in ((misfit[:, x], y, top, whole.shape[0]), (misfit[y], x, left, whole.shape[1])):
        centre = round((_lowest(line, int(best)) - here) * scale)
        most = max(0, side // 4 - 1) * scale
        axes.append([n for n in range(centre - around, centre + around + 1) if abs(n) <= most])
    return list(itertools.product(axes[0], axes[1]))


def _lowest(values: Levels, at: int) -> float:
    """Where the parabola through the least of `values`, at `at`, and its neighbours is lowest."""
    if not 0 < at < len(values) - 1:
        return at
    before, here, after = values[at - 1 : at + 2].astype(np.float64)
    bend = before - 2 * here + after
    return at + (before - after) / (2 * bend) if bend > 0 else at


def _squared_error(predicted: Image, actual: Image) -> float:
    return float(np.square(as_levels(predicted) - as_levels(actual)).mean())
