"""Sub-images are where BasicSR's are."""

import numpy as np
import pytest

from rcan_plugin.preparation.items import SubImages


def extract_subimages(height: int, width: int, size: int, step: int) -> list[tuple[int, int]]:
    """The places of BasicSR's `extract_subimages.py`, `worker`, with thresh_size 0."""
    starts = []
    for side in (height, width):
        space = np.arange(0, side - size + 1, step)
        if side - (space[-1] + size) > 0:
            space = np.append(space, side - size)
        starts.append(space)
    return [(int(x), int(y)) for x in starts[0] for y in starts[1]]


@pytest.mark.parametrize(("size", "step"), [(480, 240), (96, 96), (60, 36), (48, 120)])
def test_sub_images_are_where_basicsrs_do(size, step):
    sides = [(size, size), (size + 12, 2 * size), (size + step, size + step + 12), (1404, 2040), (648, 516)]
    for height, width in sides:
        expected = extract_subimages(height, width, size, step)
        assert SubImages.for_scales(size, step, []).windows(height, width) == expected
        assert SubImages.for_scales(size, step, [2, 3, 4]).windows(height, width) == expected
        for scale in (2, 3, 4):  # and those of the LR images, that are cut by themselves there
            lr = extract_subimages(height // scale, width // scale, size // scale, step // scale)
            assert [(top // scale, left // scale) for top, left in expected] == lr
    # With a rest that no LR pixel shows, the last square is as near to the border as all scales allow.
    assert SubImages.for_scales(48, 24, [2, 3]).windows(48, 100) == [(0, 0), (0, 24), (0, 48)]
    assert SubImages.for_scales(48, 24, [2, 3]).windows(48, 102) == [(0, 0), (0, 24), (0, 48), (0, 54)]
    assert SubImages.for_scales(48, 24, []).windows(48, 101) == [(0, 0), (0, 24), (0, 48), (0, 53)]
