"""A small RCANArch, its output by the paper's equations, and its weights in the layout of the official files."""

import math

import torch

from rcan_plugin.archs.layers import DIV2K_MEAN
from rcan_plugin.archs.rcan_arch import RCANArch
from tests.archs.equations import Weights, shuffled
from tests.archs.small import SMALL


def small_rcan(**arguments) -> RCANArch:
    torch.manual_seed(0)
    return RCANArch(**{**SMALL["RCANArch"], **arguments})


def rcan_equations(
    w: Weights,
    x: torch.Tensor,
    upscale: int,
    *,
    long_skip: bool = True,
    short_skip: bool = True,
    channel_attention: bool = True,
    res_scale: float = 1.0,
) -> torch.Tensor:
    """The paper's equations 1 to 13 for two groups of two blocks, in float64."""
    channels = x.shape[1]
    mean = torch.tensor(DIV2K_MEAN if channels == 3 else [sum(DIV2K_MEAN) / 3] * channels, dtype=torch.float64)
    mean = mean.view(1, -1, 1, 1)
    shallow = deep = w.conv("conv_first", (x.double() - mean) * 255)
    for g in range(2):
        group_input = deep
        for b in range(2):
            name = f"body.{g}.residual_group.{b}.rcab"
            residual = w.conv(f"{name}.2", w.conv(f"{name}.0", deep).clamp(min=0))
            if channel_attention:
                squeezed = w.conv(f"{name}.3.attention.1", residual.mean(dim=(2, 3), keepdim=True)).clamp(min=0)
                residual = residual / (1 + torch.exp(-w.conv(f"{name}.3.attention.3", squeezed)))
            deep = deep + res_scale * residual
        deep = w.conv(f"body.{g}.conv", deep) + (group_input if short_skip else 0)
    deep = w.conv("conv_after_body", deep) + (shallow if long_skip else 0)
    for i in range(int(math.log2(upscale))):  # once for 3
        deep = shuffled(w.conv(f"upsample.{2 * i}", deep), 3 if upscale == 3 else 2)
    return w.conv("conv_last", deep) / 255 + mean


def official_layout(net: RCANArch, prefix: str = "") -> dict[str, torch.Tensor]:
    """The weights of `net` under the official keys, written from the description of the authors' files."""
    own, official = net.state_dict(), {}

    def put(theirs, ours):
        for kind in ("weight", "bias"):
            official[f"{prefix}{theirs}.{kind}"] = own.pop(f"{ours}.{kind}")

    put("head.0", "conv_first")
    for g, group in enumerate(net.body):
        for b in range(len(group.residual_group)):
            theirs, ours = f"body.{g}.body.{b}.body", f"body.{g}.residual_group.{b}.rcab"
            put(f"{theirs}.0", f"{ours}.0")
            put(f"{theirs}.2", f"{ours}.2")
            put(f"{theirs}.3.conv_du.0", f"{ours}.3.attention.1")
            put(f"{theirs}.3.conv_du.2", f"{ours}.3.attention.3")
        put(f"body.{g}.body.{len(group.residual_group)}", f"body.{g}.conv")
    put(f"body.{len(net.body)}", "conv_after_body")
    for i in range(0, len(net.upsample), 2):
        put(f"tail.0.{i}", f"upsample.{i}")
    put("tail.1", "conv_last")
    assert not own
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        official[f"{prefix}{name}.weight"] = torch.eye(3).view(3, 3, 1, 1)
        official[f"{prefix}{name}.bias"] = sign * 255 * torch.tensor(DIV2K_MEAN)
    return official
