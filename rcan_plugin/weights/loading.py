"""Reads weights of any layout with the network that they belong to, and builds that network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rcan_plugin.archs import rcan_layouts
from rcan_plugin.weights import dialects, files, fit, networks, state_dicts

NETWORK = "network_g"
"""The entry of a checkpoint that holds the network's `type` and arguments, beside the weights."""
RCANS = ("RCANArch", "RCAN")
"""Names of RCAN; BasicSR's is read as `RCANArch`, which has its arguments and keys."""
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types that weights in files may have."""
EXECUTION_ARGUMENTS = ("kernels", "use_checkpoint")
"""Arguments of networks that only affect how they are computed in training; results do not depend on them."""
FETCHING = ("VGGFeatureExtractor",)
"""Networks of BasicSR that download weights when they are built."""
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
        remarks: assumptions about what the file does not say, one sentence each.
        path: the file from which they were read.
        layout: description of how they were stored in it.
    """

    state_dict: dict[str, Tensor]
    name: str
    arguments: dict[str, Any]
    remarks: list[str] = field(default_factory=list)
    path: Path | None = None
    layout: str = ""

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

    Name and arguments are the given ones; otherwise those in the file (metadata of a safetensors file, `network_g` of a
    checkpoint of `AcceleratedSRModel`); otherwise, for RCAN in any known layout, those that follow from its tensors.

    Args:
        path: a file of `torch.save`, or a safetensors file.
        name: the network's name, such as `RCANArch`.
        param_key: the key of the weights in the file; by default `params_ema`, `params`, or the only one.
        strict: false leaves out tensors that the network lacks, and keeps the initial values of those that the file
            lacks; both are in `remarks`.
        arguments: arguments of the network.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it cannot be read, holds no weights or those of another network, or the network is unknown. The
            message is one line that begins with the path.
    """
    path = Path(path)
    content, metadata = files.read(path), files.metadata(path)
    try:
        key, state_dict = _choose(content, param_key)
        file_name, file_arguments = _network_in(content, metadata)
        if name in (None, file_name):
            name, arguments = file_name, {**file_arguments, **arguments}
        layout = "flat" if key is None else f"under {key}"
        weights = Weights(state_dict, name or "", arguments, path=path, layout=layout)
        if name in (None, *RCANS):
            weights = _as_rcan(weights, metadata or content, arguments_stored=name == file_name is not None)
        weights = fitting(weights, strict)
        if names := state_dicts.not_finite(weights.state_dict):
            raise ValueError(f"{len(names)} of its {len(state_dict)} tensors hold NaN or infinity, first {names[0]}")
        return weights
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).rstrip('.')}.") from None


def fitting(weights: Weights, strict: bool = True) -> Weights:
    """Check that the network accepts these arguments and loads these weights.

    Args:
        weights: the weights.
        strict: as for `read`.

    Returns:
        The weights; if not strict, exactly the tensors that the network has.

    Raises:
        ValueError: the network is unknown or cannot be built, or tensors are missing, unexpected or of another shape.
    """
    own = networks.checked(weights.name, weights.arguments).state_dict()
    compared = fit.Comparison.of(own, weights.state_dict)
    for name in compared.fitting:
        kind = weights.state_dict[name].dtype
        if own[name].is_floating_point() and kind not in FLOATS:
            expected = ", ".join(_short(dtype) for dtype in FLOATS)
            raise ValueError(f"its tensor {name} is of type {_short(kind)}; expected {expected}: convert it to float32")
    if compared.equal:
        return weights
    few = len(compared.fitting) < fit.LEAST_FIT * len(own)
    if strict or few or compared.other_shape:
        raise ValueError(f"it does not fit {weights.name}: {fit.difference(compared, own, weights.state_dict)}")
    with torch.random.fork_rng(devices=[]):
        initial = networks.build(weights.option).state_dict()
    remarks = [
        f"{len(names)} tensors {what}: {', '.join(names[:3])}{', ...' * (len(names) > 3)}"
        for names, what in (
            (compared.missing, "are not in the file and have their initial values"),
            (compared.unexpected, "of the file are not the network's and are left out"),
        )
        if names
    ]
    state_dict = {name: weights.state_dict.get(name, value) for name, value in initial.items()}
    return replace(weights, state_dict=state_dict, remarks=[*weights.remarks, *remarks])


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _choose(content: Any, key: str | None) -> tuple[str | None, state_dicts.StateDict]:
    if key is not None and isinstance(content, Mapping) and content and key not in content:
        raise ValueError(f"it has no key {key!r}; it begins with {', '.join(map(str, list(content)[:5]))}")
    key, chosen = state_dicts.choose(content, key, option="--param-key", any_layout=key is None)
    weights = {name: value for name, value in chosen.items() if isinstance(value, Tensor)}
    for name, value in weights.items():
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            kind = "no values" if value.is_meta else "sparse or quantized values"
            raise ValueError(f"its tensor {name} has {kind}; expected plain numbers: store it as float32")
    return key, weights


def _network_in(content: Any, metadata: Mapping[str, str]) -> tuple[str | None, dict[str, Any]]:
    """Name and arguments of the network that are stored in the file."""
    option: Any = content.get(NETWORK)
    if metadata.keys() >= {"network", "arguments"}:
        try:
            option = {**json.loads(metadata["arguments"]), "type": metadata["network"]}
        except (ValueError, TypeError):
            raise ValueError(f"its metadata has arguments {metadata['arguments']!r}; expected a JSON object") from None
    if not isinstance(option, Mapping) or not isinstance(option.get("type"), str):
        return None, {}
    arguments = {key: value for key, value in option.items() if key not in (*EXECUTION_ARGUMENTS, "type")}
    _check_reads_no_file(option["type"], arguments)
    return option["type"], arguments


def _check_reads_no_file(name: Any, arguments: Mapping[Any, Any]) -> None:
    """Refuse a network named in a file of weights if building it would read or download another file."""
    if name in FETCHING:
        raise ValueError(f"its network is {name}, which downloads weights when it is built: {HOW_TO_NAME}")
    for key, value in arguments.items():
        if not isinstance(key, str):
            raise ValueError(f"its network has an argument {key!r}; expected a name")
        if key.endswith("path") and value:
            raise ValueError(f"its network has an argument {key}, which names a file: {HOW_TO_NAME}")
        if isinstance(value, Mapping):  # LumaOnly's network
            _check_reads_no_file(value.get("type"), value)


def _as_rcan(weights: Weights, metadata: Mapping[str, Any], arguments_stored: bool) -> Weights:
    """Convert RCAN weights of any layout to `RCANArch`.

    Args:
        weights: the weights as stored in the file.
        metadata: metadata of the file; for a file of `torch.save`, its content.
        arguments_stored: whether the file holds the arguments; those that it lacks have their defaults.
    """
    try:
        state_dict, arguments, remarks = dialects.to_own(weights.state_dict, metadata, weights.arguments)
    except dialects.NotRCAN as error:
        if weights.name:
            raise
        raise ValueError(f"its network is not known: {str(error).rstrip('.')}: {HOW_TO_NAME}") from None
    names = ""
    if rcan_layouts.has_authors_names(weights.state_dict):
        names = ", with the key names of " + ("RCAN-it" if arguments["activate_all"] else "RCAN's authors")
    return Weights(
        state_dict, "RCANArch", arguments, [] if arguments_stored else remarks, weights.path, weights.layout + names
    )
