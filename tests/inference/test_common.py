"""What self-ensemble, tiles and the official chop have in common."""

import functools

import pytest

from rcan_plugin.inference.ensemble import self_ensemble
from rcan_plugin.inference.official_chop import official_chop
from rcan_plugin.inference.tiles import tiled
from tests.inference.networks import assert_same, nearest, noise


@pytest.mark.parametrize("way", [self_ensemble, official_chop, lambda *a: tiled(*a, scale=1, size=16, overlap=2)])
def test_networks_are_given_contiguous_images(way):
    lq = noise(1, 2, 30, 40)
    assert_same(way(lambda x: x.view(-1).view(x.shape), lq), lq)


def test_errors_name_the_value_and_the_remedy():
    lq, double = noise(1, 1, 20, 20), functools.partial(nearest, scale=2)
    for scale, size, overlap, message in [
        (0, 8, 2, "scale is 0; expected a whole number of 1 or more"),
        (2, 0, 0, "size is 0; expected a whole number of 1 or more .*tile in LR pixels"),
        (2, 8.0, 0, "size is 8.0; expected a whole number"),
        (True, 8, 2, "scale is True; expected a whole number"),
        (2, 8, -1, "overlap is -1; expected a whole number of 0 or more"),
        (
            2,
            9,
            5,
            "overlap is 5 and size 9; expected at most half of the size: lower overlap to 4, or raise size to 10",
        ),
        (3, 8, 2, "scale is 3, but the network upscales by 2; pass scale=2"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}"):
            tiled(double, lq, scale, size, overlap)
    for shave, min_size, message in [(-1, 99, "shave is -1; expected"), (10, 0, "min_size is 0; expected")]:
        with pytest.raises(ValueError, match=message):
            official_chop(double, lq, shave, min_size)


@pytest.mark.parametrize("network", [lambda x: nearest(x, 2)[..., 1:], lambda x: x[..., ::2, ::2]])
@pytest.mark.parametrize("way", [self_ensemble, official_chop, lambda *a: tiled(*a, scale=2, size=20, overlap=2)])
def test_sides_that_are_not_multiplied_alike_are_an_error(way, network):
    with pytest.raises(ValueError, match=r"the network returned \d+x\d+ pixels for 20x20; expected both sides"):
        way(network, noise(1, 1, 20, 20))
