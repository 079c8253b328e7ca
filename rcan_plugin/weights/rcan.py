"""Reads RCAN's arguments from the shapes of its weights (keys of BasicSR's `RCAN` and of `RCANArch`)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

BLOCK = r"body\.(\d{1,6})\.residual_group\.(\d{1,6})\.rcab\.0\.weight"
TRANSPOSED_KERNELS = {4: 2, 9: 3}
"""Scale of a transposed convolution of `layers.upsampler` by its kernel size."""


def arguments(weights: Mapping[str, Tensor], unshuffle: int = 1, num_out_ch: int | None = None) -> dict[str, Any]:
    """Return the arguments of `RCANArch` that follow from shapes; an empty dict if the weights are not RCAN's.

    `upscale` is left out if two values fit: a `nearest` upsampler of one step has scale 2 or 3. `activate_all` is left
    out if the upsampler has less than two steps.

    Args:
        weights: state dict with the keys of `RCANArch`.
        unshuffle: the network's argument; it does not follow from shapes.
        num_out_ch: the network's argument; the shapes of a `direct` upsampler do not show it. None: `num_in_ch`.

    Raises:
        ValueError: the first convolution's channels are not a multiple of `unshuffle` squared.
    """
    # Only weights of convolutions; others are reported as tensors of another shape. A flat file may hold numbers too.
    weights = {
        key: value for key, value in weights.items() if isinstance(value, Tensor) and value.dim() == 4 and value.numel()
    }
    blocks = [match for key in weights if (match := re.fullmatch(BLOCK, key))]
    first, last = weights.get("conv_first.weight"), weights.get("conv_last.weight")
    if not blocks or first is None or (last is None and not _is_direct(weights)):
        return {}
    num_feat, inputs = first.shape[:2]
    if inputs % unshuffle**2:
        raise ValueError(
            f"unshuffle is {unshuffle}, but its first convolution has {inputs} channels, no multiple of "
            f"{unshuffle**2}: leave unshuffle out."
        )
    found: dict[str, Any] = {
        "num_in_ch": inputs // unshuffle**2,
        "num_out_ch": num_out_ch or inputs // unshuffle**2 if last is None else last.shape[0],
        "num_feat": num_feat,
        "num_group": 1 + max(int(match[1]) for match in blocks),
        "num_block": 1 + max(int(match[2]) for match in blocks),
    }
    squeezed = weights.get("body.0.residual_group.0.rcab.3.attention.1.weight")
    found["channel_attention"] = squeezed is not None
    if squeezed is not None:
        found["squeeze_factor"] = num_feat // squeezed.shape[0]
    tail = _direct_upsampler(weights, found["num_out_ch"]) if last is None else _upsampler(weights, num_feat)
    if "upscale" in tail:
        tail["upscale"] //= unshuffle
    return found | tail


def _is_direct(weights: Mapping[str, Tensor]) -> bool:
    return [key for key in weights if key.startswith("upsample.")] == ["upsample.0.weight"]


def _direct_upsampler(weights: Mapping[str, Tensor], num_out_ch: int) -> dict[str, Any]:
    scale = math.isqrt(len(weights["upsample.0.weight"]) // num_out_ch)
    fits = num_out_ch * scale**2 == len(weights["upsample.0.weight"])
    return {"upsampler": "direct"} | ({"upscale": scale} if fits else {})


def _upsampler(weights: Mapping[str, Tensor], num_feat: int) -> dict[str, Any]:
    convs = {
        int(match[1]): weight
        for key, weight in weights.items()
        if (match := re.fullmatch(r"upsample\.(\d{1,6})\.weight", key))
    }
    if not convs:
        return {"upscale": 1}
    (start, conv), *others = sorted(convs.items())
    found: dict[str, Any] = {}
    layers_of_a_step = 2
    if start == 1:
        found["upsampler"] = "nearest"
        if others:
            found["upscale"] = 2 ** len(convs)
    elif step := TRANSPOSED_KERNELS.get(conv.shape[-1]):
        layers_of_a_step = 1
        found |= {"upsampler": "transposed", "upscale": step ** len(convs)}
    else:
        found["upsampler"] = "subpixel"
        steps = [weight.shape[0] / num_feat for weight in convs.values()]
        if all(step in (4, 9) for step in steps):
            found["upscale"] = math.isqrt(int(math.prod(steps)))
    if others:
        found["activate_all"] = others[0][0] - start > layers_of_a_step
    return found
