"""The rule for ties: how many values may differ in an LR image that counts as made by a degradation."""

from __future__ import annotations

import numpy as np

from rcan_plugin.resampling.separable import Image

SHARE_OF_TIES = 1e-3
"""Largest share of differing values. Where the exact result is a tie (.5), other programs may round the other way."""


def only_ties_differ(differing: int, total: int) -> bool:
    """Whether `differing` of `total` values are few enough to be ties that were rounded the other way.

    >>> only_ties_differ(30, 30_000), only_ties_differ(31, 30_000)
    (True, False)
    """
    return differing <= SHARE_OF_TIES * total


def matches_up_to_ties(predicted: Image, actual: Image) -> bool:
    """Whether two images have the same values except for a few ties.

    Args:
        predicted, actual: H x W or H x W x C, of one type. One may be gray: it is compared with each channel.
            Images of different height or width do not match.
    """
    if predicted.shape[:2] != actual.shape[:2]:
        return False
    differs = np.atleast_3d(predicted) != np.atleast_3d(actual)
    return only_ties_differ(int(np.count_nonzero(differs)), differs.size)
