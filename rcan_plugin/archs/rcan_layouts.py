"""Layouts of RCAN's weights that `RCANArch` loads: key names of the authors' code and of code derived from it.

| code | names |
| --- | --- |
| yulunzhang/RCAN, `RCAN_TrainCode/code/model/rcan.py`: "the authors'" | `head.0`, `body.g.body.b.body.i`, `tail`, `sub_mean`, `add_mean` |
| the-database/traiNNer-redux, `traiNNer/archs/rcan_arch.py` (`rcan`, `rcan_l`, `rcan_unshuffle`) | the same; `norm: false`, the default: no `sub_mean`; unshuffled input: `head.1` |
| muslll/neosr, `neosr/archs/rcan_arch.py` | as redux |
| zudi-lin/rcan-it, `ptsr/model/arch.py`, `common.py` (`rcan_block`, `OUT_CONV`) | `excitation` in place of `conv_du`; `tail.0.0`, `.3`, `.6`: an activation after each step |
"""  # noqa: E501

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rcan_plugin.archs.layers import DIV2K_MEAN

ATTENTION = r"body\.(\d+)\.body\.(\d+)\.body\.3\.(?:conv_du|excitation)\."
RULES = (
    (r"head\.[01]\.", r"conv_first."),
    (ATTENTION + r"0\.", r"body.\1.residual_group.\2.rcab.3.attention.1."),
    (ATTENTION + r"2\.", r"body.\1.residual_group.\2.rcab.3.attention.3."),
    (r"body\.(\d+)\.body\.(\d+)\.body\.", r"body.\1.residual_group.\2.rcab."),
    (r"body\.(\d+)\.body\.\d+\.(?=weight|bias)", r"body.\1.conv."),
    (r"body\.\d+\.(?=weight|bias)", r"conv_after_body."),
    (r"tail\.0\.", r"upsample."),
    (r"tail\.1\.", r"conv_last."),
)
"""From the authors' names to those of `RCANArch`, for G groups of B blocks: `head.0`; `body.g.body.b.body.0`, `.2`,
`.3.conv_du.0` and `.3.conv_du.2`; `body.g.body.B`; `body.G`; `tail.0.i`; `tail.1`."""
CONSTANTS = ("sub_mean.", "add_mean.")
BLOCK = r"body\.\d+\.body\.\d+\.body\.\d+\."
SAME_MEAN = 1e-4
"""Largest difference of equal means, range 0 to 1: messages give four digits."""


def has_authors_names(weights: Mapping[str, Any]) -> bool:
    """Whether weights have the authors' key names, or those of code derived from theirs."""
    return any(key.startswith(("head.0.", "head.1.")) for key in weights) and any(
        re.match(BLOCK, key) for key in weights
    )


