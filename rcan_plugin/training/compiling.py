"""Compilation of a network's repeated blocks: one compilation serves all of them."""

from __future__ import annotations

import types
from collections import defaultdict
from typing import Any

import torch
from torch import nn


def repeated_blocks(net: nn.Module) -> list[nn.Module]:
    """The submodules of the class that occurs most often, such as RCAN's RCAB.

    Classes of torch.nn and modules without parameters do not count. Of classes that occur equally often, the one with
    the most parameters is chosen, which is the outer one if one contains the other.

    Raises:
        ValueError: no class occurs more than once.
    """
    by_class: dict[type[nn.Module], list[nn.Module]] = defaultdict(list)
    for module in net.modules():
        if not type(module).__module__.startswith("torch.nn.") and next(module.parameters(), None) is not None:
            by_class[type(module)].append(module)

    def rank(blocks: list[nn.Module]) -> tuple[int, int]:
        return len(blocks), sum(parameter.numel() for block in blocks for parameter in block.parameters())

    most = max(by_class.values(), key=rank, default=[])
    if len(most) < 2:
        raise ValueError(
            f"compile: blocks: {type(net).__name__} has no repeated blocks; for training, use compile: true."
        )
    return most


def compile_blocks(net: nn.Module, training: bool, dynamic: bool | None) -> str:
    """Compile the repeated blocks of a network in place; its state-dict keys do not change.

    The blocks share one compiled function, which is compiled at its first call and for each new shape of input. It is
    used only in the given mode, so that validation during training does not compile for the shapes of its images.

    Args:
        net: the network.
        training: use the compiled function in training mode if true, in evaluation mode if false.
        dynamic: as in `torch.compile`.

    Returns:
        What is compiled, for the log: `200 x RCAB`.
    """
    blocks = repeated_blocks(net)
    for limit in ("recompile_limit", "cache_size_limit"):  # the name in newer and in older versions of torch
        if hasattr(torch._dynamo.config, limit):
            setattr(torch._dynamo.config, limit, max(64, getattr(torch._dynamo.config, limit)))
    plain = type(blocks[0]).forward
    compiled = torch.compile(plain, dynamic=dynamic)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return (compiled if self.training == training else plain)(self, *args, **kwargs)

    for block in blocks:
        block.forward = types.MethodType(forward, block)  # type: ignore[method-assign]
    return f"{len(blocks)} x {type(blocks[0]).__name__}"
