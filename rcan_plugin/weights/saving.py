"""Writes weights: BasicSR's layout, the RCAN authors', safetensors."""

from __future__ import annotations

import inspect
import io
import json
import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rcan_plugin._files import written_beside
from rcan_plugin.weights import dialects, networks
from rcan_plugin.weights.loading import NETWORK, Weights, fitting
from rcan_plugin.weights.state_dicts import StateDict

LAYOUTS = ("basicsr", "authors", "spandrel", "safetensors")
AUTHORS = ("authors", "spandrel")
SAFETENSORS, TORCH = ".safetensors", (".pth", ".pt")
TRIAL_SIDE = 24
"""Side of the image on which two networks are compared: a multiple of SwinIR's usual window, 8."""


def save(
    path: str | os.PathLike[str], weights: Weights | nn.Module, *, layout: str | None = None, **arguments: Any
) -> None:
    """Write weights to a file, which is complete or not there at all; a file of this name is replaced.

    Args:
        path: a file that ends in `.safetensors`, or in `.pth` or `.pt`, which `torch.save` writes.
        weights: what `read` returns, or a network.
        layout: by default `safetensors` for `.safetensors`, else `basicsr`.
            `basicsr`: under `params`, with name and arguments beside them, which BasicSR ignores.
            `authors`: RCAN with its authors' key names.
            `spandrel`: the same, if spandrel (chaiNNer, ComfyUI) reproduces the network from it.
            `safetensors`: the network's own keys, with name, arguments and scale in the metadata.
        arguments: arguments with which a network given as a module was built, if they differ from the defaults.

    Raises:
        ValueError: the layout cannot hold these weights, or does not fit the suffix of the file; or the arguments are
            not those of the network.
        OSError: it could not be written.
    """
    path = Path(path)
    layout = layout_of(path, layout)
    if isinstance(weights, nn.Module):
        weights = _of_network(weights, arguments)
    elif arguments:
        raise ValueError(f"{', '.join(arguments)}: the arguments of weights that were read are known; give none.")
    weights = fitting(weights)
    state_dict = _in_authors_layout(weights, layout) if layout in AUTHORS else weights.state_dict
    state_dict = {name: value.detach().cpu().contiguous() for name, value in state_dict.items()}
    with written_beside(path) as temporary:
        if path.suffix == SAFETENSORS:
            from safetensors.torch import save as packed

            temporary.write_bytes(packed(state_dict, metadata=_metadata(weights)))
        elif layout in AUTHORS:
            temporary.write_bytes(_packed(state_dict))
        else:
            temporary.write_bytes(_packed({"params": state_dict, NETWORK: networks.plain(weights.option)}))


def _packed(content: object) -> memoryview:
    """Serialise with `torch.save` in memory: its error for a full disk does not mention the disk."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def layout_of(path: str | os.PathLike[str], layout: str | None = None) -> str:
    """The layout that `save` writes to a file of this name.

    Raises:
        ValueError: there is no such layout, or it does not fit the suffix of the file.
    """
    suffix = Path(path).suffix
    if layout not in (None, *LAYOUTS):
        raise ValueError(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}.")
    if suffix not in (SAFETENSORS, *TORCH):
        raise ValueError(f"{path}: the ending of its name is {suffix!r}; expected {', '.join(TORCH)} or {SAFETENSORS}.")
    if layout is None:
        return "safetensors" if suffix == SAFETENSORS else "basicsr"
    endings = {"basicsr": TORCH, "safetensors": (SAFETENSORS,)}.get(layout, (*TORCH, SAFETENSORS))
    if suffix not in endings:
        raise ValueError(f"{path}: layout {layout} is written to files that end in {' or '.join(endings)}.")
    return layout


def _in_authors_layout(weights: Weights, layout: str) -> StateDict:
    if weights.name != "RCANArch":
        raise ValueError(f"layout {layout} is RCAN's; these are weights of {weights.name}: write another layout.")
    if layout == "spandrel" and (reasons := dialects.spandrel_reasons(weights.arguments)):
        raise ValueError(f"spandrel would give another image, or none: {'; '.join(reasons)}.")
    return dialects.to_authors(weights.state_dict, weights.arguments)


def _metadata(weights: Weights) -> dict[str, str]:
    return {
        "format": "pt",
        "network": weights.name,
        "arguments": json.dumps(networks.plain(weights.arguments)),
        "scale": ", ".join(map(str, weights.scales)),
    }


def _of_network(network: nn.Module, arguments: Mapping[str, Any]) -> Weights:
    """The weights of a network, after a check that it was built with these arguments."""
    weights = fitting(Weights(network.state_dict(), type(network).__name__, dict(arguments)))
    output = _output(deepcopy(network).cpu().float().eval(), weights)
    if not bool(torch.isfinite(output).all()):
        raise ValueError(f"{weights.name} gives values that are not finite for a test image: its weights are damaged.")
    if not torch.allclose(_output(weights.build(), weights), output, rtol=0, atol=1e-5 * float(output.abs().max())):
        raise ValueError(
            f"{weights.name} with {networks.plain(arguments)} and these weights gives another image than this network: "
            "give all arguments that it was built with."
        )
    return weights


@torch.no_grad()
def _output(network: nn.Module, weights: Weights) -> Tensor:
    defaults = {key: value.default for key, value in inspect.signature(type(network)).parameters.items()}
    channels = {**defaults, **weights.arguments}.get("num_in_ch", 3)
    image = torch.rand(1, channels, TRIAL_SIDE, TRIAL_SIDE, generator=torch.Generator().manual_seed(0))
    output: Tensor = network(image, *weights.scales[:1]) if hasattr(network, "scales") else network(image)
    return output
