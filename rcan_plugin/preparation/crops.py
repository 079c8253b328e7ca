"""Restores HR images from their crops to multiples of several scales, as SelfExSR and RCAN distribute test sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

_SCALES = (2, 3, 4, 8)


def unite(crops: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return the union of `crops`, each the same image cut at the bottom and the right to a multiple of its scale.

    Cropped to a multiple of a scale in `exact_scales(crops)`, the union equals the image cropped to it: a crop for t
    reaches at least as far as one for a multiple of t, and no crop reaches beyond the image. If the highest and the
    widest crop differ, no crop contains the corner of the union: there the border of the largest crop is repeated. The
    corner is not used at these scales.

    Args:
        crops: H x W [x C] arrays by scale.

    Returns:
        An array as high as the highest crop and as wide as the widest.

    Raises:
        ValueError: they are not crops of one image.
    """
    height, width = (max(crop.shape[axis] for crop in crops.values()) for axis in (0, 1))
    largest = max(crops.values(), key=lambda crop: crop.size)
    padding = [(0, height - largest.shape[0]), (0, width - largest.shape[1])] + [(0, 0)] * (largest.ndim - 2)
    united = np.pad(largest, padding, mode="edge")
    for scale, crop in crops.items():
        if crop.shape != (height // scale * scale, width // scale * scale, *united.shape[2:]):
            sizes = ", ".join(f"x{scale} {crop.shape[1]}x{crop.shape[0]}" for scale, crop in crops.items())
            raise ValueError(f"not crops of one image, by their sizes or channels ({sizes}): fetch them again")
        united[: crop.shape[0], : crop.shape[1]] = crop
    for scale, crop in crops.items():
        if not np.array_equal(united[: crop.shape[0], : crop.shape[1]], crop):
            raise ValueError(f"not crops of one image: that of x{scale} has other values: fetch them again")
    return united


def exact_scales(scales: Iterable[int]) -> list[int]:
    """Return the scales at which the union of crops for `scales` is exact: those and their multiples, up to 8.

    >>> exact_scales([4]), exact_scales([2, 3])
    ([4, 8], [2, 3, 4, 8])
    """
    scales = list(scales)
    return [scale for scale in _SCALES if any(scale % cropped == 0 for cropped in scales)]
