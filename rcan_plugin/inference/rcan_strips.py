"""Computes RCAN's trunk in strips of rows, with features in main memory. Exact, in spite of the global pooling."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rcan_plugin.archs.layers import padded_to_multiple
from rcan_plugin.archs.rcan_arch import RCAB, ChannelAttention, RCANArch, ResidualGroup
from rcan_plugin.inference import memory
from rcan_plugin.inference.memory import TooLittleMemory
from rcan_plugin.inference.receptive_field import find_receptive_field
from rcan_plugin.inference.runner import Runner
from rcan_plugin.inference.tiles import LARGEST_TILE, TILE_BYTES, FittingTiles, Grid

MAPS = 3
"""Number of feature maps of the whole image that are in main memory at the same time."""
STRIP_BYTES = 32 << 20
"""Bytes of a strip of features; the results of its convolutions need more memory."""


class FeaturesDoNotFit(Exception):
    """RCAN's features of the whole image do not fit in the memory of the device."""


class RCANStrips:
    """Upscales images with RCAN, exactly: its features at once, the rest in tiles.

    Args:
        runner: runner of an `RCANArch`.
        scale: scale of the network.
        exact: compute features that do not fit strip by strip.
        size: side of the tiles and height of the strips, in LR pixels; None: as large as fits.
    """

    def __init__(self, runner: Runner, scale: int, *, exact: bool, size: int | None) -> None:
        assert isinstance(runner.net, RCANArch)
        self.runner, self.net, self.exact = runner, runner.net, exact
        self.multiple = self.net.unshuffle  # features are smaller than the image by it
        self.scale, self.size = scale, size
        self.channels = self.net.rgb_mean.shape[1]
        self.pools = any(isinstance(module, ChannelAttention) for module in self.net.modules())

    def upscale(self, lq: Tensor) -> Tensor:
        """Upscale 1 x C x H x W on the CPU."""
        return torch.cat(list(self.strips(lq)), -2)

    def strips(self, lq: Tensor) -> Iterator[Tensor]:
        """Yield the result of an image, 1 x C x H x W on the CPU, in strips, from top to bottom, on the CPU.

        Raises:
            FeaturesDoNotFit: the features do not fit and `exact` is false; raised before the first strip.
            TooLittleMemory: the features do not fit in main memory.
        """
        height, width = lq.shape[2] * self.scale, lq.shape[3] * self.scale
        features = self._features(padded_to_multiple(lq, self.multiple))
        overlap = 2 * self._radius
        if self.size:
            size = max(self.size // self.multiple, overlap + 1)
        else:
            size = max(2 * overlap, min(LARGEST_TILE, math.isqrt(int(TILE_BYTES / self._tail_bytes))))
        tiles = FittingTiles(
            self._tail, Grid(self.scale * self.multiple, size, overlap, blend=False), None if self.size else 1
        )
        for strip in tiles.strips(lambda rows, columns: features[..., rows, columns], *features.shape[-2:]):
            rest = min(height, strip.shape[2])  # nothing but padding may be left
            if rest:
                yield strip[:, :, :rest, :width]
            height -= rest

    def _features(self, lq: Tensor) -> Tensor:
        pixels = lq.shape[2] * lq.shape[3]
        device = self.runner.device
        free = memory.free_bytes(device)
        if pixels * self._head_and_trunk_bytes <= memory.TENSORS_SHARE * free:
            try:
                return self._head_and_trunk(lq.to(device))
            except Exception as error:
                if not memory.is_out_of_memory(error):
                    raise
        if not self.exact:
            raise FeaturesDoNotFit(
                f"RCAN's features of {lq.shape[3]}x{lq.shape[2]} pixels need "
                f"{pixels * self._head_and_trunk_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free."
            )
        return self._features_in_strips(lq)

    def _features_in_strips(self, lq: Tensor) -> Tensor:
        network = self.runner.network()
        assert isinstance(network, RCANArch)
        num_feat = network.conv_first.out_channels
        pixels = lq.shape[2] * lq.shape[3] // self.multiple**2
        needed = MAPS * pixels * num_feat * (self.runner.precision or torch.float32).itemsize
        if needed > (free := memory.free_bytes(torch.device("cpu"))):
            raise TooLittleMemory(
                f"out of memory: features of {lq.shape[3]}x{lq.shape[2]} pixels take {needed / 1e9:.1f} GB of main "
                f"memory, {free / 1e9:.1f} GB are free: choose a number as tile (--tile 512), without exact."
            )
        rows = self.size or rows_per_strip(lq.shape[3] // self.multiple, num_feat)
        with self.runner.context():
            return trunk_in_strips(network, lq, self.runner.device, rows)

    def _head_and_trunk(self, lq: Tensor) -> Tensor:
        network = self.runner.network()
        assert isinstance(network, RCANArch)
        with self.runner.context():
            return network.trunk(network.head(lq.contiguous(memory_format=self.runner.memory_format)))

    def _tail(self, features: Tensor) -> Tensor:
        network = self.runner.network()
        assert isinstance(network, RCANArch)
        with self.runner.context():
            # Moved here, so that features in main memory go to the device tile by tile.
            return network.tail(features.to(self.runner.device)).float()

    @functools.cached_property
    def _radius(self) -> int:
        """Radius of the receptive field of the tail, which does not pool."""
        network = copy.deepcopy(self.net).cpu()
        for weights in network.parameters():
            weights.fill_(1e-3)  # any finite values will do; damaged weights might give infinite results
        field = find_receptive_field(network.tail, torch.zeros(1, self.net.conv_first.out_channels, 4, 4))
        assert field is not None  # it has a few convolutions
        return field.radius

    @functools.cached_property
    def _head_and_trunk_bytes(self) -> float:
        return memory.bytes_per_pixel(self._head_and_trunk, self.channels, self.runner.device)

    @functools.cached_property
    def _tail_bytes(self) -> float:
        return memory.bytes_per_pixel(self._tail, self.net.conv_first.out_channels, self.runner.device)


def rows_per_strip(width: int, num_feat: int) -> int:
    """Return how many rows of features make a strip, at least 16: each is computed with up to 4 rows more."""
    return max(16, STRIP_BYTES // (4 * width * num_feat))


def trunk_in_strips(network: RCANArch, image: Tensor, device: torch.device, rows: int) -> Tensor:
    """Return `network.trunk(network.head(image))`, block by block, each in two passes over strips of rows.

    The first pass computes a block's residual, with 2 more rows on either side, and sums it for the attention; the
    second adds it. Results differ from those of the whole image only by rounding: the means are summed in float64.

    Args:
        network: RCAN, on `device`, in evaluation mode.
        image: 1 x C x H x W, on the CPU; H and W are multiples of the network's `unshuffle`.
        device: strips of features are moved there, and their results back.
        rows: rows of features in a strip.

    Returns:
        Features, on the CPU.
    """
    strips = _Strips(device, rows)
    entry = strips.apply(network.head, image, reach=1, factor=network.unshuffle)
    spare = [torch.empty_like(entry) for _ in range(MAPS - 1)]
    for group in network.body:
        assert isinstance(group, ResidualGroup)
        x = entry
        for block in group.residual_group:
            assert isinstance(block, RCAB)
            out = spare.pop()
            _block(block, x, out, strips)
            if x is not entry:
                spare.append(x)
            x = out
        out = spare.pop()
        strips.apply(group.conv, x, reach=1, out=out)
        if group.short_skip:
            strips.apply(torch.add, out, entry, out=out)
        spare += [x, entry]
        entry = out
    deep = spare.pop()
    spare.clear()
    strips.apply(network.conv_after_body, entry, reach=1, out=deep)
    if network.long_skip:
        strips.apply(network.head, image, reach=1, factor=network.unshuffle, out=entry)  # rather than kept till now
        strips.apply(torch.add, deep, entry, out=deep)
    return deep


def _block(block: RCAB, x: Tensor, out: Tensor, strips: _Strips) -> None:
    """Write the result of a block to `out`, which first holds its residual."""
    conv1, activation, conv2 = block.rcab[:3]
    total = torch.zeros(x.shape[1], dtype=torch.float64)

    def residual(strip: Tensor) -> Tensor:
        return conv2(activation(conv1(strip)))

    def add_up(strip: Tensor) -> None:
        nonlocal total
        total += strip.sum((0, 2, 3), dtype=torch.float64).cpu()

    strips.apply(residual, x, reach=2, out=out, see=add_up)
    if len(block.rcab) == 3:
        strips.apply(lambda x, residual: torch.add(x, residual, alpha=block.res_scale), x, out, out=out)
        return
    attention = block.rcab[3]
    assert isinstance(attention, ChannelAttention)
    mean = (total / (x.shape[2] * x.shape[3])).to(strips.device, x.dtype).view(1, -1, 1, 1)
    weight = attention.attention[1:](mean) * block.res_scale
    strips.apply(lambda x, residual: torch.addcmul(x, residual, weight), x, out, out=out)


class _Strips:
    """Applies functions to feature maps strip by strip."""

    def __init__(self, device: torch.device, rows: int) -> None:
        self.device, self.rows = device, rows

    def apply(
        self,
        function: Callable[..., Tensor],
        *sources: Tensor,
        reach: int = 0,
        factor: int = 1,
        out: Tensor | None = None,
        see: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Write the results of a function to `out`, by default a new map; it may be a source where `reach` is 0.

        Args:
            function: of strips of the sources.
            sources: 1 x C x H x W.
            reach: how many rows around a row of the result it depends on.
            factor: by which sources are higher than the result.
            out: 1 x C' x H / factor x W'.
            see: called with each strip of the result.
        """
        height = sources[0].shape[2] // factor
        for top in range(0, height, self.rows):
            bottom = min(top + self.rows, height)
            first, last = max(0, top - reach), min(height, bottom + reach)
            strip = function(*(source[:, :, first * factor : last * factor].to(self.device) for source in sources))
            strip = strip[:, :, top - first : bottom - first]
            if see:
                see(strip)
            if out is None:
                shape = (*strip.shape[:2], height, strip.shape[3])
                # In this layout a strip's rows of all channels are contiguous in memory.
                out = torch.empty(shape, dtype=strip.dtype, memory_format=torch.channels_last)
            out[:, :, top:bottom] = strip
        assert out is not None  # a map has rows
        return out
