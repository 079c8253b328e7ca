"""Identifies the degradation that produced an LR image from its HR image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from rcan_plugin.degradations.degrade import OFFICIAL_NOISE
from rcan_plugin.degradations.guesses import Guess, Shift, best_guess, predict, squared_error
from rcan_plugin.degradations.residuals import coarse_correlation, detail_correlation, noise_level
from rcan_plugin.degradations.ties import only_ties_differ
from rcan_plugin.resampling.separable import BORDERS, Image, check_image

SCALES = (2, 3, 4, 8)

_MIN_SIDE_FOR_SHIFTS = 16  # LR pixels; smaller images have too little detail to find a shift by
# Correlations at a quarter of the size. Unrelated photographs mostly reach less than 0.7, pairs with DN's noise more
# than 0.9. (Pairs with far stronger noise on small images of fine texture are below, and are reported as "not a pair".)
# Between _BELONGS and _SURELY_BELONGS, where mirrored faces occur too, the correlation of details decides: at most 0.5
# for mirrored faces, 0.7 or more for other resizers.
_SURELY_BELONGS, _BELONGS, _DETAIL_BELONGS = 0.98, 0.9, 0.6
_MIN_NOISE = 1.0  # gray levels of 255; less may come from the same filter with another rounding
_MAX_BD_ERROR = 0.7  # BD with less than this part of BI's squared error is BD, even if BI's error looks like noise


@dataclass(frozen=True)
class Identification:
    """Result of `identify` for a pair. Its `str` is one line.

    Attributes:
        belongs: whether the LR image shows the HR image at all. If not, `reason` says why.
        scale: 2, 3, 4 or 8; None if the sizes fit none of them.
        kind: the nearest of `BI`, `BD`, `DN` and `decimation` (every scale-th pixel, no filter); None if not a pair.
        border: for BI and BD: `replicate` or `symmetric`, or `either` if both differ in the same number of values; None
            if it cannot be determined: DN, a shifted pair, decimation.
        noise: for DN: estimated standard deviation of the noise, on the scale of 0 to 255; otherwise None.
        differing: number of values, out of `total`, that differ from what `kind` gives (for DN, from BI).
        total: number of values compared: the whole LR image or, if it is shifted, the shared part without a margin.
        max_difference: the largest difference, in units of the images.
        shift: (down, right) displacement of the LR image's sampling grid, in HR pixels. (0, 0) is correct.
        reason: why the pair does not belong together; empty if it does.
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
        """Whether the LR image is what `kind` gives, value for value and without a shift."""
        return self.belongs and self.differing == 0 and self.shift == (0, 0)

    @property
    def matches_up_to_ties(self) -> bool:
        """Whether so few values differ from what `kind` gives that they can be ties rounded the other way."""
        return only_ties_differ(self.differing, self.total)

    @property
    def of_papers(self) -> bool:
        """Whether the LR image is as in papers: BI or BD except for ties, or DN with their noise, within 10 %."""
        if self.kind == "DN":
            return abs((self.noise or 0.0) - OFFICIAL_NOISE) <= 0.1 * OFFICIAL_NOISE
        return self.kind in ("BI", "BD") and self.shift == (0, 0) and self.matches_up_to_ties

    def __str__(self) -> str:
        if not self.belongs:
            return f"not a pair: {self.reason}"
        border = {None: "", "either": ", either border"}.get(self.border, f", {self.border} border")
        noise = "" if self.noise is None else f", noise {self.noise:.1f}"
        shift = "" if self.shift == (0, 0) else ", shifted by ({:g}, {:g}) HR pixels (down, right)".format(*self.shift)
        origin = " from BI" if self.kind == "DN" else ""
        extent = ""
        if self.differing:
            extent = f" ({100 * self.differing / self.total:.3g} %, by up to {self.max_difference:g})"
        count = f"{self.differing} of {self.total} values differ{origin}{extent}"
        return f"x{self.scale} {self.kind}{border}{noise}{shift}: {count}"


