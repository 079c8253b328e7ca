"""How far a network looks: the receptive field, found by running the network, whatever it is made of."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

WIDTHS = (32, 128, 512)
"""Sides of the images on which a network is tried, in pixels: a radius up to a bit less than 256 is found."""
SHIFTS = (1, 2, 4, 8, 16, 32)
TOLERANCE = 1e-4  # of the largest value: rounding of float32 in deep networks

Apply = Callable[[nn.Module, Tensor], Tensor]
"""Runs a network on N x C x H x W."""


@dataclass(frozen=True)
class ReceptiveField:
    """What a pixel of the result depends on.

    Attributes:
        radius: the most pixels of the input, in each direction, between a pixel and one that it depends on. None: it
            depends on the whole image (global pooling), or further than could be found.
        multiple: crops that begin at multiples of it have the values of the whole image, where `radius` is not None.
    """

    radius: int | None
    multiple: int = 1


def find_receptive_field(network: nn.Module, apply: Apply, channels: int, scale: int, least: int = 4) -> ReceptiveField:
    """Find the receptive field of a network, in seconds.

    A column of the input is set to NaN, which convolutions, activations and normalisations hand on: NaN in the result
    are what depends on that column. Then a crop is compared with the crop of the whole.

    Args:
        network: the network, in evaluation mode. It is not changed.
        apply: runs it, on a copy in float32 on the CPU.
        channels, scale: of the network.
        least: the smallest side of an image that it takes.
    """
    network = copy.deepcopy(network).cpu().float()

    def run(x: Tensor) -> Tensor:
        return apply(network, x)

    with torch.no_grad():
        for turn in (_as_it_is, _turned):
            radius = _radius(run, channels, scale, max(4, least), turn)

    with torch.no_grad():
        radius = _radius(run, channels, scale, max(4, least))
        if radius is None:
            return ReceptiveField(None)
        multiple = _multiple(run, channels, scale, radius, max(4, least))
    return ReceptiveField(None) if multiple is None else ReceptiveField(radius, multiple)
