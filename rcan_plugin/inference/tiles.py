"""Tiled inference, for images that do not fit in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from rcan_plugin._checks import require_whole
from rcan_plugin.inference.common import Upscale, at_least_float32, scale_of
from rcan_plugin.inference.memory import TooLittleMemory, is_out_of_memory

log = logging.getLogger("basicsr")

SMALLEST_TILE = 16
LARGEST_TILE = 512
"""Largest side of tiles in LR pixels with `auto`, unless the receptive field is large: larger tiles are not faster."""
TILE_BYTES = 512 << 20
"""Bytes that a tile may take with `auto`, unless the receptive field is large."""


def tiled(
    upscale: Upscale,
    lq: torch.Tensor,
    scale: int,
    size: int,
    overlap: int,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Upscale an image tile by tile, for images that do not fit in memory.

    Tiles have equal size and are evenly spaced, the last one flush with the border, so neighbours overlap by `overlap`
    pixels or more. Overlapping results are blended linearly, with weights above 0 that sum to 1; where a single tile
    covers a pixel, its value is kept bit for bit.

    For a network with a receptive field of radius r, the result equals that of the whole image, up to rounding, at
    distances greater than r from inner tile borders. Closer to one, the tile that lacks its surroundings has a weight
    below r / overlap: with an overlap of 2r below one half, and along each axis another tile is correct there. For a
    network with global pooling, such as channel attention, all values differ.

    Args:
        upscale: network; called once per tile. Tiles never reach past the border of the image.
        lq: N x C x H x W, any range and size; it may stay on the CPU. It is not changed.
        scale: scale of the network, at least 1.
        size: tile side in LR pixels, including overlap. A shorter side of the image is not cut.
        overlap: minimum overlap of neighbouring tiles in LR pixels, 0 to ``size // 2``: more would cost time and hardly
            change the result.
        device: each tile is moved there for the network, and its result back; the whole image is never there. None: the
            device of `lq`.

    Returns:
        N x C' x sH x sW, with the type of the network's results, on the device of `lq`.

    Raises:
        ValueError: scale, size or overlap is out of range, or the network's scale differs from `scale`.
    """
    require_whole("scale", scale, 1, " (of the network)")
    require_whole("size", size, 1, " (the side of a tile in LR pixels)")
    require_whole("overlap", overlap, 0, " (LR pixels)")
    if 2 * overlap > size:
        raise ValueError(
            f"overlap is {overlap} and size {size}; expected at most half of the size: lower overlap to {size // 2}, "
            f"or raise size to {2 * overlap}."
        )
    height, width = lq.shape[-2:]

    def upscaled_tile(rows: slice, columns: slice) -> torch.Tensor:
        tile = lq[..., rows, columns].contiguous().to(device or lq.device)
        sr = upscale(tile)
        if (actual := scale_of(tile, sr)) != scale:
            raise ValueError(f"scale is {scale}, but the network upscales by {actual}; pass scale={actual}.")
        return sr.to(lq.device)

    return _side_by_side(Grid(scale, size, overlap).strips(upscaled_tile, height, width), height * scale, -2)


