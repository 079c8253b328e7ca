"""Converts RCAN weights of every known layout to `RCANArch`'s keys and arguments, and to the authors' layout.

`rcan_plugin.archs.rcan_layouts` lists the layouts and their sources.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rcan_plugin._checks import is_number, require_whole
from rcan_plugin.archs import rcan_layouts
from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.weights import rcan
from rcan_plugin.weights.state_dicts import StateDict

Arguments = dict[str, Any]

LEAST_MEAN = 0.05
"""If the mean times the range is smaller, the range could be 1 or 255."""
ACTIVATIONS = {"swish": "silu", "efficient_swish": "silu"}
"""Other names of activations in metadata."""


class NotRCAN(ValueError):
    """The weights are not those of an RCAN."""


def to_own(
    state_dict: Mapping[str, Tensor], metadata: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[StateDict, Arguments, list[str]]:
    """Convert RCAN weights of any known layout to `RCANArch`.

    Args:
        state_dict: the weights; prefixes `module.` are dropped.
        metadata: metadata of the file. traiNNer-redux's hyperparameters in it are read (JSON in safetensors files).
        given: arguments of `RCANArch` from the user; they override metadata and assumptions.

    Returns:
        The weights with the keys of `RCANArch`, its arguments, and a line for each assumption about arguments that the
        file does not show.

    Raises:
        NotRCAN: the weights are not those of an RCAN.
        ValueError: the file fits two kinds of networks (the message names the argument that decides); it contradicts
            `given` or its metadata; or it is a variant of RCAN that `RCANArch` does not support.
    """
    weights = {key.removeprefix("module."): value for key, value in state_dict.items()}
    if unknown := given.keys() - _defaults().keys():
        raise ValueError(f"RCANArch has no argument {', '.join(sorted(unknown))}; it has {', '.join(_defaults())}.")
    stored = _stored(metadata)
    _check_kinds({**stored, **given})
    if rcan_layouts.has_authors_names(weights):
        shown = _shown_by_names(weights)
        assumptions = [
            *_mean_and_range(weights, shown["num_in_ch"], stored, given),
            *_blocks(weights, stored),
        ]
        own = rcan_layouts.without_mean_shift(weights)
    else:
        own = weights
        shown = _shown_by_shapes(weights, given)
        assumptions = [_of_basicsr(shown)]
    if contradicting := {name for name in given if name in shown and given[name] != shown[name]}:
        raise ValueError(
            "; ".join(
                f"{name} is {shown[name]} in its tensors, {given[name]!r} is given" for name in sorted(contradicting)
            )
            + ": leave it out."
        )
    found, remarks = dict(shown), []
    for arguments, reason in assumptions:
        assumed = {name: value for name, value in arguments.items() if name not in {*found, *given}}
        found |= assumed
        if assumed and reason:
            remarks.append(f"{rcan_layouts.as_options(assumed)}: {reason}")
    found |= given
    if "upscale" not in found:
        if found["upsampler"] == "direct":
            raise ValueError(
                f"its upsampler (direct) has {len(own['upsample.0.weight'])} channels, which is no square number times "
                f"num_out_ch {found['num_out_ch']}: give the num_out_ch of the network."
            )
        raise ValueError("its upsampler (nearest, one step) fits scale 2 and scale 3: give upscale: 2 or upscale: 3.")
    return own, {name: found[name] for name in _defaults() if name in found}, remarks


def _defaults() -> Arguments:
    parameters = inspect.signature(RCANArch).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def _check_kinds(values: Mapping[str, Any]) -> None:
    """Check the values that this module computes with; `RCANArch` checks the others."""
    for name in ("img_range", "rgb_range"):
        value = values.get(name, 1)
        if not (is_number(value, (int, float)) and value > 0):
            raise ValueError(f"{name} is {value!r}; expected a number above 0.")
    for name in ("unshuffle", "num_out_ch"):
        require_whole(name, values.get(name, 1))
    mean = values.get("rgb_mean", ())
    if not (isinstance(mean, list | tuple) and all(is_number(value, (int, float)) for value in mean)):
        raise ValueError(f"rgb_mean is {mean!r}; expected a list of numbers, such as [0, 0, 0].")


def _stored(metadata: Mapping[str, Any]) -> Arguments:
    """The hyperparameters that traiNNer-redux stores (`save_network` in `traiNNer/models/base_model.py`)."""
    stored = metadata.get("metadata", {})
    if isinstance(stored, str):
        try:
            stored = json.loads(stored)
        except ValueError:
            return {}
    return dict(stored) if isinstance(stored, Mapping) and "n_resgroups" in stored else {}


def _shown_by_names(weights: StateDict) -> Arguments:
    shown = rcan_layouts.shown_arguments(weights)
    own = rcan_layouts.own_names(weights)
    by_shapes = rcan.arguments(own, shown["unshuffle"])
    if not by_shapes:
        raise NotRCAN("it has key names of RCAN, but not its first, last or inner convolutions.")
    _check_kind(own)
    if by_shapes.get("activate_all", shown["activate_all"]) != shown["activate_all"]:
        raise ValueError(
            "its attention has the key names of one RCAN and its upsampler those of another: only RCAN-it has "
            "'excitation', and only RCAN-it has activations between the steps of its upsampler."
        )
    return by_shapes | shown


def _shown_by_shapes(weights: StateDict, given: Mapping[str, Any]) -> Arguments:
    by_shapes = rcan.arguments(weights, given.get("unshuffle", 1), given.get("num_out_ch"))
    if not by_shapes:
        raise NotRCAN(f"it is no RCAN; its tensors begin with {', '.join(list(weights)[:3]) or 'nothing'}.")
    _check_kind(weights)
    inputs, outputs = by_shapes["num_in_ch"], by_shapes["num_out_ch"]
    if by_shapes.get("upsampler") == "direct":  # its channels are those of the input, which may be unshuffled
        outputs = 3
    for factor in (2, 3, 4):
        if "unshuffle" not in given and inputs == outputs * factor**2:
            raise ValueError(
                f"its first convolution has {inputs} channels: the input may be an image of {inputs} channels, or one "
                f"of {outputs} that is unshuffled: give unshuffle: 1 or unshuffle: {factor}."
            )
    return by_shapes


def _check_kind(own: StateDict) -> None:
    """Refuse variants of RCAN that `RCANArch` does not support."""
    size = own["conv_first.weight"].shape[-1]
    if size != 3:
        raise ValueError(f"its first convolution is {size} x {size} (kernel_size: {size}); RCANArch has only 3 x 3.")
    if learned := [key for key in own if key.endswith(".res_scale")]:
        raise ValueError(f"its residual scales are learned ({learned[0]}); RCANArch has one constant res_scale.")
    if "body.0.conv.weight" not in own:
        raise ValueError("its groups do not end in a convolution (OUT_CONV: False of RCAN-it); RCANArch's do.")


Assumption = tuple[Arguments, str]
"""Arguments, and the reason why they are assumed; an empty reason if the file or the user gives them."""


def _blocks(weights: StateDict, stored: Arguments) -> list[Assumption]:
    """Activation and residual scale of a file with the authors' names, or RCAN-it's."""
    if activation := stored.get("act_mode"):
        stated = [({"activation": ACTIVATIONS.get(activation, activation)}, "")]
    else:
        stated = []
    assumed = rcan_layouts.assumed_arguments(weights)
    if rcan_layouts.shown_arguments(weights)["activate_all"]:
        activation = "not in the file; RCAN-it's public weights have it (RCAN_Improved.yaml; RCAN_Base.yaml has relu)."
        res_scale = "not in the file; RCAN-it's default."
    else:
        activation = "not in the file; the authors' code has it, and by default that of traiNNer-redux and neosr."
        res_scale = ""  # their blocks have none
    reasons = {"activation": activation, "res_scale": res_scale}
    return [*stated, *(({name: value}, reasons[name]) for name, value in assumed.items())]


def _of_basicsr(shown: Arguments) -> Assumption:
    arguments = {
        "img_range": 255.0,
        "rgb_mean": list(rcan_layouts.default_mean(shown["num_in_ch"])),
        "res_scale": 1.0,
        "activation": "relu",
        "activate_all": False,
    }
    return arguments, "not in the file; the defaults of BasicSR's RCAN and of RCANArch."


def _mean_and_range(weights: StateDict, channels: int, stored: Arguments, given: Mapping[str, Any]) -> list[Assumption]:
    """Mean and range of a file with the authors' names, from `sub_mean` or its absence."""
    mean = rcan_layouts.mean_times_range(weights)
    if stored.get("norm", mean is not None) != (mean is not None):
        raise ValueError(
            f"its metadata has norm: {str(stored['norm']).lower()}, and it has {'no ' * (mean is None)}sub_mean: "
            "one of them was changed. Take the file as it was trained."
        )
    if mean is None:
        return [_without_mean(weights, channels, stored, given)]
    if len(mean) != channels:
        raise ValueError(f"its sub_mean has {len(mean)} channels, its first convolution {channels}.")
    if "img_range" in given or "rgb_range" in stored:
        img_range, reason = float(given.get("img_range", stored.get("rgb_range"))), ""
    else:
        if not bool((mean.abs() > LEAST_MEAN).any()):
            raise ValueError(
                "its sub_mean subtracts nothing, which fits any range: give img_range: 255 or img_range: 1."
            )
        img_range, reason = rcan_layouts.likely_range(mean), "by what its sub_mean subtracts."
    rgb_mean = mean / img_range
    if bool((rgb_mean.abs() > 1).any()):
        raise ValueError(
            f"img_range is {img_range:g}, and its sub_mean subtracts {rcan_layouts.rounded(mean)}, which is more: "
            f"give img_range: {rcan_layouts.likely_range(mean):g}."
        )
    if "rgb_mean" in given and not _equal(given["rgb_mean"], rgb_mean, rcan_layouts.SAME_MEAN):
        raise ValueError(
            f"rgb_mean is {rcan_layouts.rounded(rgb_mean)} in the file, {given['rgb_mean']} was given: leave it out."
        )
    exact = _equal(rcan_layouts.DIV2K_MEAN, rgb_mean, 1e-7)
    values = list(rcan_layouts.DIV2K_MEAN) if exact else [round(value, 9) for value in rgb_mean.tolist()]
    return [({"img_range": img_range, "rgb_mean": values}, reason)]


