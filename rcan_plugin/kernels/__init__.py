"""Fused RCAB (residual channel attention block, RCAN paper, section 3.2) in Triton, for half precision on CUDA.

The whole block, forward and backward, with the pointwise operations in the convolutions' kernels. Triton is imported at
the first use only: it does not exist for macOS and Windows.
"""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import Tensor

from rcan_plugin.kernels.configs import CHANNELS

__all__ = ["CHANNELS", "rcab", "unsupported"]


def _dtype(x: Tensor) -> torch.dtype:
    """The dtype to compute in: that of autocast if it is on, otherwise that of `x`."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def unsupported(x: Tensor) -> str | None:
    """Return the reason why the kernels cannot run on `x`, N x C x H x W; None if they can.

    With `TRITON_INTERPRET=1` set before the first use, they run on the CPU (slowly) in float16 or float32.

    >>> unsupported(torch.zeros(1, 48, 8, 8))
    '48 channels: expected one of 16, 32, 64'
    """
    if x.ndim != 4:
        return f"shape {tuple(x.shape)}: expected N x C x H x W"
    if x.shape[1] not in CHANNELS:
        return f"{x.shape[1]} channels: expected one of {', '.join(map(str, CHANNELS))}"
    if x.numel() == 0:
        return f"an empty input, shape {tuple(x.shape)}"
    if x.numel() >= 2**31:
        return f"{x.numel()} elements: expected fewer than 2**31 (offsets are 32-bit)"
    if not _has_triton():
        return "triton is not installed"
    if x.device.type == "cuda":
        interpreted = False
        capability = torch.cuda.get_device_capability(x.device)
        if torch.version.cuda and capability < (8, 0):
            return f"compute capability {capability[0]}.{capability[1]}: expected 8.0 (Ampere) or newer"
    else:
        interpreted = x.device.type == "cpu" and _interprets()
        if not interpreted:
            return f"device {x.device}: expected a CUDA device"
    # The interpreter multiplies bfloat16 as if it were integers.
    expected = (torch.float16, torch.float32) if interpreted else (torch.bfloat16, torch.float16)
    if (dtype := _dtype(x)) not in expected:
        return f"dtype {dtype}: expected one of {expected}, by autocast or by the network's dtype"
    return None


def rcab(
    x: Tensor,
    weight_1: Tensor,
    bias_1: Tensor,
    weight_2: Tensor,
    bias_2: Tensor,
    attention_weight_1: Tensor,
    attention_bias_1: Tensor,
    attention_weight_2: Tensor,
    attention_bias_2: Tensor,
    *,
    res_scale: float = 1.0,
) -> Tensor:
    """Residual channel attention block: `x + res_scale * y * attention(y)`, y = conv(relu(conv(x))).

    Computes in autocast's dtype if it is on, otherwise in that of `x`, and accumulates in float32. Parameters may have
    any floating dtype; each gradient has the dtype of its parameter. Not twice differentiable.

    Args:
        x: N x C x H x W; C one of 16, 32, 64. Other memory formats than channels-last are copied.
        weight_1, weight_2: C x C x 3 x 3 (padding 1); channels-last weights in the dtype above are not copied.
        bias_1, bias_2: C.
        attention_weight_1, attention_bias_1: S x C x 1 x 1 and S; a ReLU follows.
        attention_weight_2, attention_bias_2: C x S x 1 x 1 and C; a sigmoid follows.
        res_scale: factor on the residual.

    Returns:
        N x C x H x W, channels-last, in the dtype above.

    Raises:
        ValueError: `unsupported(x)` gives a reason, or a parameter has another shape or device.
    """
    if reason := unsupported(x):
        raise ValueError(f"rcab: {reason}.")
    c, s = x.shape[1], attention_weight_1.shape[0]
    parameters = {
        "weight_1": (weight_1, (c, c, 3, 3)),
        "bias_1": (bias_1, (c,)),
        "weight_2": (weight_2, (c, c, 3, 3)),
        "bias_2": (bias_2, (c,)),
        "attention_weight_1": (attention_weight_1, (s, c, 1, 1)),
        "attention_bias_1": (attention_bias_1, (s,)),
        "attention_weight_2": (attention_weight_2, (c, s, 1, 1)),
        "attention_bias_2": (attention_bias_2, (c,)),
    }
    for name, (value, shape) in parameters.items():
        if value.shape != shape or value.device != x.device:
            raise ValueError(
                f"rcab: {name} has shape {tuple(value.shape)} on {value.device}: expected {shape} on {x.device}."
            )
    from rcan_plugin.kernels.function import run

    return run(x, tuple(value for value, _ in parameters.values()), res_scale, _dtype(x))


def _has_triton() -> bool:
    try:
        return importlib.util.find_spec("triton") is not None
    except ValueError:  # a stub without a spec in `sys.modules`
        return False


def _interprets() -> bool:
    if os.environ.get("TRITON_INTERPRET") != "1":
        return False  # do not import triton, which takes a second
    from rcan_plugin.kernels.function import interprets

    return interprets()