def identify(hr: Image, lr: Image) -> Identification:
    """Identify the degradation that made `lr` from `hr`.

    Tries BI with both borders, BD with the official parameters, BI with white Gaussian noise (DN), decimation, and BI
    and BD shifted by whole HR pixels. Reports the nearest and the number of values that differ from it: the result of
    another resizer is reported as "BI" with many differing values.

    Args:
        hr, lr: H x W or H x W x C, of the same type: uint8, uint16, float32 or float64 (floats in 0 to 1). One of them
            may be gray. The sides of `lr` are those of `hr` divided by 2, 3, 4 or 8, rounded down or up.

    Returns:
        An `Identification`. If the sizes fit no scale or the images show different things, `belongs` is False.

    Raises:
        TypeError: not arrays of a supported type, or of different types.
        ValueError: bad shapes, or different numbers of channels of which none is 1.
    """
    check_image(hr, "hr")
    check_image(lr, "lr")
    if hr.dtype != lr.dtype:
        raise TypeError(f"hr is {hr.dtype} and lr {lr.dtype}; expected one type: convert one of them")
    hr, lr = with_same_channels(hr, lr)
    scales = [
        scale
        for scale in SCALES
        if all(b in (a // scale, -(-a // scale)) for a, b in zip(hr.shape[:2], lr.shape[:2], strict=True))
    ]
    if not scales:
        sizes = f"{lr.shape[0]}x{lr.shape[1]} is not {hr.shape[0]}x{hr.shape[1]} over 2, 3, 4 or 8"
        return Identification(False, reason=sizes)
    # More than one scale fits only if the sides are a few pixels.
    candidates = [_identify_at_scale(hr, lr, scale) for scale in scales]
    return min(candidates, key=lambda candidate: (not candidate.belongs, candidate.differing))


def with_same_channels(hr: Image, lr: Image) -> tuple[Image, Image]:
    """Return both as H x W x C; a gray image is repeated for each channel of the other, as in the official script."""
    hr, lr = (image[..., None] if image.ndim == 2 else image for image in (hr, lr))
    if hr.shape[2] != lr.shape[2] and 1 not in (hr.shape[2], lr.shape[2]):
        raise ValueError(
            f"hr has {hr.shape[2]} channels and lr {lr.shape[2]}; expected equal numbers, or one gray image"
        )
    channels = max(hr.shape[2], lr.shape[2])
    hr, lr = (image if image.shape[2] == channels else image.repeat(channels, 2) for image in (hr, lr))
    return hr, lr


def _identify_at_scale(hr: Image, lr: Image, scale: int) -> Identification:
    # HR pixels past the last LR pixel must not influence the border: HR was cropped before if LR was rounded down.
    hr = hr[: lr.shape[0] * scale, : lr.shape[1] * scale]
    unshifted = [_report(hr, lr, scale, Guess("BI", border)) for border in BORDERS]
    if unshifted[0].differing == unshifted[1].differing:
        unshifted = [replace(unshifted[0], border="either")]
    if min(hr.shape[:2]) >= scale:
        unshifted.append(_report(hr, lr, scale, Guess("BD", "replicate")))
    nearest = min(unshifted, key=lambda candidate: candidate.differing)
    if nearest.differing == 0:
        return nearest

    guess = Guess(nearest.kind or "BI")
    if min(lr.shape[:2]) >= _MIN_SIDE_FOR_SHIFTS:
        guess = best_guess(hr, lr, scale)
        candidates = [report for report in unshifted if (report.kind, report.shift) == (guess.kind, guess.shift)]
        candidates = candidates or [_report(hr, lr, scale, guess)]
        nearest = min(candidates, key=lambda candidate: candidate.differing)

    predicted, actual = predict(hr, lr, scale, guess)
    coarse, reason = coarse_correlation(predicted, actual), ""
    as_dn = None if coarse < _BELONGS else _as_dn(hr, lr, scale, guess, squared_error(predicted, actual))
    if coarse < _BELONGS:
        reason = f"x{scale} by their sizes, but they correlate by only {coarse:.2f}"
    elif not as_dn and coarse < _SURELY_BELONGS and (fine := detail_correlation(predicted, actual)) < _DETAIL_BELONGS:
        reason = f"x{scale} by their sizes, but their details correlate by only {fine:.2f}"
    if reason:
        return Identification(False, scale, reason=reason, differing=lr.size, total=lr.size)
    return as_dn or nearest


def _as_dn(hr: Image, lr: Image, scale: int, guess: Guess, error: float) -> Identification | None:
    """Report the pair as DN if its difference from BI is noise and `guess`, with its squared `error`, is not clearly
    nearer; otherwise return None."""
    if guess.kind == "decimation":
        return None
    clean = Guess("BI", shift=guess.shift)  # under strong noise BD may come slightly nearer than BI, by chance
    predicted, actual = predict(hr, lr, scale, clean)
    if error < _MAX_BD_ERROR * squared_error(predicted, actual):
        return None
    noise = noise_level(predicted, actual)
    if noise is None or noise < _MIN_NOISE:
        return None
    return replace(_report(hr, lr, scale, clean), kind="DN", border=None, noise=noise)


def _report(hr: Image, lr: Image, scale: int, guess: Guess) -> Identification:
    predicted, actual = predict(hr, lr, scale, guess)
    difference = _difference(predicted, actual)
    return Identification(
        True,
        scale,
        guess.kind,
        guess.border,
        None,
        _count(difference),
        difference.size,
        float(difference.max()),
        guess.shift,
    )


def share_of_differing(predicted: Image, actual: Image) -> float:
    """Return the share of the values that differ, 0 to 1, of two images of one shape and type."""
    difference = _difference(predicted, actual)
    return _count(difference) / difference.size


def _difference(predicted: Image, actual: Image) -> Image:
    if actual.dtype == np.uint8:
        difference: Image = cv2.absdiff(predicted.reshape(len(actual), -1), actual.reshape(len(actual), -1))
        return difference
    return np.abs(predicted.astype(np.float64) - actual)


def _count(difference: Image) -> int:
    # Floats usually come from 8-bit values and carry errors of single precision.
    return int(np.count_nonzero(difference > (0 if difference.dtype == np.uint8 else 1e-5)))
