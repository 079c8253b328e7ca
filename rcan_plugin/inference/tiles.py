"""Tiled inference, for images that do not fit in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from rcan_plugin._checks import require_whole
from rcan_plugin.inference.common import Upscale, at_least_float32, scale_of


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
    tops, lefts = _starts(height, size, overlap), _starts(width, size, overlap)

    def upscaled_tile(top: int, left: int) -> torch.Tensor:
        tile = lq[..., top : top + size, left : left + size].contiguous().to(device or lq.device)
        sr = upscale(tile)
        if (actual := scale_of(tile, sr)) != scale:
            raise ValueError(f"scale is {scale}, but the network upscales by {actual}; pass scale={actual}.")
        return sr.to(lq.device)

    strips = (_blend((upscaled_tile(top, left) for left in lefts), lefts, width, scale, -1) for top in tops)
    return _blend(strips, tops, height, scale, -2)


def _starts(side: int, size: int, overlap: int) -> list[int]:
    """Where tiles begin: evenly spaced, as few as the overlap allows. `_starts(20, 10, 2)` is [0, 5, 10]."""
    if side <= size:
        return [0]
    steps = -(-(side - size) // (size - overlap))
    return [i * (side - size) // steps for i in range(steps + 1)]


def _blend(pieces: Iterable[torch.Tensor], starts: Sequence[int], side: int, scale: int, dim: int) -> torch.Tensor:
    """Join pieces, which begin at `starts` LR pixels, along `dim`; each fades in where it overlaps the one before."""
    out: torch.Tensor | None = None
    end = 0
    for piece, start in zip(pieces, starts, strict=True):
        first, length = start * scale, piece.shape[dim]
        if out is None:
            shape = list(piece.shape)
            shape[dim] = side * scale
            out = piece.new_empty(shape)
        shared = end - first
        if shared:
            weight = (torch.arange(shared, dtype=at_least_float32(piece.dtype), device=piece.device) + 0.5) / shared
            earlier = out.narrow(dim, first, shared)
            # Not a sum of two weighted values: where both agree, the value stays as it is, bit for bit.
            earlier += (piece.narrow(dim, 0, shared) - earlier) * (weight if dim == -1 else weight[:, None])
        out.narrow(dim, end, length - shared).copy_(piece.narrow(dim, shared, length - shared))
        end = first + length
    assert out is not None  # there is at least one start
    return out
