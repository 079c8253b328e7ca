"""Gradient clipping, as an option file describes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from rcan_plugin._checks import is_number

CLIPPINGS = ("norm", "value", "adjustable", "adjustable_norm")


def read_clipping(option: Any) -> tuple[str, float] | None:
    """`{norm: 1.0}`, `{adjustable: 0.01}` ... as (kind, number); None stays None.

    Raises:
        ValueError: anything else.
    """
    if option is None:
        return None
    if isinstance(option, Mapping) and len(option) == 1:
        ((kind, number),) = option.items()
        if kind in CLIPPINGS and is_number(number, (int, float)) and 0 < number < math.inf:
            return kind, float(number)
    raise ValueError(
        f"train: grad_clip is {option!r}; expected one of " + ", ".join(f"{{{kind}: N}}" for kind in CLIPPINGS) + "."
    )


def clip(optimizer: torch.optim.Optimizer, kind: str, number: float) -> None:
    """Clip gradients in place.

    Args:
        optimizer: whose parameters' gradients.
        kind: `norm`: the norm of all of them together to `number`; `value`: each value to -number..number;
            `adjustable`: each value to -number / lr..number / lr, lr being the parameter's rate in this step: "Accurate
            Image Super-Resolution Using Very Deep Convolutional Networks" (CVPR 2016), adjustable gradient clipping;
            `adjustable_norm`: the norm of all of them together to number / lr, lr being the largest rate, as the
            patched Caffe of DRRN's authors does (README of their code).
        number: the bound, theta.
    """
    if kind in ("norm", "adjustable_norm"):
        rate = max(group["lr"] for group in optimizer.param_groups)
        bound = number / rate if kind == "adjustable_norm" and rate > 0 else number
        torch.nn.utils.clip_grad_norm_([one for group in optimizer.param_groups for one in group["params"]], bound)
        return
    for group in optimizer.param_groups:
        bound = number / group["lr"] if kind == "adjustable" and group["lr"] > 0 else number
        torch.nn.utils.clip_grad_value_(group["params"], bound)
