"""Builds networks and runs them on images."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from rcan_plugin.archs.luma_only import LumaOnly
from rcan_plugin.compare.entrants import Entrant
from rcan_plugin.inference.ensemble import self_ensemble
from rcan_plugin.inference.official_chop import official_chop
from rcan_plugin.inference.runner import Runner
from rcan_plugin.inference.tiles import tiled
from rcan_plugin.weights import loading, networks
from rcan_plugin.weights.loading import Weights

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def read(entrant: Entrant) -> Weights:
    """Read an entrant's weights, and the network that they belong to.

    Raises:
        FileNotFoundError: the file of weights does not exist.
        ValueError: the network is unknown or cannot be built, the weights do not fit it, or its scale is not the
            entrant's.
    """
    arguments = dict(entrant.network or {})
    name = arguments.pop("type", None)
    if entrant.weights is None:
        networks.checked(name, arguments)
        weights = Weights({}, name, arguments)
    else:
        weights = loading.read(entrant.weights, name=name, param_key=entrant.method.param_key, **arguments)
    enlarges = "upscale" in inspect.signature(networks.find(weights.name)).parameters
    if weights.scales == (1,) and enlarges:  # trained on images that the data set had enlarged
        weights = replace(weights, arguments={**weights.arguments, "upscale": entrant.scale})
    if entrant.scale not in weights.scales:
        found = " and ".join(f"x{scale}" for scale in weights.scales)
        where = entrant.weights or weights.name
        raise ValueError(
            f"{where}: {weights.name} is {found}, not x{entrant.scale}: correct the file, its upscale, or scales."
        )
    return weights


def load(entrant: Entrant) -> nn.Module:
    """Build the network of an entrant with its weights, on the CPU, for inference."""
    weights = read(entrant)
    net = weights.build() if weights.state_dict else networks.build(weights.option)
    return net.eval().requires_grad_(False)


class EntrantNetwork:
    """Upscales images with an entrant's network.

    Args:
        entrant: a method of kind `network` at a scale.
        device: where it runs.

    Attributes:
        net: the network itself, without `LumaOnly`.
    """

    def __init__(self, entrant: Entrant, device: str) -> None:
        self.entrant, self.device = entrant, torch.device(device)
        self.net = load(entrant)
        luma = getattr(self.net, "num_in_ch", 3) == 1
        self.whole = (LumaOnly(self.net) if luma else self.net).to(self.device).eval()
        self.runner = Runner(self.whole, precision=PRECISIONS[entrant.method.precision], channels_last=True)
        self.arguments = [entrant.scale] if hasattr(self.net, "scales") else []

    def tensor(self, lq: Tensor) -> Tensor:
        """Upscale N x 3 x H x W, R, G, B, range 0 to 1."""
        method, scale = self.entrant.method, self.entrant.scale

        def plain(image: Tensor) -> Tensor:
            return self.runner(image, *self.arguments)

        def in_parts(image: Tensor) -> Tensor:
            if method.tile is None:
                return plain(image)
            if "protocol" in method.tile:
                return official_chop(plain, image)
            return tiled(plain, image, scale, method.tile["size"], method.tile["overlap"])

        return self_ensemble(in_parts, lq) if method.ensemble else in_parts(lq)

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        """Upscale an image, H x W x C, uint8, BGR or gray, to sH x sW x 3, float32, BGR, range 0 to 1, not clipped."""
        rgb = np.ascontiguousarray(np.broadcast_to(lr, (*lr.shape[:2], 3))[..., ::-1].transpose(2, 0, 1))
        lq = torch.from_numpy(rgb)[None].to(self.device).float() / 255
        sr = self.tensor(lq)[0].float().cpu().numpy()
        return np.ascontiguousarray(sr.transpose(1, 2, 0)[..., ::-1])
