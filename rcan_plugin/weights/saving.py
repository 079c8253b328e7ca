"""Writes weights: BasicSR's layout, the RCAN authors', safetensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rcan_plugin._files import written_beside
from rcan_plugin.weights import fit, networks
from rcan_plugin.weights.loading import NETWORK, Weights

LAYOUTS = ("basicsr", "authors", "spandrel", "safetensors")
SAFETENSORS = ".safetensors"


def save(
    path: str | os.PathLike[str], weights: Weights | nn.Module, *, layout: str | None = None, **arguments: Any
) -> None:
    """Write weights to a file, which is complete or not there at all; a file of this name is replaced.

    Args:
        path: a file that ends in `.safetensors`, or in `.pth` or `.pt`, which `torch.save` writes.
        weights: what `read` returns, or a network.
        layout: by default `safetensors` for `.safetensors`, else `basicsr`.
            `basicsr`: under `params`, with name and arguments beside them, which BasicSR passes over.
            `authors`: RCAN with its authors' key names.
            `spandrel`: the same, where spandrel (chaiNNer, ComfyUI) gives the same image.
            `safetensors`: the network's own keys, with name, arguments and scale in the metadata.
        arguments: what a network given as a module was built with.

    Raises:
        ValueError: the layout cannot hold these weights, or does not belong to the ending of the file's name; or the
            arguments are not those of the network.
        OSError: it could not be written.
    """
    path = Path(path)
    layout = layout_of(path, layout)
    if isinstance(weights, nn.Module):
        weights = _of_network(weights, arguments)
    elif arguments:
        raise ValueError(f"{', '.join(arguments)} cannot be given: the arguments of these weights are known.")
    state_dict = {name: value.detach().cpu().contiguous() for name, value in weights.state_dict.items()}
    if path.suffix == SAFETENSORS:
        from safetensors.torch import save_file

        with written_beside(path) as temporary:
            save_file(state_dict, temporary, metadata=_metadata(weights))
    else:
        with written_beside(path) as temporary:
            torch.save({"params": state_dict, NETWORK: networks.plain(weights.option)}, temporary)


def layout_of(path: str | os.PathLike[str], layout: str | None) -> str:
    """The layout that `save` writes to a file of this name.

    Raises:
        ValueError: there is no such layout, or it does not belong to the ending of the file's name.
    """
    suffix = Path(path).suffix
    if layout not in (None, *LAYOUTS):
        raise ValueError(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}.")
    if suffix not in (SAFETENSORS, ".pth", ".pt"):
        raise ValueError(f"{path}: files of weights are written with the ending .pth, .pt or {SAFETENSORS}.")
    if layout is None:
        return "safetensors" if suffix == SAFETENSORS else "basicsr"
    if (layout, suffix == SAFETENSORS) in (("basicsr", True), ("safetensors", False)):
        raise ValueError(f"{path}: layout {layout} is not written to {suffix} files; leave it out.")
    return layout


def _metadata(weights: Weights) -> dict[str, str]:
    return {
        "format": "pt",
        "network": weights.name,
        "arguments": json.dumps(networks.plain(weights.arguments)),
        "scale": ", ".join(map(str, weights.scales)),
    }


def _of_network(network: nn.Module, arguments: Mapping[str, Any]) -> Weights:
    weights = Weights(network.state_dict(), type(network).__name__, dict(arguments))
    own = networks.checked(weights.name, arguments).state_dict()
    compared = fit.Comparison.of(own, weights.state_dict)
    if not compared.equal:
        raise ValueError(f"the network was not built with these arguments: {arguments}")
    return weights
