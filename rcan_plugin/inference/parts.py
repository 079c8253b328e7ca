"""Upscales an image in parts that fit in memory; the result is exact wherever the network allows it."""

from __future__ import annotations

import copy
import functools
import logging
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.inference import memory
from rcan_plugin.inference.arrays import to_tensor
from rcan_plugin.inference.ensemble import self_ensemble
from rcan_plugin.inference.memory import TENSORS_SHARE, bytes_per_pixel
from rcan_plugin.inference.rcan_strips import FeaturesDoNotFit, RCANStrips
from rcan_plugin.inference.receptive_field import ReceptiveField, find_receptive_field
from rcan_plugin.inference.runner import Runner
from rcan_plugin.inference.sizes import Sizes
from rcan_plugin.inference.tiles import LARGEST_TILE, SMALLEST_TILE, TILE_BYTES, FittingTiles, Grid

log = logging.getLogger("basicsr")

MOST_OVERLAP = 32
"""Largest overlap of blended tiles in LR pixels."""


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
        self.largest: int | None = None  # side of tiles that fit, after larger ones did not
        self.least = SMALLEST_TILE  # larger if tiles must be larger than a receptive field
        self.warned = False
        self.rcan = (
            RCANStrips(runner, sizes.scale, exact=exact, size=self.tile) if isinstance(runner.net, RCANArch) else None
        )

    @property
    def remedy(self) -> str:
        """What to do if there is too little memory."""
        if self.tile:
            smaller = max(self.least, self.tile // 2)
            return f"choose tile {smaller} or tile auto (--tile)." if smaller < self.tile else "free some memory."
        return (
            "choose tile auto (--tile auto)." if self.whole else "free some memory, or choose a small tile (--tile 64)."
        )

    def strips(self, image: np.ndarray) -> Iterator[Tensor]:
        """Yield the result of an image, H x W x C, from top to bottom: 1 x C' x h x W' on the CPU, with any padding.

        Raises:
            ValueError: tiles of the given size are impossible.
            TooLittleMemory: not even the smallest parts fit.
        """
        if self.whole:
            yield self._upscaled(to_tensor(self.sizes.padded(image), self.runner.device)).cpu()
            return
        if self.rcan and (self.exact or not self.tile):
            lq = to_tensor(image)
            try:
                if self.ensemble:
                    yield self_ensemble(self.rcan.upscale, lq)
                else:
                    yield from self.rcan.strips(lq)
                return
            except FeaturesDoNotFit as error:
                log.info("%s", error)
        yield from self._tile_strips(image)

    def _plain(self, lq: Tensor) -> Tensor:
        return self.runner(lq, *self.arguments)

    def _upscaled(self, lq: Tensor) -> Tensor:
        return self_ensemble(self._plain, lq) if self.ensemble else self._plain(lq)

    # Tiles

    def _tile_strips(self, image: np.ndarray) -> Iterator[Tensor]:
        size = self.tile or self._auto_size()
        if self._is_small(image):
            sr = self._whole_if_it_fits(image)
            if sr is not None:
                yield sr
                return
            self.largest = size = min(size, max(image.shape[:2]) // 2)
            log.warning("Out of memory: tiles of %d pixels from now on.", size)
        grid = self._blended_grid(size) if self.field is None else self._exact_grid(self.field)
        image = self.sizes.padded(image, grid.multiple)
        tiles = FittingTiles(self._upscaled, grid, None if self.tile else SMALLEST_TILE)

        def crop(rows: slice, columns: slice) -> Tensor:
            return to_tensor(image[rows, columns], self.runner.device)

        yield from tiles.strips(crop, *image.shape[:2])
        if tiles.grid.size < grid.size:
            self.largest = tiles.grid.size

    def _is_small(self, image: np.ndarray) -> bool:
        """Whether to upscale an image at once: it is smaller than a tile, or tiles would change the result."""
        if size := self.tile or self.largest:
            return max(image.shape[:2]) <= size
        pixels = image.shape[0] * image.shape[1]
        fits = pixels * self._bytes_per_pixel <= TENSORS_SHARE * memory.free_bytes(self.runner.device)
        return fits and (pixels <= LARGEST_TILE**2 or self.field is None)

    def _whole_if_it_fits(self, image: np.ndarray) -> Tensor | None:
        try:
            return self._upscaled(to_tensor(self.sizes.padded(image), self.runner.device)).cpu()
        except Exception as error:
            if self.tile or not memory.is_out_of_memory(error):
                raise
            return None

    def _exact_grid(self, field: ReceptiveField) -> Grid:
        multiple = max(field.multiple, self.sizes.multiple)
        overlap = 2 * field.radius + -2 * field.radius % multiple
        self.least = least = overlap + max(multiple, SMALLEST_TILE)
        if self.tile and self.tile < least:
            raise ValueError(
                f"tile is {self.tile}: a result of {self.name} depends on {field.radius} pixels in each direction; "
                f"choose tile {least} or more (--tile {least}), or tile auto."
            )
        size = self.tile or max(least, self._auto_size(field.radius))
        return Grid(self.sizes.scale, size - size % multiple, overlap, multiple, blend=False)

    def _blended_grid(self, size: int) -> Grid:
        if self.exact:
            raise ValueError(
                f"exact: {self.name} depends on the whole image; choose tile none (--tile none), or leave out exact."
            )
        self._warn_inexact(size)
        multiple = self.sizes.multiple
        overlap = min(MOST_OVERLAP, size // 2)
        return Grid(self.sizes.scale, size - size % multiple, overlap - overlap % multiple, multiple)

    @functools.cached_property
    def field(self) -> ReceptiveField | None:
        """The receptive field of the network; None if it is the whole image or unknown."""
        if self.rcan and self.rcan.pools:
            return None
        network = copy.deepcopy(self.runner.net).cpu()
        side = max(4, self.sizes.least)
        return find_receptive_field(
            lambda lq: network(lq, *self.arguments), torch.zeros(1, self.sizes.channels, side, side)
        )

    # Memory

    def _auto_size(self, radius: int = 0) -> int:
        """The side of tiles that fit in the free memory."""
        by_bytes = math.isqrt(int(TILE_BYTES / self._bytes_per_pixel))
        fitting = math.isqrt(int(TENSORS_SHARE * memory.free_bytes(self.runner.device) / self._bytes_per_pixel))
        size = min(max(min(LARGEST_TILE, by_bytes), 4 * radius), fitting)
        return max(SMALLEST_TILE, min(size, self.largest or size))

    @functools.cached_property
    def _bytes_per_pixel(self) -> float:
        return bytes_per_pixel(self._plain, self.sizes.channels, self.runner.device)

    def _warn_inexact(self, size: int) -> None:
        text = f"{self.name} depends on the whole image: tiles of {size} pixels change the result."
        if isinstance(self.runner.net, RCANArch):
            text += " For the same result in little memory choose exact (--exact), which takes longer."
        if not self.warned:
            log.warning(text)
        self.warned = True
