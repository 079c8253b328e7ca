"""Shared by self-ensemble, tiles and the official chop: the type of a network, and the scale of its results."""

from __future__ import annotations

from collections.abc import Callable

import torch

Upscale = Callable[[torch.Tensor], torch.Tensor]
"""A network or a wrapper of it: maps N x C x H x W to N x C' x sH x sW, with a whole scale s of at least 1."""


def scale_of(lq: torch.Tensor, sr: torch.Tensor) -> int:
    """The scale by which `sr` is larger than `lq`.

    Raises:
        ValueError: the two sides differ in scale, or it is not a whole number of at least 1.
    """
    (height, width), (sr_height, sr_width) = lq.shape[-2:], sr.shape[-2:]
    scale = sr_height // height
    if scale < 1 or (sr_height, sr_width) != (height * scale, width * scale):
        raise ValueError(
            f"the network returned {sr_height}x{sr_width} pixels for {height}x{width}; expected both sides multiplied "
            "by the same whole number: wrap it so that it pads and crops as it needs."
        )
    return scale


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """float32 for half precision, any other type as it is: the type in which results are summed or blended."""
    return torch.promote_types(dtype, torch.float32)
