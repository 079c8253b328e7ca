"""The official chop: which patch each pixel comes from."""

import functools
import itertools

import pytest
import torch

from rcan_plugin.inference.common import Upscale
from rcan_plugin.inference.official_chop import official_chop
from tests.inference.networks import assert_same, nearest, noise, pooling


def chop_by_pixels(
    enlarge: Upscale, lq: torch.Tensor, scale: int, shave: int, min_size: int
) -> tuple[torch.Tensor, int]:
    """Pixel by pixel: which patch its value comes from; and how often at most was cut."""
    out = torch.zeros(len(lq), 2, lq.shape[2] * scale, lq.shape[3] * scale).double()

    @functools.cache
    def result(top: int, left: int, height: int, width: int) -> torch.Tensor:
        return enlarge(lq[:, :, top : top + height, left : left + width])

    def narrow(at: int, start: int, side: int) -> tuple[int, int]:
        half = side // 2
        if half + shave > side:
            return start, side
        return (start, half + shave) if at < start + half else (start + side - half - shave, half + shave)

    deepest = 0
    for y, x in itertools.product(*map(range, lq.shape[2:])):
        (top, height), (left, width) = (0, lq.shape[2]), (0, lq.shape[3])
        depth = 0
        while depth == 0 or height * width >= min_size:
            (top, height), (left, width), depth = narrow(y, top, height), narrow(x, left, width), depth + 1
        deepest = max(deepest, depth)
        from_y, from_x = (y - top) * scale, (x - left) * scale
        pixel = result(top, left, height, width)[:, :, from_y : from_y + scale, from_x : from_x + scale]
        out[:, :, y * scale : (y + 1) * scale, x * scale : (x + 1) * scale] = pixel
    return out, deepest


@pytest.mark.parametrize(
    ("height", "width", "scale", "shave", "min_size", "depth"),
    [
        (20, 24, 2, 3, 10_000, 1),  # small as it is, it is cut once
        (20, 24, 2, 3, 195, 2),  # patches of 13 x 15: just as many pixels as are too many
        (20, 24, 2, 3, 196, 1),
        (37, 41, 3, 3, 200, 2),
        (37, 41, 1, 3, 120, 3),
        (61, 23, 2, 4, 200, 3),
        (5, 40, 2, 3, 60, 3),  # a side of 2 * shave - 1: the official code enlarges it twice
        (6, 40, 2, 3, 80, 3),  # and one of 2 * shave
        (7, 13, 2, 3, 10_000, 1),  # the shortest that is cut
        (4, 40, 2, 3, 50, 3),  # shorter: here it fails
        (3, 2, 2, 10, 160_000, 1),
    ],
)
def test_chop_takes_each_pixel_from_the_patch_the_official_code_does(height, width, scale, shave, min_size, depth):
    lq, network = noise(2, 3, height, width), pooling(scale)
    before = lq.clone()
    expected, deepest = chop_by_pixels(network, lq, scale, shave, min_size)
    assert deepest == depth
    assert_same(official_chop(network, lq, shave, min_size), expected)
    assert torch.equal(lq, before)


def test_chop_defaults_are_the_official_constants():
    sizes = []

    def note(crop: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(crop.shape[2:]))
        return crop

    official_chop(note, torch.zeros(1, 1, 780, 780))  # patches of 400 x 400: 160,000 pixels
    assert sizes == 16 * [(210, 210)]
    sizes.clear()
    official_chop(note, torch.zeros(1, 1, 780, 778))
    assert sizes == 4 * [(400, 399)]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (9, 33), (50, 50)])
@pytest.mark.parametrize("shave", [0, 1, 10])
def test_chop_ends_and_leaves_no_gap_however_small_the_image_and_the_limit(height, width, shave):
    lq = noise(1, 2, height, width, dtype=torch.float32)
    assert torch.equal(official_chop(functools.partial(nearest, scale=2), lq, shave, min_size=1), nearest(lq, 2))


def test_what_cannot_be_cut_is_enlarged_as_a_whole():
    lq, network = noise(1, 3, 19, 20), pooling(2)
    assert torch.equal(official_chop(network, lq, shave=10, min_size=1), network(lq))
    calls: list[torch.Size] = []
    official_chop(lambda x: calls.append(x.shape) or x, noise(1, 3, 20, 50))
    assert calls == 2 * [(1, 3, 20, 35)]
