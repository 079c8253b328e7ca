"""Tiles: weights of the blend, values, devices."""

import functools
import itertools
from collections.abc import Iterator

import pytest
import torch

from rcan_plugin.inference.common import Upscale
from rcan_plugin.inference.memory import TooLittleMemory
from rcan_plugin.inference.tiles import FittingTiles, Grid, tiled
from tests.inference.networks import RADIUS, assert_same, convolutions, nearest, noise

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


def strips_of(grid: Grid, upscale: Upscale, lq: torch.Tensor) -> list[torch.Tensor]:
    height, width = lq.shape[-2:]
    return list(grid.strips(lambda rows, columns: upscale(lq[..., rows, columns]), height, width))


@pytest.mark.parametrize("size", [2 * RADIUS + 1, 7, 16])
@pytest.mark.parametrize("scale", [1, 3])
def test_tiles_that_are_cut_in_an_overlap_of_twice_the_radius_are_exact(scale, size):
    lq, network = noise(1, 3, 30, 44), convolutions(scale)
    strips = strips_of(Grid(scale, size, 2 * RADIUS, blend=False), network, lq)
    assert len(strips) > 1
    assert_same(torch.cat(strips, -2), network(lq))
    too_little = torch.cat(strips_of(Grid(scale, size, RADIUS, blend=False), network, lq), -2)
    assert (too_little - network(lq)).abs().max() > 1e-4


def test_tiles_begin_at_multiples():
    corners = []

    def note(rows: slice, columns: slice) -> torch.Tensor:
        corners.append((rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start))
        return torch.zeros(1, 1, rows.stop - rows.start, columns.stop - columns.start)

    out = torch.cat(list(Grid(1, 16, 4, multiple=4, blend=False).strips(note, 40, 28)), -2)
    assert out.shape == (1, 1, 40, 28) and len(corners) == 6
    assert all(number % 4 == 0 for corner in corners for number in corner)


class LittleMemory:
    """A network that runs out of memory beyond a number of pixels."""

    def __init__(self, network: Upscale, most: int) -> None:
        self.network, self.most, self.sides = network, most, []

    def __call__(self, lq: torch.Tensor) -> torch.Tensor:
        self.sides.append(max(lq.shape[-2:]))
        if lq.shape[-2] * lq.shape[-1] > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return self.network(lq)


def test_out_of_memory_halves_the_tiles_and_the_result_stays_exact(caplog):
    lq, network = noise(1, 3, 40, 44), convolutions(2)
    little = LittleMemory(network, 100)
    tiles = FittingTiles(little, Grid(2, 32, 2 * RADIUS, blend=False), least=4)
    out = torch.cat(list(tiles.strips(lambda rows, columns: lq[..., rows, columns], 40, 44)), -2)
    assert_same(out, network(lq))
    assert little.sides[:2] == [32, 16] and set(little.sides[2:]) == {8}, "no tile is tried again that did not fit"
    assert tiles.grid.size == 8
    said = "Out of memory: tiles of {} pixels instead of {} from now on."
    assert caplog.messages == [said.format(16, 32), said.format(8, 16)]


def test_tiles_are_not_halved_without_end():
    lq, network = noise(1, 3, 40, 44), convolutions(2)
    grid = Grid(2, 32, 2 * RADIUS, blend=False)
    for least, error in ((4, TooLittleMemory), (None, torch.OutOfMemoryError)):
        tiles = FittingTiles(LittleMemory(network, 10), grid, least)
        with pytest.raises(error, match="even for a tile of 8 pixels" if least else "^out of memory$"):
            list(tiles.strips(lambda rows, columns: lq[..., rows, columns], 40, 44))
    with pytest.raises(RuntimeError, match="expected input"):  # of another kind: four channels
        FittingTiles(network, grid, 4)(noise(1, 4, 8, 8))