@dataclass(frozen=True)
class Grid:
    """Where tiles are and how their results are joined.

    Args:
        scale: scale of the results.
        size: tile side in LR pixels, including overlap.
        overlap: minimum overlap of neighbouring tiles in LR pixels, less than the size.
        multiple: tiles begin at multiples of it. Size, overlap and the sides of the image are multiples of it too.
        blend: true: results are blended linearly where tiles overlap. False: they are cut in the middle of the overlap,
            which is exact where the overlap is twice the radius of the receptive field.
    """

    scale: int
    size: int
    overlap: int
    multiple: int = 1
    blend: bool = True

    def strips(
        self, upscaled: Callable[[slice, slice], torch.Tensor], height: int, width: int
    ) -> Iterator[torch.Tensor]:
        """Yield the result from top to bottom, in strips of finished rows.

        Args:
            upscaled: returns the result of a tile, given its rows and columns; called once per tile.
            height, width: of the image, in LR pixels.
        """
        lefts = self._starts(width)

        def row_of_tiles(top: int) -> torch.Tensor:
            rows = slice(top, min(top + self.size, height))
            tiles = (upscaled(rows, slice(left, min(left + self.size, width))) for left in lefts)
            return _side_by_side(self._join(tiles, lefts, -1), width * self.scale, -1)

        tops = self._starts(height)
        yield from self._join((row_of_tiles(top) for top in tops), tops, -2)

    def _starts(self, side: int) -> list[int]:
        return [
            start * self.multiple for start in _starts(*(n // self.multiple for n in (side, self.size, self.overlap)))
        ]

    def _join(self, pieces: Iterable[torch.Tensor], starts: Sequence[int], dim: int) -> Iterator[torch.Tensor]:
        """Join pieces that begin at `starts` LR pixels along `dim`; yield the finished part after each piece."""
        rest: torch.Tensor | None = None
        for piece, start, following in zip(pieces, starts, [*starts[1:], None], strict=True):
            if rest is not None and rest.shape[dim]:
                shared = rest.shape[dim]
                join = self._faded if self.blend else self._cut
                joined = join(rest, piece.narrow(dim, 0, shared), dim)
                piece = torch.cat([joined, piece.narrow(dim, shared, piece.shape[dim] - shared)], dim)
            finished = piece.shape[dim] if following is None else (following - start) * self.scale
            rest = piece.narrow(dim, finished, piece.shape[dim] - finished).clone()
            yield piece.narrow(dim, 0, finished)

    def _faded(self, earlier: torch.Tensor, later: torch.Tensor, dim: int) -> torch.Tensor:
        """Blend linearly from one to the other along `dim`."""
        length = later.shape[dim]
        weight = (torch.arange(length, dtype=at_least_float32(later.dtype), device=later.device) + 0.5) / length
        # Not a sum of two weighted values, so that a value on which both agree is kept bit for bit.
        return (earlier + (later - earlier) * (weight if dim == -1 else weight[:, None])).to(later.dtype)

    def _cut(self, earlier: torch.Tensor, later: torch.Tensor, dim: int) -> torch.Tensor:
        """Switch from one to the other in the middle of the overlap."""
        middle = later.shape[dim] // (2 * self.scale) * self.scale
        return torch.cat([earlier.narrow(dim, 0, middle), later.narrow(dim, middle, later.shape[dim] - middle)], dim)


def _side_by_side(pieces: Iterable[torch.Tensor], length: int, dim: int) -> torch.Tensor:
    """Put pieces one after the other along `dim`: as `torch.cat`, but without keeping all of them."""
    out: torch.Tensor | None = None
    done = 0
    for piece in pieces:
        if piece.shape[dim] == length:
            return piece
        if out is None:
            shape = list(piece.shape)
            shape[dim] = length
            out = piece.new_empty(shape)
        out.narrow(dim, done, piece.shape[dim]).copy_(piece)
        done += piece.shape[dim]
    assert out is not None  # there is at least one piece
    return out


class FittingTiles:
    """Upscales tiles. When memory runs out, this tile and all later ones are upscaled in tiles of half the size.

    Args:
        upscale: the network, or a part of it.
        grid: the tiles. The attribute `grid` has the current size.
        least: the smallest size; None: the size is fixed.
    """

    def __init__(self, upscale: Upscale, grid: Grid, least: int | None) -> None:
        self.upscale, self.grid, self.least = upscale, grid, least

    def strips(self, crop: Callable[[slice, slice], torch.Tensor], height: int, width: int) -> Iterator[torch.Tensor]:
        """Yield the result from top to bottom, in strips of finished rows, on the CPU.

        Args:
            crop: returns a part of the image, given its rows and columns.
            height, width: of the image.
        """
        return self.grid.strips(lambda rows, columns: self(crop(rows, columns)).cpu(), height, width)

    def __call__(self, tile: torch.Tensor) -> torch.Tensor:
        """Upscale a tile."""
        if max(tile.shape[-2:]) <= self.grid.size:
            try:
                return self.upscale(tile)
            except Exception as error:
                if self.least is None or not is_out_of_memory(error):
                    raise
            # Outside of `except`, so that the tensors of the failed call have been freed.
            self._halve(max(tile.shape[-2:]))
        height, width = tile.shape[-2:]
        strips = self.strips(lambda rows, columns: tile[..., rows, columns], height, width)
        return _side_by_side(strips, height * self.grid.scale, -2)

    def _halve(self, size: int) -> None:
        assert self.least is not None
        grid = self.grid
        half = size // 2 // grid.multiple * grid.multiple
        overlap = min(grid.overlap, half // 2 // grid.multiple * grid.multiple) if grid.blend else grid.overlap
        if half < max(self.least, overlap + grid.multiple):
            raise TooLittleMemory(f"out of memory even for a tile of {size} pixels: free some memory.")
        log.warning("Out of memory: tiles of %d pixels instead of %d from now on.", half, size)
        self.grid = replace(grid, size=half, overlap=overlap)


def _starts(side: int, size: int, overlap: int) -> list[int]:
    """First pixels of tiles: evenly spaced, as few as the overlap allows. `_starts(20, 10, 2)` is [0, 5, 10]."""
    if side <= size:
        return [0]
    steps = -(-(side - size) // (size - overlap))
    return [i * (side - size) // steps for i in range(steps + 1)]