def _without_mean(weights: StateDict, channels: int, stored: Arguments, given: Mapping[str, Any]) -> Assumption:
    known = "norm" in stored
    usual = channels == 3 and not rcan_layouts.shown_arguments(weights)["activate_all"]
    if not (known or usual or "img_range" in given):
        raise ValueError(
            f"it has no sub_mean, and {channels} channels or RCAN-it's names: its range may be 1, as in "
            "traiNNer-redux, or 255, as in changed copies of the authors' code: give img_range: 1 or img_range: 255."
        )
    reason = "the file has no sub_mean, as those of traiNNer-redux and neosr, which have this range and no mean."
    return {"img_range": 1.0, "rgb_mean": [0.0] * channels}, "" if known else reason


def _equal(values_given: Any, other: Tensor, tolerance: float) -> bool:
    values = torch.as_tensor(values_given, dtype=torch.float64)
    return values.shape == other.shape and torch.allclose(values, other, rtol=0, atol=tolerance)


def to_authors(state_dict: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> StateDict:
    """Convert weights of `RCANArch` to the authors' layout, with `sub_mean` and `add_mean`.

    For range 1 and no mean, `sub_mean` and `add_mean` are omitted, as in traiNNer-redux and neosr. Unshuffled input is
    written as in redux.

    Args:
        state_dict: weights with the keys of `RCANArch`.
        arguments: arguments of `RCANArch`; missing ones have their defaults.

    Raises:
        ValueError: the layout cannot hold the arguments; the message gives each reason.
    """
    if reasons := authors_reasons(arguments):
        raise ValueError(f"the authors' layout cannot hold this network: {'; '.join(reasons)}.")
    full = _full(arguments)
    rules = (
        (r"conv_first\.", f"head.{int(full['unshuffle'] > 1)}."),
        (r"body\.(\d+)\.residual_group\.(\d+)\.rcab\.3\.attention\.1\.", r"body.\1.body.\2.body.3.conv_du.0."),
        (r"body\.(\d+)\.residual_group\.(\d+)\.rcab\.3\.attention\.3\.", r"body.\1.body.\2.body.3.conv_du.2."),
        (r"body\.(\d+)\.residual_group\.(\d+)\.rcab\.", r"body.\1.body.\2.body."),
        (r"body\.(\d+)\.conv\.", rf"body.\1.body.{full['num_block']}."),
        (r"conv_after_body\.", f"body.{full['num_group']}."),
        (r"upsample\.", "tail.0."),
        (r"conv_last\.", "tail.1."),
    )
    authors = {rcan_layouts.renamed(key, rules): value for key, value in state_dict.items()}
    mean = _mean(full) * full["img_range"]
    if full["img_range"] == 1 and not bool(mean.any()):
        return authors
    for name, bias in (("sub_mean", -mean), ("add_mean", mean)):
        authors[f"{name}.weight"] = torch.eye(3).view(3, 3, 1, 1)
        authors[f"{name}.bias"] = bias.float()  # in half precision, colours would be off by up to 0.06 of 255
    return authors


def authors_reasons(arguments: Mapping[str, Any]) -> list[str]:
    """Reasons why the authors' layout cannot hold a network with these arguments of `RCANArch`; empty if it can."""
    full = _full(arguments)
    needed = {
        "activation": "relu",
        "activate_all": False,
        "res_scale": 1,
        "long_skip": True,
        "short_skip": True,
        "channel_attention": True,
        "upsampler": "subpixel",
    }
    reasons = [
        f"{rcan_layouts.as_options({name: full[name]})} (it has {str(value).lower()})"
        for name, value in needed.items()
        if full[name] != value
    ]
    if full["num_in_ch"] != full["num_out_ch"]:
        reasons.append(f"num_in_ch {full['num_in_ch']} and num_out_ch {full['num_out_ch']} differ")
    if full["unshuffle"] > 1 and full["upscale"] * full["unshuffle"] != 4:
        reasons.append(f"upscale {full['upscale']} times unshuffle {full['unshuffle']} is not 4")
    return reasons + _reasons_of_range(full)


def _reasons_of_range(full: Arguments) -> list[str]:
    img_range, mean = full["img_range"], _mean(full)
    if img_range not in (1, 255):
        return [f"img_range {img_range:g} (it has 255, or 1)"]
    shifted = bool(mean.any()) or img_range == 255
    if shifted and full["num_in_ch"] != 3:
        return [f"img_range {img_range:g} or a mean with {full['num_in_ch']} channels (its sub_mean has 3)"]
    if img_range == 255 and bool(mean.any()) and not bool((mean.abs() * 255 > 1).any()):
        return [f"rgb_mean {rcan_layouts.rounded(mean)} is too small to tell range 255 from range 1"]
    return []


def spandrel_reasons(arguments: Mapping[str, Any]) -> list[str]:
    """Reasons why spandrel would not reproduce a network in the authors' layout; empty if it would.

    spandrel (`libs/spandrel/spandrel/architectures/RCAN/__init__.py`) reads sizes from shapes, and assumes ReLU, no
    residual scale, and range 255 if there is a `sub_mean`, otherwise range 1.
    """
    full = _full(arguments)
    reasons = authors_reasons(full)
    if full["img_range"] == 1 and bool(_mean(full).any()):
        reasons.append("img_range 1 with a mean (it takes every sub_mean for one of range 255)")
    if full["upscale"] == full["unshuffle"] == 1 and full["num_feat"] != 64:
        reasons.append(f"num_feat {full['num_feat']} with upscale 1 (it takes 64)")
    return reasons


def _full(arguments: Mapping[str, Any]) -> Arguments:
    return _defaults() | dict(arguments)


def _mean(full: Arguments) -> Tensor:
    given = full["rgb_mean"]
    values = rcan_layouts.default_mean(full["num_in_ch"]) if given is None else given
    return torch.as_tensor(values, dtype=torch.float64)
