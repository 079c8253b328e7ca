"""Differences of paired errors: published values, coverage, and the limits."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from rcan_plugin.recognition.paired import compare, wilson


def of_counts(both: int, only_first: int, only_second: int, neither: int):
    counts = (both, only_first, only_second, neither)
    first = np.repeat([True, True, False, False], counts)
    return compare(first, np.repeat([True, False, True, False], counts))


def test_an_example_of_newcombes_paper():
    found = of_counts(36, 12, 2, 0)
    assert (found.value, found.only_first, found.only_second) == (pytest.approx(0.2), 12, 2)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0569, 0.3404)
    assert found.p == pytest.approx(2 * (1 + 14 + 91) / 2**14)  # of 14 unequal images at most two of one kind


def test_the_opposite_difference_is_the_mirror_image():
    found, other = of_counts(5, 9, 3, 40), of_counts(5, 3, 9, 40)
    assert (found.value, found.low, found.high, found.p) == pytest.approx(
        (-other.value, -other.high, -other.low, other.p)
    )


def test_many_images_agree_with_the_bootstrap():
    rng = np.random.default_rng(0)
    first = rng.random(4000) < 0.3
    second = first ^ (rng.random(4000) < 0.1)
    found = compare(first, second)
    bounds = bootstrap((first.astype(float) - second,), np.mean, method="percentile", n_resamples=2000, rng=rng)
    assert (found.low, found.high) == pytest.approx(tuple(bounds.confidence_interval), abs=0.001)


def test_the_interval_holds_the_true_difference_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    rates = (0.3, 0.1, 0.05, 0.55)
    found = [of_counts(*rng.multinomial(200, rates)) for _ in range(400)]
    assert 0.925 <= np.mean([one.low <= rates[1] - rates[2] <= one.high for one in found]) <= 0.975


def test_equal_results_are_no_proof_of_equality():
    found = of_counts(4, 0, 0, 6)
    assert found.value == 0 and found.p == 1 and -0.3 < found.low < -0.05 and found.high == -found.low
    assert of_counts(1, 0, 0, 0).low == pytest.approx(-of_counts(1, 0, 0, 0).high)
    assert of_counts(0, 1, 0, 0).high == 1


@pytest.mark.parametrize(("wrong", "count"), [(0, 10), (3, 10), (10, 10), (260, 1000)])
def test_wilsons_interval_is_scipys(wrong, count):
    expected = binomtest(wrong, count).proportion_ci(method="wilson")
    assert wilson(wrong / count, count) == pytest.approx((expected.low, expected.high), abs=1e-9)
