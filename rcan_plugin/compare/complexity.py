"""Counts the parameters and multiply-adds of a network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode


def parameters(net: nn.Module) -> int:
    """The number of trainable values."""
    return sum(parameter.numel() for parameter in net.parameters())


def multiply_adds(net: nn.Module, height: int, width: int) -> int:
    """Multiply-adds for one input of height x width, counted on the meta device."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    tensors: dict[str, torch.Tensor] = {name: mode.from_tensor(tensor.detach()) for name, tensor in _tensors(net)}
    device = next(iter(tensors.values())).device
    with torch.no_grad(), mode, FlopCounterMode(display=False) as counter:
        image = torch.zeros(1, int(getattr(net, "num_in_ch", 3)), height, width, device=device)
        torch.func.functional_call(net, tensors, (image,))
    return counter.get_total_flops() // 2


def _tensors(net: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    return itertools.chain(net.named_parameters(), net.named_buffers())
