"""Gradient clipping, as an option file describes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rcan_plugin._checks import is_number

CLIPPINGS = ("norm", "value", "adjustable", "adjustable_norm")


def read_clipping(option: Any) -> tuple[str, float] | None:
    """Parse `{norm: 1.0}`, `{adjustable: 0.01}` ... to (kind, bound); None stays None.

    Raises:
        ValueError: anything else.
    """
    if option is None:
        return None
    if isinstance(option, Mapping) and len(option) == 1:
        ((kind, bound),) = option.items()
        if kind in CLIPPINGS and is_number(bound, (int, float)) and 0 < bound < math.inf:
            return kind, float(bound)
    raise ValueError(
        f"train: grad_clip is {option!r}; expected one of " + ", ".join(f"{{{kind}: N}}" for kind in CLIPPINGS) + "."
    )


@torch.no_grad()
def clip(optimizer: torch.optim.Optimizer, kind: str, theta: float) -> None:
    """Clip the gradients of an optimizer's parameters in place.

    Args:
        optimizer: holds the parameters and their learning rates (numbers or tensors on the device). The host does not
            wait for the device.
        kind: `norm`: the norm of all gradients together is limited to `theta`; `value`: each value is limited to
            -theta..theta; `adjustable`: each value is limited to -theta / lr..theta / lr, lr being the parameter's
            learning rate in this step ("Accurate Image Super-Resolution Using Very Deep Convolutional Networks",
            CVPR 2016, adjustable gradient clipping); `adjustable_norm`: the norm of all gradients together is limited
            to theta / lr, lr being the largest rate, as in the patched Caffe of DRRN's authors (README of their code).
        theta: the bound.
    """
    if kind in ("norm", "adjustable_norm"):
        gradients = [gradient for group in optimizer.param_groups for gradient in _gradients(group)]
        if not gradients:
            return
        bound: float | Tensor = theta
        if kind == "adjustable_norm":
            rates = [group["lr"] for group in optimizer.param_groups]
            bound = _per_rate(theta, torch.stack(rates).max() if isinstance(rates[0], Tensor) else max(rates))
        # Like torch's clip_grad_norm_, which would wait for the device to read the bound.
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, torch.clamp(bound / (norm + 1e-6), max=1.0))
        return
    for group in optimizer.param_groups:
        bound = _per_rate(theta, group["lr"]) if kind == "adjustable" else theta
        gradients = _gradients(group)
        if isinstance(bound, Tensor):
            for gradient in gradients:
                gradient.clamp_(-bound, bound)
        elif gradients:
            torch._foreach_clamp_min_(gradients, -bound)
            torch._foreach_clamp_max_(gradients, bound)


def _per_rate(theta: float, rate: float | Tensor) -> float | Tensor:
    """theta / rate; theta itself for a rate of 0, with which a warm-up may begin."""
    if isinstance(rate, Tensor):
        return torch.where(rate > 0, theta / rate, torch.full_like(rate, theta))
    return theta / rate if rate > 0 else theta


def _gradients(group: dict[str, Any]) -> list[Tensor]:
    return [parameter.grad for parameter in group["params"] if parameter.grad is not None]
