"""How was this LR image made from this HR image?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from rcan_plugin.degradations.guesses import Guess, Shift, best_guess, predict, squared_error
from rcan_plugin.degradations.residuals import coarse_correlation, detail_correlation, noise_level
from rcan_plugin.resampling.separable import BORDERS, Image, check_image

SCALES = (2, 3, 4, 8)

_SMALL = 16  # LR pixels a side below which there is nothing to find a shift by
# Correlation at a quarter of the size: unrelated photographs mostly stay below 0.7, pairs under DN's noise above 0.9.
# (Far stronger noise on small images of fine texture falls below, and is then called no pair.) Between the first two,
# where mirrored faces come, details decide: theirs reach 0.5, those of other resizers 0.7 or more.
_SURELY_BELONGS, _BELONGS, _DETAIL_BELONGS = 0.98, 0.9, 0.6
_LEAST_NOISE = 1.0  # levels; below, another rounding of the same filter looks like noise
_NO_NOISE = 0.7  # BD with less than this part of BI's squared error is BD, whatever BI's error looks like


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
            f" ({100 * self.differing / self.total:.3g} %, by up to {self.max_difference:g})" if self.differing else ""
        )
        count = f"{self.differing} of {self.total} values differ{origin}{much}"
        return f"x{self.scale} {self.kind}{border}{noise}{shift}: {count}"


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
    unshifted = [_report(hr, lr, scale, Guess("BI", border)) for border in BORDERS]
    if unshifted[0].differing == unshifted[1].differing:
        unshifted = [replace(unshifted[0], border="either")]
    if min(hr.shape[:2]) >= scale:
        unshifted.append(_report(hr, lr, scale, Guess("BD", "replicate")))
    nearest = min(unshifted, key=lambda one: one.differing)
    if nearest.differing == 0:
        return nearest

    guess = Guess(nearest.kind or "BI")
    if min(lr.shape[:2]) >= _SMALL:
        guess = best_guess(hr, lr, scale)
        alternatives = [one for one in unshifted if (one.kind, one.shift) == (guess.kind, guess.shift)]
        alternatives = alternatives or [_report(hr, lr, scale, guess)]
        nearest = min(alternatives, key=lambda one: one.differing)

    predicted, actual = predict(hr, lr, scale, guess)
    alike, reason = coarse_correlation(predicted, actual), ""
    noisy = None if alike < _BELONGS else _under_noise(hr, lr, scale, guess, squared_error(predicted, actual))
    if alike < _BELONGS:
        reason = f"x{scale} by their sizes, but they correlate by only {alike:.2f}"
    elif not noisy and alike < _SURELY_BELONGS and (fine := detail_correlation(predicted, actual)) < _DETAIL_BELONGS:
        reason = f"x{scale} by their sizes, but their details correlate by only {fine:.2f}"
    if reason:
        return Identification(False, scale, reason=reason, differing=lr.size, total=lr.size)
    return noisy or nearest


def _under_noise(hr: Image, lr: Image, scale: int, guess: Guess, error: float) -> Identification | None:
    """The pair as DN, if noise explains what is left after BI, and `guess`, with its `error`, does not."""
    if guess.kind == "decimation":
        return None
    clean = Guess("BI", shift=guess.shift)  # what little of an image the noise leaves may look like BD, but not by much
    predicted, actual = predict(hr, lr, scale, clean)
    if error < _NO_NOISE * squared_error(predicted, actual):
        return None
    noise = noise_level(predicted, actual)
    if noise is None or noise < _LEAST_NOISE:
        return None
    return replace(_report(hr, lr, scale, clean), kind="DN", border=None, noise=noise)


def _report(hr: Image, lr: Image, scale: int, guess: Guess) -> Identification:
    predicted, actual = predict(hr, lr, scale, guess)
    if actual.dtype == np.uint8:
        difference = cv2.absdiff(predicted.reshape(len(actual), -1), actual.reshape(len(actual), -1))
    else:
        difference = np.abs(predicted.astype(np.float64) - actual)
    # Floats were 8-bit values once, as a rule, and come back with the errors of single precision.
    differing = int(np.count_nonzero(difference > (1e-5 if actual.dtype.kind == "f" else 0)))
    return Identification(
        True, scale, guess.kind, guess.border, None, differing, difference.size, float(difference.max()), guess.shift
    )
