"""Compares two classifications of the same images: the difference of their errors, its interval, and a test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_Z = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Difference:
    """Error of one classification minus that of another.

    Attributes:
        value: from -1 to 1.
        low, high: ends of the 95 % confidence interval.
        p: p-value of McNemar's exact test: probability of results at least as unequal if both have the same error.
        only_first, only_second: number of images that only the first, or only the second, gets wrong.
    """

    value: float
    low: float
    high: float
    p: float
    only_first: int
    only_second: int


def compare(first: np.ndarray, second: np.ndarray) -> Difference:
    """Compare which images two classifications get wrong.

    The interval is Newcombe's, from Wilson's score intervals and the correlation of the two: R. G. Newcombe, "Improved
    confidence intervals for the difference between binomial proportions based on paired data", Statistics in Medicine
    17 (1998), method 10. It is exact enough for few images and for errors near 0 and 1, and needs no random numbers.
    The test: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947), by the binomial distribution.

    Args:
        first, second: N booleans, at least one: whether each image is classified wrongly.
    """
    count = len(first)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    errors = [(both + only_first) / count, (both + only_second) / count]
    value = (only_first - only_second) / count
    (low1, high1), (low2, high2) = (wilson(error, count) for error in errors)
    phi = _correlation(both, only_first, only_second, neither)
    below = _combined(errors[0] - low1, high2 - errors[1], phi)
    above = _combined(high1 - errors[0], errors[1] - low2, phi)
    return Difference(
        value,
        max(-1.0, value - below),
        min(1.0, value + above),
        _mcnemar(only_first, only_second),
        only_first,
        only_second,
    )


def wilson(rate: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a rate among `count`.

    >>> tuple(round(bound, 4) for bound in wilson(0.0, 10))
    (0.0, 0.2775)
    """
    center = rate + _Z**2 / (2 * count)
    half = _Z * math.sqrt(rate * (1 - rate) / count + (_Z / (2 * count)) ** 2)
    whole = 1 + _Z**2 / count
    return max(0.0, (center - half) / whole), min(1.0, (center + half) / whole)


def _combined(first: float, second: float, phi: float) -> float:
    return math.sqrt(max(0.0, first**2 - 2 * phi * first * second + second**2))


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Correlation of two binary variables; a positive one is corrected for continuity, as in Newcombe's method 10."""
    product = (
        (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    )  # of whole numbers, which do not overflow
    if not product:
        return 0.0
    excess: float = both * neither - only_first * only_second
    if excess > 0:
        excess = max(0.0, excess - (both + only_first + only_second + neither) / 2)
    return excess / math.sqrt(product)


def _mcnemar(only_first: int, only_second: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(only_first, only_first + only_second).pvalue) if only_first + only_second else 1.0
