"""Replaces `DistributedDataParallel`, without its hooks: ranks start with equal weights and average their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def share_weights(net: nn.Module) -> None:
    """Copy the weights and buffers of rank 0 to all ranks, as `DistributedDataParallel` does at its start."""
    for value in net.state_dict().values():
        contiguous = value.contiguous()  # not all backends send other memory formats
        torch.distributed.broadcast(contiguous, 0)
        value.copy_(contiguous)


@torch.no_grad()
def average_gradients(gradients: Sequence[Tensor]) -> None:
    """Replace gradients by their mean over all ranks, in place, with a single exchange.

    Args:
        gradients: of the same parameters in the same order on all ranks, of one type and device.
    """
    if not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    flat.div_(torch.distributed.get_world_size())
    torch.distributed.all_reduce(flat)
    parts = flat.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(
        list(gradients), [part.view(gradient.shape) for part, gradient in zip(parts, gradients, strict=True)]
    )


def several_ranks() -> bool:
    """Whether this process is one of several that train together."""
    return torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
