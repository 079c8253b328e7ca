"""Weights with the network that they belong to: read from a file of any layout, and built."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rcan_plugin.weights import files, fit, networks, rcan, state_dicts

NETWORK = "network_g"
"""The entry of a checkpoint that holds the network's `type` and arguments, beside the weights."""
HOW_TO_NAME = (
    "name the network and its arguments (--network NAME --arguments KEY=VALUE ..., or --opt with the option file of "
    "its training; in Python name=..., KEY=VALUE)"
)


@dataclass(frozen=True)
class Weights:
    """Weights, and the network that they belong to.

    Attributes:
        state_dict: tensors by the network's own keys.
        name: the network's name in an option file, such as `RCANArch`.
        arguments: what the network is built with, plain values.
        remarks: what was assumed where the file does not say it, one sentence each.
        path: the file that they were read from.
    """

    state_dict: dict[str, Tensor]
    name: str
    arguments: dict[str, Any]
    remarks: list[str] = field(default_factory=list)
    path: Path | None = None

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales of the network; several for MDSR."""
        return networks.scales(self.name, self.arguments)

    @property
    def scale(self) -> int:
        """The scale of the network.

        Raises:
            ValueError: it has several.
        """
        if len(self.scales) > 1:
            raise ValueError(f"{self.name} has several scales, {', '.join(map(str, self.scales))}: choose one of them.")
        return self.scales[0]

    @property
    def option(self) -> dict[str, Any]:
        """Name and arguments as under `network_g` of an option file."""
        return {"type": self.name, **self.arguments}

    def build(self) -> nn.Module:
        """Build the network with these weights, on the CPU, for inference (`eval`)."""
        with torch.random.fork_rng(devices=[]):
            network = networks.build(self.option)
        network.load_state_dict(self.state_dict, strict=True)
        return network.eval()


def load(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    param_key: str | None = None,
    strict: bool = True,
    **arguments: Any,
) -> nn.Module:
    """Read a file of weights and build its network, on the CPU, for inference: `read(...).build()`."""
    return read(path, name=name, param_key=param_key, strict=strict, **arguments).build()


def read(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    param_key: str | None = None,
    strict: bool = True,
    **arguments: Any,
) -> Weights:
    """Read a file of weights, and which network they belong to. No code from the file is run.

    Name and arguments are those given, else those in the file (metadata of a safetensors file, `network_g` of a
    checkpoint of `AcceleratedSRModel`), else, for RCAN in any known layout, those that its tensors tell.

    Args:
        path: a file of `torch.save`, or a safetensors file.
        name: the network's name, such as `RCANArch`.
        param_key: the key of the weights in the file; by default `params_ema`, `params`, or the only weights there are.
        strict: false leaves out tensors that the network lacks, and keeps the initial values of those that the file
            lacks; both are in `remarks`.
        arguments: arguments of the network.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it cannot be read, holds no weights, or not those of the network; or the network is not known. The
            message is one line that begins with the path.
    """
    path = Path(path)
    content, metadata = files.read(path), files.metadata(path)
    try:
        state_dict = _choose(content, param_key)
        file_name, file_arguments = _network_in(content, metadata)
        if name in (None, file_name):
            name, arguments = file_name, {**file_arguments, **arguments}
        weights = _with_network(state_dict, name, arguments, metadata, path)
        if names := state_dicts.not_finite(weights.state_dict):
            raise ValueError(f"{len(names)} of its {len(state_dict)} tensors hold NaN or infinity, first {names[0]}")
        return _fitting(weights, strict)
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).rstrip('.')}.") from None


def _choose(content: Any, key: str | None) -> state_dicts.StateDict:
    if key is not None and isinstance(content, Mapping) and content and key not in content:
        raise ValueError(f"it has no key {key!r}; its keys are {', '.join(map(str, list(content)[:5]))}, ...")
    return state_dicts.choose(content, key, any_layout=key is None)[1]


def _network_in(content: Any, metadata: Mapping[str, str]) -> tuple[str | None, dict[str, Any]]:
    """Name and arguments of the network, as the file has them."""
    if "network" in metadata:
        try:
            arguments = json.loads(metadata.get("arguments", "{}"))
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            raise ValueError(f"its metadata has arguments {metadata['arguments']!r}; expected a JSON object")
        return metadata["network"], arguments
    option = content.get(NETWORK)
    if isinstance(option, Mapping) and isinstance(option.get("type"), str):
        arguments = dict(option)
        return arguments.pop("type"), arguments
    return None, {}


def _with_network(
    state_dict: state_dicts.StateDict,
    name: str | None,
    arguments: dict[str, Any],
    metadata: Mapping[str, str],
    path: Path,
) -> Weights:
    if name in (None, "RCAN", "RCANArch"):
        found = rcan.arguments(state_dict)  # until `dialects.to_own` is there
        if found:
            return Weights(state_dict, "RCANArch", {**found, **arguments}, [], path)
        if name is None:
            raise ValueError(f"its network is not known, and its tensors are not RCAN's: {HOW_TO_NAME}")
    assert name is not None
    return Weights(state_dict, name, arguments, [], path)


def _fitting(weights: Weights, strict: bool) -> Weights:
    """Check that the network loads the weights: names and shapes."""
    own = networks.checked(weights.name, weights.arguments).state_dict()
    compared = fit.Comparison.of(own, weights.state_dict)
    if compared.equal:
        return weights
    raise ValueError(f"it does not fit {weights.name}: {fit.difference(compared, own, weights.state_dict)}")
