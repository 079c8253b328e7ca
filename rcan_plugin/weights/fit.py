"""Checks that a network can load weights."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rcan_plugin.archs import rcan_layouts
from rcan_plugin.weights import files, rcan, state_dicts
from rcan_plugin.weights.state_dicts import StateDict

LEAST_FIT = 0.1
"""If a smaller fraction of a network's tensors fits, the weights are another network's. Less than 1 % of RCAN's tensors
fit EDSR, a third of those of LapSRN x8 fits LapSRN x2."""
MOST_FIT = 0.5
"""If at least this fraction fits, messages recommend to start from the tensors that fit."""


def check_weights(
    path: str | os.PathLike[str],
    build: Callable[[], nn.Module | None],
    param_key: str | None = "params",
    *,
    strict: bool = True,
    ema: bool = False,
    label: str = "g",
    any_layout: bool = False,
) -> None:
    """Check that a model can load a file of weights. If names or shapes differ, the network tries to load them.

    Args:
        path: the file.
        build: builds the network; if it returns None, only the file is checked.
        param_key: `param_key_g` of the option file, None for a flat file.
        strict: `strict_load_g`; false allows tensors to be missing or of another shape, to start x4 from x2.
        ema: the run has an averaged network, which BasicSR loads from `params_ema`, or from `params` if it is missing.
        label: letter of the network in the options' names: `g` or `d`.
        any_layout: the model loads with `any_layout`, see `state_dicts.choose`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it cannot be read, holds no weights, or none under that key; some are not finite; or they are
            another network's. The message is one line that begins with the path.
    """
    content = files.read(path)
    if files.is_safetensors(path) and not any_layout:
        raise ValueError(
            f"{path}: it is a safetensors file, which BasicSR's models do not read: set model_type: "
            "AcceleratedSRModel, or write a .pth file of it with `rcan convert-weights`."
        )
    try:
        chosen = dict([state_dicts.choose(content, param_key, f"param_key_{label}", any_layout)])
        if ema:
            chosen.update([_choose_average(content, param_key, any_layout)])
        network = build()
        for weights in chosen.values():
            if names := state_dicts.not_finite(weights):
                raise ValueError(f"{len(names)} of its {len(weights)} tensors hold NaN or infinity, first {names[0]}")
            if network is not None:
                _check_fit(network, weights, strict, label)
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).rstrip('.')}.") from None


def own_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> StateDict:
    """Rename weights of a layout that the network supports to its own keys, by its method `own_weights`.

    Raises:
        ValueError: the weights need other arguments than the network has.
    """
    rename = getattr(network, "own_weights", dict)
    return dict(rename(weights))


@dataclass(frozen=True)
class Comparison:
    """Names of tensors by whether they fit a network."""

    fitting: list[str]
    other_shape: list[str]
    missing: list[str]
    unexpected: list[str]

    @property
    def equal(self) -> bool:
        """Whether names and shapes are the same."""
        return not (self.other_shape or self.missing or self.unexpected)

    @classmethod
    def of(cls, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Comparison:
        """Compare a network's state dict with weights."""
        both = [name for name in own if name in weights]
        fitting = [name for name in both if own[name].shape == weights[name].shape]
        return cls(
            fitting,
            [name for name in both if own[name].shape != weights[name].shape],
            [name for name in own if name not in weights],
            [name for name in weights if name not in own],
        )


def _choose_average(content: Any, param_key: str | None, any_layout: bool) -> tuple[str | None, StateDict]:
    if any_layout:
        return state_dicts.choose(content, "params_ema", any_layout=True)
    try:
        return state_dicts.choose(content, "params_ema")
    except ValueError:
        raise ValueError(
            "with train: ema_decay, SRModel reads 'params_ema' or 'params' too, whatever param_key_g says "
            f"({param_key or '~'}), and this file has neither: set model_type: AcceleratedSRModel, which reads it as "
            "it is, or leave out ema_decay, or store the weights under 'params'"
        ) from None


def _check_fit(network: nn.Module, weights: StateDict, strict: bool, label: str) -> None:
    name, own = type(network).__name__, network.state_dict()
    weights = own_weights(network, weights)
    compared = Comparison.of(own, weights)
    few = len(compared.fitting) < LEAST_FIT * len(own)
    if compared.equal or not (strict or few):
        return
    if strict:
        with contextlib.suppress(RuntimeError, ValueError):
            network.load_state_dict(weights, strict=True)  # the network may rename or ignore tensors
            return
    only = f"only {len(compared.fitting)} of its {len(own)} tensors fit: " if few and compared.fitting else ""
    message = f"it does not fit {name}: {only}{difference(compared, own, weights)}"
    if len(compared.fitting) >= MOST_FIT * len(own):
        message += (
            f"; change network_{label}, or set strict_load_{label}: false to start from the {len(compared.fitting)} of "
            f"{len(own)} tensors that fit"
        )
    raise ValueError(message)


def difference(compared: Comparison, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """How weights differ from a network's state dict `own`, for a message."""
    in_file, in_network = _arguments(weights), _arguments(own)
    if differing := [name for name in in_file if name in in_network and in_file[name] != in_network[name]]:
        return ", ".join(
            f"{name} is {in_file[name]} in the file, {in_network[name]} in the network" for name in differing
        )
    if not compared.fitting and not compared.other_shape:
        return (
            f"it is another network's, none of its {len(weights)} tensors has a name of this one's; it begins with "
            f"{_first(weights)}, the network with {_first(own)}" + _official(weights)
        )
    parts = []
    if names := compared.other_shape:
        shapes = (f"{name} {tuple(weights[name].shape)}, in the network {tuple(own[name].shape)}" for name in names[:2])
        parts.append(f"{len(names)} tensors have another shape ({'; '.join(shapes)}{_more(names, 2)})")
    for names, where in ((compared.missing, "not in the file"), (compared.unexpected, "only in the file")):
        if names:
            parts.append(f"{len(names)} {where} ({', '.join(names[:3])}{_more(names, 3)})")
    return ", ".join(parts) + _official(weights)


def _arguments(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `RCANArch` that follow from shapes. If the first convolution has 4, 9 or 16 times the output's
    channels, the input is unshuffled."""
    found = rcan.arguments(weights)
    factors = (factor for factor in (2, 3, 4) if found and found["num_in_ch"] == factor**2 * found["num_out_ch"])
    unshuffle = next(factors, 1)
    return found and {"unshuffle": unshuffle, **rcan.arguments(weights, unshuffle)}


def _official(weights: Mapping[str, Tensor]) -> str:
    known = rcan_layouts.has_authors_names(weights)
    return "; it has the names of the RCAN authors' files, which type: RCANArch loads" if known else ""


def _first(names: Mapping[str, Any]) -> str:
    return ", ".join(list(names)[:3])


def _more(names: list[str], shown: int) -> str:
    return ", ..." if len(names) > shown else ""