def own_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the authors' keys to those of `RCANArch`; `sub_mean` and `add_mean` are left out.

    >>> sorted(own_names({"head.0.bias": 0, "body.0.body.1.body.3.conv_du.2.bias": 1, "body.1.bias": 2}))
    ['body.0.residual_group.1.rcab.3.attention.3.bias', 'conv_after_body.bias', 'conv_first.bias']
    """
    return {renamed(key, RULES): value for key, value in weights.items() if not key.startswith(CONSTANTS)}


def renamed(key: str, rules: Sequence[tuple[str, str]]) -> str:
    """Rename a key by the first rule, a pattern and its replacement, that matches its beginning."""
    for pattern, replacement in rules:
        new_key, count = re.subn("^" + pattern, replacement, key)
        if count:
            return new_key
    return key


def shown_arguments(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `RCANArch` that follow from the key names."""
    unshuffle = 1
    first, last = weights.get("head.1.weight"), weights.get("tail.1.weight")
    if first is not None and last is not None and first.dim() > 1 and last.dim() and len(last):
        unshuffle = math.isqrt(first.shape[1] // last.shape[0])
    return {"unshuffle": unshuffle, "activate_all": _is_rcan_it(weights)}


def assumed_arguments(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `RCANArch` that no file shows, as in the code with these key names.

    The blocks of the authors, redux and neosr ignore their `res_scale`. RCAN-it: `RES_SCALE` in
    `ptsr/config/defaults.py`, `ACT_MODE` in `configs/RCAN/RCAN_Improved.yaml`, with which its public weights were
    trained; `RCAN_Base.yaml` has `relu`.
    """
    if _is_rcan_it(weights):
        return {"activation": "silu", "res_scale": 0.1}
    return {"activation": "relu", "res_scale": 1.0}


def _is_rcan_it(weights: Mapping[str, Any]) -> bool:
    return any(".excitation." in key for key in weights)


def mean_times_range(weights: Mapping[str, Tensor]) -> Tensor | None:
    """The mean of each channel in the range of the network, which `sub_mean` subtracts; None without `sub_mean`.

    `sub_mean` and `add_mean` are 1x1 convolutions: identity, and minus and plus the mean times the range. Training may
    have changed them: the authors and redux set `requires_grad` of the module, which leaves its parameters trainable.
    """
    bias = weights.get("sub_mean.bias")
    if bias is None:
        return None
    try:
        return -torch.linalg.solve(_matrix(weights, "sub_mean"), bias.double().cpu())
    except torch.linalg.LinAlgError:
        raise ValueError("its sub_mean is a matrix that cannot be inverted: it is damaged") from None


def without_mean_shift(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename to the keys of `RCANArch`, and move what training changed in `sub_mean` and `add_mean` into the weights.

    The output stays the same, for a network whose mean times range is `mean_times_range(weights)`. Weights whose
    `sub_mean` and `add_mean` are untouched stay as they are.

    Raises:
        ValueError: they are not 1x1 convolutions between the network's channels, or cannot be inverted.
    """
    own = own_names(weights)
    mean = mean_times_range(weights)
    if mean is None:
        return own
    before, after = _matrix(weights, "sub_mean"), _matrix(weights, "add_mean")
    added = weights.get("add_mean.bias", mean)
    first, last, bias = (own.get(key) for key in ("conv_first.weight", "conv_last.weight", "conv_last.bias"))
    channels = len(before)
    if (
        (first is not None and (first.dim() != 4 or first.shape[1] % channels))
        or (last is not None and (last.dim() != 4 or len(last) != channels))
        or any(value is not None and value.shape != (channels,) for value in (added, bias))
    ):
        raise ValueError(f"its sub_mean and add_mean have {channels} channels, its first or last convolution others")
    offset = added.double().cpu() - mean
    if first is not None and not _is_identity(before):
        by_channel = first.double().cpu().unflatten(1, (len(before), -1))  # a channel's unshuffled pixels are adjacent
        own["conv_first.weight"] = torch.einsum("ockhw,cd->odkhw", by_channel, before).flatten(1, 2).to(first)
    if last is not None and bias is not None and (bool(offset.any()) or not _is_identity(after)):
        own["conv_last.weight"] = torch.einsum("oc,cihw->oihw", after, last.double().cpu()).to(last)
        own["conv_last.bias"] = (after @ bias.double().cpu() + offset).to(bias)
    return own


def _matrix(weights: Mapping[str, Tensor], name: str) -> Tensor:
    bias, weight = weights["sub_mean.bias"], weights.get(f"{name}.weight")
    channels = bias.numel()
    if weight is None:
        weight = torch.eye(channels)
    if (
        bias.shape != (channels,)
        or not channels
        or weight.squeeze((2, 3) if weight.dim() == 4 else ()).shape != (channels,) * 2
    ):
        raise ValueError(f"its {name} is no 1x1 convolution of {channels} channels: {tuple(weight.shape)}")
    return weight.double().cpu().flatten(1)


def _is_identity(matrix: Tensor) -> bool:
    return torch.equal(matrix, torch.eye(len(matrix), dtype=matrix.dtype))


def likely_range(mean: Tensor) -> float:
    """The range inside the network, 255 or 1, guessed from its mean times the range (not all zero)."""
    return 255.0 if bool((mean.abs() > 1).any()) else 1.0


def default_mean(channels: int) -> tuple[float, ...]:
    """The mean of DIV2K for three channels, its average for any other number."""
    return DIV2K_MEAN if channels == 3 else (sum(DIV2K_MEAN) / 3,) * channels


def rounded(values: Tensor) -> list[float]:
    """Values rounded to four digits, for messages."""
    return [round(value, 4) for value in values.tolist()]


def as_options(arguments: Mapping[str, Any]) -> str:
    """Arguments as text of an option file: `img_range: 255, upscale: 4`."""
    return ", ".join(f"{name}: {_written(value)}" for name, value in arguments.items())


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(round(item, 4)) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
