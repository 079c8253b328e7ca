"""Eight times over, in tiles, and as the RCAN authors cut: which values each gives, and where they differ."""

import functools
import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from rcan_plugin.inference.common import Upscale
from rcan_plugin.inference.ensemble import self_ensemble
from rcan_plugin.inference.official_chop import official_chop
from rcan_plugin.inference.tiles import tiled

RADIUS = 2  # of `convolutions`, in LR pixels


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


def convolutions(scale: int, seed: int = 0) -> nn.Module:
    """A network of 3 to 2 channels that sees `RADIUS` pixels to each side; nothing in it is symmetric."""
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 2 * scale**2, 3, padding=1), nn.PixelShuffle(scale)
    return nn.Sequential(*layers).double()


def pooling(scale: int) -> Upscale:
    """One that pools over its whole input, as channel attention does."""
    network = convolutions(scale)
    return lambda lq: network(lq) * (1 + lq.mean((2, 3), keepdim=True)[:, :2])


def nearest(lq: torch.Tensor, scale: int) -> torch.Tensor:
    return lq.repeat_interleave(scale, -2).repeat_interleave(scale, -1)


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


def assert_same(actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


# -- self-ensemble


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_ensemble_is_the_mean_of_the_turns_and_mirrored_turns(scale):
    lq, network = noise(2, 3, 9, 6), pooling(scale)
    results = []
    for quarters, mirrored in itertools.product(range(4), (False, True)):
        turned = torch.rot90(lq.flip(3) if mirrored else lq, quarters, (2, 3))
        back = torch.rot90(network(turned), -quarters, (2, 3))
        results.append(back.flip(3) if mirrored else back)
    assert not torch.allclose(results[0], results[1])
    assert_same(self_ensemble(network, lq), torch.stack(results).mean(0))


def test_ensemble_of_what_commutes_with_flips_is_the_plain_result():
    lq = noise(1, 3, 5, 8, dtype=torch.float32)
    assert_same(self_ensemble(functools.partial(nearest, scale=2), lq), nearest(lq, 2), atol=3e-7)
    before = lq.clone()
    assert_same(self_ensemble(lambda x: x, lq), before, atol=3e-7)
    assert torch.equal(lq, before)


def test_ensemble_sums_halves_in_float32_and_returns_halves():
    values = iter([256.0] + 7 * [1.0])  # in bfloat16 256 + 1 is 256
    mean = self_ensemble(lambda x: torch.full_like(x, next(values)), noise(1, 1, 4, 4, dtype=torch.bfloat16))
    assert mean.dtype == torch.bfloat16 and mean.unique().tolist() == [torch.tensor(263 / 8).bfloat16().item()]


# -- tiles

GRIDS = [  # height, width, size, overlap
    (7, 5, 16, 4),  # smaller than a tile
    (16, 16, 16, 8),  # just a tile
    (17, 40, 16, 8),  # three tiles over some pixels
    (50, 23, 12, 5),
    (9, 31, 10, 0),
    (4, 5, 1, 0),
]


def shares(height: int, width: int, scale: int, size: int, overlap: int) -> Iterator[tuple[int, int, torch.Tensor]]:
    """For each tile where it begins, and how much it weighs at each pixel of the result."""
    place = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))[None].double()
    corners: list[tuple[int, int]] = []

    def note(crop: torch.Tensor) -> torch.Tensor:
        assert crop.shape[2:] == (min(size, height), min(size, width))
        corners.append((int(crop[0, 0, 0, 0]), int(crop[0, 1, 0, 0])))
        return nearest(crop, scale)

    tiled(note, place, scale, size, overlap)
    assert len(set(corners)) == len(corners)
    for chosen in range(len(corners)):
        turn = itertools.count()

        def one_hot(crop: torch.Tensor, turn: Iterator[int] = turn, chosen: int = chosen) -> torch.Tensor:
            return torch.full_like(nearest(crop[:, :1], scale), float(next(turn) == chosen))

        yield *corners[chosen], tiled(one_hot, place, scale, size, overlap)[0, 0]


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize(("height", "width", "size", "overlap"), GRIDS)
def test_shares_sum_to_one_and_are_positive_inside_a_tile_and_only_there(height, width, size, overlap, scale):
    total, tiles = torch.zeros(height * scale, width * scale).double(), torch.zeros(height * scale, width * scale)
    found = list(shares(height, width, scale, size, overlap))
    for top, left, share in found:
        inside = torch.zeros_like(share, dtype=torch.bool)
        inside[top * scale : (top + size) * scale, left * scale : (left + size) * scale] = True
        assert (share[inside] > 0).all() and (share[~inside] == 0).all()
        total, tiles = total + share, tiles + inside
        for radius in range(1, overlap // 2 + 1):  # what lacks neighbours weighs less than radius / overlap
            for dim, start, side in ((0, top, height), (1, left, width)):
                rows = share.movedim(dim, 0)
                before = rows[start * scale : (start + radius) * scale]
                after = rows[(start + size - radius) * scale : (start + size) * scale]
                assert start == 0 or (before < radius / overlap).all()
                assert start + size >= side or (after < radius / overlap).all()
    assert_same(total, torch.ones_like(total))
    assert (tiles >= 1).all()
    assert all((share[tiles == 1] % 1 == 0).all() for *_, share in found)
    # No more tiles than it takes, and neighbours share `overlap` at least.
    for corner, side in ((0, height), (1, width)):
        starts = sorted({tile[corner] for tile in found})
        assert starts[0] == 0 and starts[-1] == max(0, side - size)
        assert all(later <= earlier + size - overlap for earlier, later in itertools.pairwise(starts))
        assert len(starts) == 1 or (len(starts) - 2) * (size - overlap) + size < side


def test_ramps_are_linear():
    values = iter([0.0, 1.0])
    out = tiled(lambda x: torch.full_like(nearest(x, 2), next(values)), noise(1, 1, 3, 16), 2, 10, 4)
    ramp = [0.0625, 0.1875, 0.3125, 0.4375, 0.5625, 0.6875, 0.8125, 0.9375]
    assert out.shape == (1, 1, 6, 32)
    assert (out == torch.tensor(12 * [0.0] + ramp + 12 * [1.0]).double()).all()


def test_long_ramps_of_halves_never_reach_zero():
    values = iter([1.0, 0.0])
    lq = noise(1, 1, 3, 1536, dtype=torch.bfloat16)
    share = tiled(lambda x: torch.full_like(x, next(values)), lq, 1, size=1024, overlap=512)
    assert share.dtype == torch.bfloat16
    assert (share[..., :1024] > 0).all() and (share[..., 1024:] == 0).all()
    assert share[..., 1023].tolist() == [[3 * [0.5 / 512]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize(("height", "width", "size", "overlap"), GRIDS)
def test_nearest_and_constant_images_are_the_same_to_the_bit(height, width, size, overlap, scale, dtype):
    for lq in (noise(2, 3, height, width, dtype=dtype), torch.full((1, 1, height, width), 0.7, dtype=dtype)):
        before = lq.clone()
        out = tiled(functools.partial(nearest, scale=scale), lq, scale, size, overlap)
        assert out.dtype == dtype and torch.equal(out, nearest(lq, scale)) and torch.equal(lq, before)


def near_inner_border(side: int, scale: int, starts: list[int], size: int) -> torch.Tensor:
    """Which lines of the result some tile covers without all that the network would look at."""
    lines = torch.zeros(side, dtype=torch.bool)
    for start in starts:
        stop = start + size
        if start:
            lines[start : start + RADIUS] = True
        if stop < side:
            lines[stop - RADIUS : stop] = True
    return lines.repeat_interleave(scale)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_network_gives_the_same_as_on_the_whole_image_but_near_inner_borders(scale):
    lq, network = noise(2, 3, 30, 44), convolutions(scale)
    whole, out = network(lq), tiled(network, lq, scale, size=16, overlap=5)
    assert out.shape == (2, 2, 30 * scale, 44 * scale)
    rows = near_inner_border(30, scale, [0, 7, 14], 16)
    columns = near_inner_border(44, scale, [0, 9, 18, 28], 16)
    near = rows[:, None] | columns
    assert 0.3 < near.double().mean() < 0.8
    difference = (out - whole).abs()
    assert difference[..., ~near].max() < 1e-12 < 1e-4 < difference[..., near].max()


@pytest.mark.parametrize(
    ("overlap", "starts"), [(2 * RADIUS, [0, 11, 22, 33, 44]), (3 * RADIUS, [0, 8, 17, 26, 35, 44])]
)
def test_wrong_values_are_at_least_halved_where_the_overlap_is_twice_the_radius(overlap, starts):
    lq, network, seen = noise(1, 3, 12, 60), convolutions(2), []
    whole = network(lq)

    def note(crop: torch.Tensor) -> torch.Tensor:
        seen.append(network(crop))
        return seen[-1]

    error = (tiled(note, lq, 2, 16, overlap) - whole).abs()
    worst = torch.zeros_like(whole)
    for start, crop in zip(starts, seen, strict=True):
        covered = slice(2 * start, 2 * start + 32)
        worst[..., covered] = worst[..., covered].maximum((crop - whole[..., covered]).abs())
    assert worst.max() > 1e-2 and (error <= worst / 2 + 1e-12).all()


def test_only_crops_are_sent_to_the_device_and_their_results_come_back():
    lq, sent = noise(1, 1, 20, 9), []

    def network(crop: torch.Tensor) -> torch.Tensor:  # its results are on the CPU always: nothing leaves "meta"
        sent.append((crop.device.type, *crop.shape))
        return torch.ones(1, 1, 16, 16)

    out = tiled(network, lq, 2, size=8, overlap=2, device="meta")
    assert sent == 6 * [("meta", 1, 1, 8, 8)] and out.device.type == "cpu" and (out == 1).all()
    # The other way round: a result on the CPU goes to where the image is.
    assert tiled(network, lq.to("meta"), 2, size=8, overlap=2).device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_never_holds_the_whole_image():
    lq = noise(1, 3, 1024, 1024, dtype=torch.float32)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    out = tiled(functools.partial(nearest, scale=2), lq, 2, 64, 8, device="cuda")
    assert torch.cuda.max_memory_allocated() - before < lq.nbytes / 4
    assert torch.equal(out, nearest(lq, 2))


# -- the official chop


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


# -- what all three hold to


@pytest.mark.parametrize("way", [self_ensemble, official_chop, lambda *a: tiled(*a, scale=1, size=16, overlap=2)])
def test_networks_are_given_contiguous_images(way):
    lq = noise(1, 2, 30, 40)
    assert_same(way(lambda x: x.view(-1).view(x.shape), lq), lq)


def test_errors_name_the_value_and_the_remedy():
    lq, double = noise(1, 1, 20, 20), functools.partial(nearest, scale=2)
    for scale, size, overlap, message in [
        (0, 8, 2, "scale is 0; expected a whole number from 1 on"),
        (2, 0, 0, "size is 0; expected a whole number from 1 on, the side of a crop in LR pixels"),
        (2, 8.0, 0, "size is 8.0; expected a whole number"),
        (2, 8, -1, "overlap is -1; expected a whole number from 0 on"),
        (
            2,
            9,
            5,
            "overlap is 5 and size 9; expected at most half of the size: lower overlap to 4, or raise size to 10",
        ),
        (3, 8, 2, "the network enlarges by another scale than 3: by 2; pass scale=2"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}"):
            tiled(double, lq, scale, size, overlap)
    for shave, min_size, message in [(-1, 99, "shave is -1; expected"), (10, 0, "min_size is 0; expected")]:
        with pytest.raises(ValueError, match=message):
            official_chop(double, lq, shave, min_size)


@pytest.mark.parametrize("network", [lambda x: nearest(x, 2)[..., 1:], lambda x: x[..., ::2, ::2]])
@pytest.mark.parametrize("way", [self_ensemble, official_chop, lambda *a: tiled(*a, scale=2, size=20, overlap=2)])
def test_sides_that_are_not_multiplied_alike_are_an_error(way, network):
    with pytest.raises(ValueError, match=r"the network made \d+x\d+ of 20x20 pixels; expected both sides times"):
        way(network, noise(1, 1, 20, 20))
