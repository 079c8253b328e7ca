"""RCAN's trunk over strips of rows, with features in main memory. Exact, although the attention pools."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rcan_plugin.archs.rcan_arch import RCAB, RCANArch

MAPS = 3
"""Feature maps of the whole image in main memory at a time."""
STRIP_BYTES = 32 << 20
"""Size of a strip of features; some more is needed for the results of its convolutions."""


def rows_per_strip(width: int, num_feat: int) -> int:
    """Return how many rows of features make a strip, at least 16: each is computed with up to 4 rows more."""
    return max(16, STRIP_BYTES // (4 * width * num_feat))


def trunk_in_strips(network: RCANArch, image: Tensor, device: torch.device, rows: int) -> Tensor:
    """Return `network.trunk(network.head(image))`, block by block, each in two passes over strips of rows.

    The first pass computes a block's residual, with 2 rows more on either side, and sums it up for the attention; the
    second adds it. Values differ from those of the whole by rounding alone: the means are summed in float64.

    Args:
        network: RCAN, on `device`, in evaluation mode.
        image: 1 x C x H x W, on the CPU; H and W are multiples of the network's `unshuffle`.
        device: strips of features are moved there, and their results back.
        rows: of features, in a strip.

    Returns:
        Features, on the CPU.
    """
    strips = _Strips(device, rows)
    entry = strips.apply(network.head, image, reach=1, factor=network.unshuffle)
    spare = [torch.empty_like(entry) for _ in range(MAPS - 1)]
    for group in network.body:
        x = entry
        for block in group.residual_group:
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
    """Write the result of a block to `out`, which holds its residual in the meantime."""
    conv1, activation, conv2, *attention = block.rcab
    total = torch.zeros(x.shape[1], dtype=torch.float64)

    def residual(strip: Tensor) -> Tensor:
        return conv2(activation(conv1(strip)))

    def add_up(strip: Tensor) -> None:
        nonlocal total
        total += strip.sum((0, 2, 3), dtype=torch.float64).cpu()

    strips.apply(residual, x, reach=2, out=out, see=add_up)
    if not attention:
        strips.apply(lambda x, residual: torch.add(x, residual, alpha=block.res_scale), x, out, out=out)
        return
    mean = (total / (x.shape[2] * x.shape[3])).to(strips.device, x.dtype).view(1, -1, 1, 1)
    weight = attention[0].attention[1:](mean) * block.res_scale
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
            see: is shown each strip of the result.
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
                # Rows of all channels are then one piece of memory.
                out = torch.empty(shape, dtype=strip.dtype, memory_format=torch.channels_last)
            out[:, :, top:bottom] = strip
        assert out is not None  # a map has rows
        return out
