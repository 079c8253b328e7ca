"""Builds networks and runs them on images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rcan_plugin.archs.luma_only import LumaOnly
from rcan_plugin.compare.entrants import Entrant
from rcan_plugin.inference.ensemble import self_ensemble
from rcan_plugin.inference.official_chop import official_chop
from rcan_plugin.inference.runner import Runner
from rcan_plugin.inference.tiles import tiled
from rcan_plugin.options.mistakes import did_you_mean
from rcan_plugin.options.networks import build, build_on_meta, unnoticed
from rcan_plugin.options.signatures import registered
from rcan_plugin.weights import files, rcan, state_dicts
from rcan_plugin.weights.fit import check_weights, own_weights

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def check(entrant: Entrant) -> None:
    """Check that the network can be built and loads its weights.

    Raises:
        ValueError: it cannot; the message names the network or the file.
    """
    option = option_of(entrant)
    known = registered("networks")
    if option["type"] not in known:
        hint = did_you_mean(option["type"], [name for name in known if not name.endswith("_basicsr")])
        raise ValueError(f"network: type is {option['type']}; no network of this name is registered.{hint}")
    try:
        with unnoticed():
            build_on_meta(option)
    except Exception as error:
        raise ValueError(f"network: {option['type']} cannot be built: {' '.join(str(error).split())}") from None
    if entrant.weights is not None:
        key = entrant.method.param_key
        check_weights(entrant.weights, lambda: build_on_meta(option), key, any_layout=True)


def option_of(entrant: Entrant) -> dict[str, Any]:
    """The network's name and arguments, as `network_g`; from the weights if they are given alone.

    Raises:
        ValueError: the weights do not tell.
    """
    if entrant.network is not None:
        return dict(entrant.network)
    assert entrant.weights is not None
    _, weights = state_dicts.choose(files.read(entrant.weights), entrant.method.param_key, any_layout=True)
    arguments = rcan.arguments(weights)
    if not arguments:
        raise ValueError(f"weights: {entrant.weights} does not tell its network: give network: {{type: NAME, ...}}.")
    return {"type": "RCANArch", **arguments}


def load(entrant: Entrant) -> nn.Module:
    """Build the network of an entrant with its weights, in evaluation mode on the CPU."""
    net = build(option_of(entrant))
    if entrant.weights is not None:
        content = files.read(entrant.weights)
        _, weights = state_dicts.choose(content, entrant.method.param_key, any_layout=True)
        net.load_state_dict(own_weights(net, weights), strict=True)
    return net.eval().requires_grad_(False)


class Upscaler:
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
