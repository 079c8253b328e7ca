"""Gradient clipping, as an option file describes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

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


def clip(optimizer: torch.optim.Optimizer, kind: str, theta: float) -> None:
    """Clip the gradients of an optimizer's parameters in place.

    Args:
        optimizer: holds the parameters and their learning rates.
        kind: `norm`: the norm of all gradients together is limited to `theta`; `value`: each value is limited to
            -theta..theta; `adjustable`: each value is limited to -theta / lr..theta / lr, lr being the parameter's
            learning rate in this step ("Accurate Image Super-Resolution Using Very Deep Convolutional Networks",
            CVPR 2016, adjustable gradient clipping); `adjustable_norm`: the norm of all gradients together is limited
            to theta / lr, lr being the largest rate, as in the patched Caffe of DRRN's authors (README of their code).
        theta: the bound.
    """
    if kind in ("norm", "adjustable_norm"):
        rate = max(group["lr"] for group in optimizer.param_groups)
        bound = theta / rate if kind == "adjustable_norm" and rate > 0 else theta
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, bound)
        return
    for group in optimizer.param_groups:
        bound = theta / group["lr"] if kind == "adjustable" and group["lr"] > 0 else theta
        torch.nn.utils.clip_grad_value_(group["params"], bound)
