"""Geometric self-ensemble (x8): EDSR+, RCAN+."""

from __future__ import annotations

import itertools

import torch

from rcan_plugin.inference.common import Upscale, at_least_float32, scale_of


def self_ensemble(upscale: Upscale, lq: torch.Tensor) -> torch.Tensor:
    """Average a network's results for the eight flips and rotations of an image, each transformed back.

    Section 3.4, "Geometric Self-ensemble", of "Enhanced Deep Residual Networks for Single Image Super-Resolution"
    (CVPRW 2017); as `forward_x8` of the official code, for any batch. It takes eight times as long and little more
    memory, since results are added one at a time (in float32 if they are in half precision).

    Args:
        upscale: network; called eight times, four of them with W x H images.
        lq: N x C x H x W, any range. It is not changed.

    Returns:
        N x C' x sH x sW, with the type and device of the network's results.

    Raises:
        ValueError: the network does not scale both sides by the same whole number.
    """
    total: torch.Tensor | None = None
    for transposed, flips in itertools.product((False, True), ((), (-1,), (-2,), (-2, -1))):
        turned = (lq.mT if transposed else lq).flip(flips).contiguous()
        sr = upscale(turned)
        scale_of(turned, sr)
        sr = sr.flip(flips)
        sr = sr.mT if transposed else sr
        if total is None:
            total = torch.zeros_like(sr, dtype=at_least_float32(sr.dtype))
        total += sr
    assert total is not None  # the loop runs eight times
    return (total / 8).to(sr.dtype)
