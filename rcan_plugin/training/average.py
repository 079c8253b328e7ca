"""Exponential moving average (EMA) of a network's weights."""

from __future__ import annotations

import torch
from torch import nn


class Average:
    """Moves averaged weights towards a network's, after each step: `average.update(decay)`.

    The modules are listed once: for a network as deep as RCAN, iterating over them takes longer than a training step on
    a GPU.

    Args:
        averaged: network of the averaged weights; changed in place.
        net: network being trained, of the same class.
    """

    def __init__(self, averaged: nn.Module, net: nn.Module) -> None:
        self.averaged = averaged
        self.parameters: list[torch.Tensor] = list(averaged.parameters())
        self.weights: list[torch.Tensor] = list(net.parameters())
        # Modules instead of their buffers: some networks replace their buffers by new tensors.
        pairs = zip(averaged.modules(), net.modules(), strict=True)
        self.with_buffers = [
            (one, other) for one, other in pairs if next(other.buffers(recurse=False), None) is not None
        ]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Average: decay * averaged + (1 - decay) * weight, by a few multi-tensor operations. Buffers are copied.

        Buffers that only one of the networks has, or that differ in shape, are not copied: a network may build them in
        its forward pass, for the size of the image.

        Args:
            decay: 0 copies the weights.
        """
        torch._foreach_mul_(self.parameters, decay)
        torch._foreach_add_(self.parameters, self.weights, alpha=1 - decay)
        for averaged, module in self.with_buffers:
            for name, target in averaged.named_buffers(recurse=False):
                buffer = getattr(module, name, None)
                if buffer is not None and buffer.shape == target.shape:
                    target.copy_(buffer)
