"""The rule by which a few differing values are ties."""

import numpy as np
import pytest

from rcan_plugin.degradations import Identification, matches_up_to_ties
from tests.degradations.images import noise


@pytest.mark.parametrize(("differing", "matches"), [(0, True), (6, True), (7, False)])
def test_one_value_in_a_thousand_may_differ(differing, matches):
    image = noise((40, 50, 3))  # 6000 values
    other = image.copy()
    other.reshape(-1)[100 : 100 + differing] ^= 1
    assert matches_up_to_ties(image, other) is matches
    report = Identification(True, 2, "BI", "replicate", differing=differing, total=6000)
    assert report.matches_up_to_ties is matches


def test_a_gray_image_is_compared_with_every_channel():
    gray = noise((40, 50))
    assert matches_up_to_ties(gray, gray[..., None].repeat(3, 2))
    assert not matches_up_to_ties(noise((40, 50, 3)), gray)


def test_images_of_other_sizes_do_not_match():
    assert not matches_up_to_ties(np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 3), np.uint8))
