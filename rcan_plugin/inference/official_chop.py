"""The recursive four-way chop of RCAN's official code, with which the published figures were made."""

from __future__ import annotations

import itertools

import torch

from rcan_plugin._checks import require_whole
from rcan_plugin.inference.common import Upscale, scale_of


def official_chop(upscale: Upscale, lq: torch.Tensor, shave: int = 10, min_size: int = 160000) -> torch.Tensor:
    """Upscale an image in four or more parts, as the official RCAN code does.

    The image is cut at its middle into four parts, whatever its size. Each part is upscaled with `shave` more pixels
    beyond the cuts, which are removed from its result. A part that still has `min_size` pixels or more is cut again in
    the same way. RCAN's channel attention pools over its whole input, so the whole image at once gives other values.

    The values are those of `forward_chop` of `RCAN_TestCode/code/model/__init__.py`, whose constants are the defaults.
    A side of at most 2 * shave pixels is not cut, since its halves would be the whole side: a side of 2 * shave - 1 or
    2 * shave pixels is upscaled twice by the official code, which fails on shorter ones. Where neither side can be cut,
    the recursion ends although `min_size` is reached.

    Args:
        upscale: network of any scale, which is read from its results.
        lq: N x C x H x W, any range and size. It is not changed.
        shave: LR pixels, at least 0.
        min_size: LR pixels (height times width) from which on a part is cut again, at least 1.

    Returns:
        N x C' x sH x sW, with the type and device of the network's results.

    Raises:
        ValueError: shave or min_size is out of range, or the network does not scale both sides by the same whole
            number.
    """
    require_whole("shave", shave, 0, " (LR pixels)")
    require_whole("min_size", min_size, 1, " (LR pixels, height times width)")
    height, width = lq.shape[-2:]
    out: torch.Tensor | None = None
    for (rows, top, bottom), (columns, left, right) in itertools.product(_halves(height, shave), _halves(width, shave)):
        patch = lq[..., rows, columns].contiguous()
        smaller = patch.shape != lq.shape
        again = smaller and patch.shape[-2] * patch.shape[-1] >= min_size
        sr = official_chop(upscale, patch, shave, min_size) if again else upscale(patch)
        scale = scale_of(patch, sr)
        if not smaller:
            return sr
        if out is None:
            out = sr.new_empty((*sr.shape[:-2], height * scale, width * scale))
        y, x = (top - rows.start) * scale, (left - columns.start) * scale
        kept = sr[..., y : y + (bottom - top) * scale, x : x + (right - left) * scale]
        out[..., top * scale : bottom * scale, left * scale : right * scale] = kept
    assert out is not None  # every side has at least one half
    return out


def _halves(side: int, shave: int) -> list[tuple[slice, int, int]]:
    """The two parts of a side: what to upscale, what to keep. `_halves(9, 2)` is [(0:6, 0, 4), (3:9, 4, 9)]."""
    half = side // 2
    reach = max(half + shave, side - half)  # the second only matters without shave, for odd sides
    if reach >= side:
        return [(slice(0, side), 0, side)]
    return [(slice(0, reach), 0, half), (slice(side - reach, side), half, side)]
