"""Loads the network of a file of weights, for colour pictures and one scale."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from torch import nn

from rcan_plugin import weights
from rcan_plugin.archs import LumaOnly


def load(path: str | os.PathLike[str], scale: int | None, say: Callable[[str], object], **given: Any) -> nn.Module:
    """Load the network of a file of weights. A network with one channel is applied to luma (`LumaOnly`).

    Args:
        path: the file.
        scale: the scale to use, for networks with several scales or any scale (those that work on an upsampled image);
            None: the network's only scale.
        say: called with lines about what was assumed.
        given: further arguments of `weights.read`: the network's name and arguments, if the file does not hold them.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it holds no weights of a known network, or not of this scale.
    """
    read = weights.read(path, **given)
    for remark in read.remarks:
        say(f"{path}: {remark}")
    network = read.build()
    if getattr(network, "upscale", None) == 1:  # VDSR and others: the image is upsampled first, by any factor
        if scale is None:
            raise ValueError(f"{path}: {read.name} upscales by any whole number: choose one with --scale, such as 2.")
        network = weights.read(path, **{**given, "upscale": scale}).build()
    elif scale is None and len(read.scales) > 1:
        raise ValueError(f"{path}: {read.name} has the scales {_listed(read.scales)}: choose one with --scale.")
    elif scale is not None and scale not in read.scales:
        raise ValueError(f"{path}: {read.name} has scale {_listed(read.scales)}; --scale is {scale}.")
    if getattr(network, "num_in_ch", None) == 1:
        say(f"{path}: {read.name} has one channel: it upscales the luma, bicubic interpolation upscales the chroma.")
        network = LumaOnly(network)
    return network


def _listed(scales: tuple[int, ...]) -> str:
    return ", ".join(map(str, scales))
