"""Finds the resizer, or the JPEG quality, that made an LR image if no degradation of the papers did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np

from rcan_plugin.degradations.degrade import degrade
from rcan_plugin.degradations.guesses import window_with_most_detail
from rcan_plugin.degradations.identify import Identification, share_of_differing, with_same_channels
from rcan_plugin.resampling.banded_matmul import apply_taps
from rcan_plugin.resampling.bicubic import bicubic_taps, imresize
from rcan_plugin.resampling.separable import Image, Taps

_LIKE = 0.1  # largest share of differing values; resizers by one name differ a little between versions
_JPEG_BLOCK = 16  # pixels: the grid of JPEG where colours have half the resolution
# `cv2.IMWRITE_JPEG_SAMPLING_FACTOR` and its values for 4:2:0, the usual one, 4:2:2 and 4:4:4: older versions of OpenCV
# lack the names.
_JPEG_SAMPLING_FACTOR = 7
_JPEG_SAMPLINGS = {"": 0x221111, ", 4:2:2": 0x211111, ", 4:4:4": 0x111111}

_OPENCV = {
    "OpenCV nearest": cv2.INTER_NEAREST,
    "OpenCV bilinear": cv2.INTER_LINEAR,
    "OpenCV bicubic (no antialiasing)": cv2.INTER_CUBIC,
    "OpenCV area": cv2.INTER_AREA,
    "OpenCV Lanczos": cv2.INTER_LANCZOS4,
}


class Resemblance(NamedTuple):
    """The resizer whose result is nearest to an LR image.

    Attributes:
        name: name of the resizer, or of several with the same result.
        share: share of the values that differ, 0 to 1.
    """

    name: str
    share: float

    @property
    def close(self) -> bool:
        """Whether so few values differ that the LR image was probably made like this."""
        return self.share <= _LIKE

    def __str__(self) -> str:
        likeness = "looks like" if self.close else "like no resizer known here, nearest"
        return f"{likeness} {self.name} ({100 * self.share:.2g} % differ)"


def resemblance(hr: Image, lr: Image, identification: Identification) -> Resemblance | None:
    """Find the resizer that made an LR image, if no degradation of the papers did.

    Args:
        hr, lr: as in `identify`; colours in OpenCV's order B, G, R.
        identification: result of `identify` for the pair.

    Returns:
        The nearest of the resizers of OpenCV, Pillow, torch and BasicSR, and of their results as JPEG; None if the pair
        is BI or BD, shifted or not, or DN, or does not belong together.
    """
    scale = identification.scale
    exact = identification.kind in ("BI", "BD") and identification.matches_up_to_ties
    if not identification.belongs or scale is None or exact or identification.of_papers:
        return None
    nearest = _nearest(hr, lr, scale)
    # In an image of noise, the difference of two resizers looks like noise too.
    return nearest if nearest.close or identification.kind != "DN" else None


def _nearest(hr: Image, lr: Image, scale: int) -> Resemblance:
    hr, lr = with_same_channels(hr, lr)
    results = _distinct(_results(hr, lr.shape[:2], scale))
    name, nearest = min(results.items(), key=lambda item: _squared_error(item[1], lr))
    best = Resemblance(name, share_of_differing(nearest, lr))
    if best.close or lr.dtype != np.uint8 or lr.shape[2] not in (1, 3):
        return best
    return min(best, _nearest_jpeg(results, lr), key=lambda candidate: candidate.share)


def _distinct(results: Iterable[tuple[str, Image]]) -> dict[str, Image]:
    """The results by name; equal results are one entry with all their names."""
    names: dict[bytes, list[str]] = {}
    images = {}
    for name, result in results:
        content = result.tobytes()
        names.setdefault(content, []).append(name)
        images[content] = result
    return {" or ".join(names[content]): image for content, image in images.items()}


def _results(hr: Image, size: tuple[int, int], scale: int) -> Iterator[tuple[str, Image]]:
    """Results of all resizers, H x W x C of `size`, with their names."""
    height, width = size
    cropped = hr[: height * scale, : width * scale]
    if cropped.shape[:2] == (height * scale, width * scale):
        yield "MATLAB's bicubic (BI)", imresize(cropped, 1 / scale)
        yield "BD", degrade(cropped, scale, "BD")
        taps = [bicubic_taps(side, 1 / scale) for side in cropped.shape[:2]]
        yield "BasicSR's imresize", apply_taps(cropped, taps[0], taps[1], "symmetric", round_between=False)
    yield from _by_size(cropped, size)
    if cropped.shape != hr.shape:
        for name, result in _by_size(hr, size):
            yield f"{name} of the HR image before it was cropped to a multiple of {scale}", result


def _by_size(hr: Image, size: tuple[int, int]) -> Iterator[tuple[str, Image]]:
    height, width = size
    for name, interpolation in _OPENCV.items():
        yield name, cv2.resize(hr, (width, height), interpolation=interpolation).reshape(height, width, -1)
    yield "torch's bicubic with antialias=True", antialiased_bicubic(hr, size)
    if hr.dtype != np.uint8 or hr.shape[2] not in (1, 3):
        return
    from PIL import Image as Pillow  # on first use

    # torch's and torchvision's antialias=True give the same on uint8 tensors.
    image = Pillow.fromarray(hr if hr.shape[2] == 3 else hr[..., 0])
    for resampling in Pillow.Resampling:
        name = f"Pillow {resampling.name.lower()}"
        yield name, np.asarray(image.resize((width, height), resampling)).reshape(height, width, -1)


def antialiased_bicubic(hr: Image, size: tuple[int, int]) -> Image:
    """Resize like torch's `interpolate(mode="bicubic", antialias=True)` on floats, rounded at the end.

    This is MATLAB's bicubic without rounding between the passes. Taps past the border are dropped, and the other
    weights are scaled to sum to 1.

    Args:
        hr: H x W x C.
        size: height and width of the result, at most those of `hr`.
    """
    rows, cols = (_within(bicubic_taps(side, new / side), side) for side, new in zip(hr.shape, size, strict=False))
    return apply_taps(hr, rows, cols, "replicate", round_between=False)


def _within(taps: Taps, side: int) -> Taps:
    positions = taps.first[:, None] + np.arange(taps.weights.shape[1])
    weights = np.where((positions >= 0) & (positions < side), taps.weights, 0)
    return Taps(taps.first, weights / weights.sum(axis=1, keepdims=True))


def _nearest_jpeg(results: Mapping[str, Image], lr: Image) -> Resemblance:
    """The resizer, quality and sampling whose JPEG is nearest in the luma of the window with the most detail."""
    top, left, height, width = window_with_most_detail(lr)
    top, left = (start // _JPEG_BLOCK * _JPEG_BLOCK for start in (top, left))
    window = np.s_[top : top + height, left : left + width]
    target = _luma(lr[window])
    errors = {
        (name, quality): _squared_error(_jpeg(part, quality), target)
        for name, part in {name: _luma(result[window]) for name, result in results.items()}.items()
        for quality in range(1, 101)
    }
    name, quality = min(errors, key=errors.__getitem__)
    return min(
        (
            Resemblance(
                f"JPEG of quality {quality}{sampling}, of {name}",
                share_of_differing(_jpeg(results[name], quality, factor), lr),
            )
            for sampling, factor in _JPEG_SAMPLINGS.items()
        ),
        key=lambda candidate: candidate.share,
    )


def _luma(image: Image) -> Image:
    """Y as JPEG has it, H x W x 1, of an H x W x C image of B, G, R or gray."""
    image = np.ascontiguousarray(image)
    return image if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)[..., :1]


def _squared_error(predicted: Image, actual: Image) -> float:
    """The sum of squared errors over all channels."""
    return cv2.norm(predicted.reshape(len(actual), -1), actual.reshape(len(actual), -1), cv2.NORM_L2SQR)


def _jpeg(image: Image, quality: int, sampling_factor: int = _JPEG_SAMPLINGS[""]) -> Image:
    """Encode an image as JPEG and decode it."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, _JPEG_SAMPLING_FACTOR, sampling_factor]
    decoded: Any = cv2.imdecode(cv2.imencode(".jpg", image, settings)[1], cv2.IMREAD_UNCHANGED)
    return np.asarray(decoded).reshape(image.shape)
