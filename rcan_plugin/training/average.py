"""Exponential moving average (EMA) of a network's weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the network's: decay * average + (1 - decay) * weight.

    Buffers are copied as they are. All weights are updated by a few multi-tensor operations, in place.

    Args:
        average: network of the averaged weights; changed in place.
        net: network being trained, of the same class.
        decay: 0 copies the weights.
    """
    averaged: list[torch.Tensor] = list(average.parameters())
    weights: list[torch.Tensor] = list(net.parameters())
    torch._foreach_mul_(averaged, decay)
    torch._foreach_add_(averaged, weights, alpha=1 - decay)
    for target, buffer in zip(average.buffers(), net.buffers(), strict=True):
        target.copy_(buffer)
