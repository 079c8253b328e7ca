"""Number of parameters and of multiply-adds of a network."""

from __future__ import annotations

import copy

import torch
from torch import nn


def parameters(net: nn.Module) -> int:
    """The number of trainable values."""
    return sum(parameter.numel() for parameter in net.parameters())


def multiply_adds(net: nn.Module, height: int, width: int) -> int:
    """Multiply-adds for one input of height x width, counted on torch's meta device."""
    from torch.utils.flop_counter import FlopCounterMode

    on_meta = copy.deepcopy(net).to("meta").eval()
    image = torch.zeros(1, int(getattr(net, "num_in_ch", 3)), height, width, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        on_meta(image)
    return counter.get_total_flops() // 2
