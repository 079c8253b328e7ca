"""How an image is upscaled in parts that fit in memory, exactly wherever the network allows it."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.inference import memory, rcan_strips
from rcan_plugin.inference.arrays import to_tensor
from rcan_plugin.inference.common import Upscale
from rcan_plugin.inference.ensemble import self_ensemble
from rcan_plugin.inference.memory import TooLittleMemory
from rcan_plugin.inference.receptive_field import ReceptiveField, find_receptive_field
from rcan_plugin.inference.runner import Runner
from rcan_plugin.inference.sizes import Sizes
from rcan_plugin.inference.tiles import FittingTiles, Grid

log = logging.getLogger("basicsr")

SMALLEST_TILE = 16
LARGEST_TILE = 512
"""Side in LR pixels that `auto` does not exceed but for a large receptive field: larger tiles are no faster."""
TILE_BYTES = 512 << 20
"""Memory that `auto` gives a tile, but for a large receptive field."""
MOST_OVERLAP = 32
"""Overlap of blended tiles in LR pixels, at most."""
MEASURED = 48
"""Side of the image with which the memory that a network needs is measured."""
SHARE = 0.7
"""Of the free memory that tensors may take: convolutions need some besides, and others use the machine too."""


class Parts:
    """Upscales images in parts. Arguments are those of `Upscaler`."""

    def __init__(
        self,
        runner: Runner,
        arguments: tuple[int, ...],
        sizes: Sizes,
        *,
        tile: str | int | None,
        ensemble: bool,
        exact: bool,
    ) -> None:
        self.runner, self.arguments, self.sizes = runner, arguments, sizes
        self.tile = tile if isinstance(tile, int) else None
        self.whole = tile is None
        self.ensemble, self.exact = ensemble, exact
        self.name = type(runner.net).__name__
        self.largest: dict[str, int] = {}  # tiles that fit after others did not

    @property
    def remedy(self) -> str:
        """What to choose where memory is too small."""
        if self.tile:
            return f"choose a smaller tile, such as {max(SMALLEST_TILE, self.tile // 2)}, or tile auto."
        return "choose tile auto." if self.whole else "free some memory, or choose a small tile by a number."

    def strips(self, image: np.ndarray) -> Iterator[Tensor]:
        """Yield results of an image, H x W x C, from top to bottom: 1 x C' x h x W' on the CPU, perhaps too large.

        Raises:
            ValueError: tiles of the size given by hand are impossible.
            TooLittleMemory: not even the smallest parts fit.
        """
        if self.whole:
            yield self._upscaled(to_tensor(self.sizes.padded(image), self.runner.device)).cpu()
        elif isinstance(self.runner.net, RCANArch) and (self.exact or not self.tile):
            yield from self._rcan_strips(self.runner.net, image)
        else:
            yield from self._tile_strips(image)

    def _plain(self, lq: Tensor) -> Tensor:
        return self.runner(lq, *self.arguments)

    def _upscaled(self, lq: Tensor) -> Tensor:
        return self_ensemble(self._plain, lq) if self.ensemble else self._plain(lq)

    # Tiles

    def _tile_strips(self, image: np.ndarray) -> Iterator[Tensor]:
        size = self.tile or self._auto_size("image", self._bytes_per_pixel, 0)
        if max(image.shape[:2]) <= size:
            grid = Grid(self.sizes.scale, size, 0)
            image = self.sizes.padded(image)
        else:
            grid = self._grid(image, size)
            image = self.sizes.padded(image, grid.multiple)
        tiles = FittingTiles(self._upscaled, grid, fixed=self.tile is not None)

        def crop(rows: slice, columns: slice) -> Tensor:
            return to_tensor(image[rows, columns], self.runner.device)

        yield from tiles.strips(crop, *image.shape[:2])

    def _grid(self, image: np.ndarray, size: int) -> Grid:
        """The tiles of an image that is larger than one of them."""
        if self.field is None:
            return self._blended_grid(image, size)
        overlap, multiple = 2 * self.field.radius, max(self.field.multiple, self.sizes.multiple)
        if not self.tile:
            size = self._auto_size("image", self._bytes_per_pixel, self.field.radius)
        size -= size % multiple
        overlap += -overlap % multiple
        if size < overlap + multiple:
            least = overlap + max(multiple, SMALLEST_TILE)
            if self.tile:
                raise ValueError(
                    f"tile is {self.tile}: {self.name} depends on {self.field.radius} pixels around each; choose tile "
                    f"{least} or more."
                )
            size = least
        return Grid(self.sizes.scale, size, overlap, multiple, blend=False)

    def _blended_grid(self, image: np.ndarray, size: int) -> Grid:
        if self.exact:
            raise ValueError(f"exact: {self.name} depends on the whole image, and has no other way than tile none.")
        if not self.tile and self._fits(image, self._bytes_per_pixel):
            return Grid(self.sizes.scale, max(image.shape[:2]), 0)
        self._say_inexact()
        multiple = max(8, self.sizes.multiple)
        size -= size % multiple
        return Grid(self.sizes.scale, size, min(MOST_OVERLAP, size // 2 // multiple * multiple), multiple)

    @functools.cached_property
    def field(self) -> ReceptiveField | None:
        """The receptive field of the network; None: the whole image, or unknown."""
        network = _on_cpu(self.runner.net)
        side = max(4, self.sizes.least)
        return find_receptive_field(
            lambda lq: network(lq, *self.arguments), torch.zeros(1, self.sizes.channels, side, side)
        )

    # Memory

    @functools.cached_property
    def _bytes_per_pixel(self) -> float:
        lq = torch.zeros(1, self.sizes.channels, MEASURED, MEASURED, device=self.runner.device)
        return memory.peak_bytes(lambda: self._plain(lq), self.runner.device) / MEASURED**2
