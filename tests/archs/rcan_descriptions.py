"""RCAN files as other code writes them, and what that code computes, from descriptions of the layouts.

A file has the authors' names: `head.0`; in group g, block b: `body.g.body.b.body.0` and `.2`, the attention's
`body.g.body.b.body.3.conv_du.0` and `.2`; `body.g.body.B`; `body.G`; `tail.0.i`; `tail.1`. Dialects differ in the
fields of `Description`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rcan_plugin.archs.layers import DIV2K_MEAN

Function = Callable[[Tensor], Tensor]
FEATURES, GROUPS, BLOCKS, SQUEEZED = 8, 2, 3, 2
SIZES = {"num_feat": FEATURES, "num_group": GROUPS, "num_block": BLOCKS, "squeeze_factor": 4}


def nothing(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Description:
    """What the code of a dialect does.

    Attributes:
        mean: what `sub_mean` subtracts, in the range of the network; None: there is no `sub_mean`.
        trained_mean: training has changed `sub_mean` and `add_mean`.
        unshuffle: the input is padded by reflection and unshuffled by this factor; the convolution is `head.1`.
        attention: name of the attention's layers.
        in_block, in_attention, in_tail: activations; `in_tail` follows each pixel shuffle.
    """

    scale: int = 2
    channels: int = 3
    img_range: float = 255.0
    mean: tuple[float, ...] | None = tuple(255 * value for value in DIV2K_MEAN)
    trained_mean: bool = False
    unshuffle: int = 1
    attention: str = "conv_du"
    in_block: Function = F.relu
    in_attention: Function = F.relu
    in_tail: Function = nothing
    res_scale: float = 1.0

    @property
    def steps(self) -> list[int]:
        total = self.scale * self.unshuffle
        return [3] if total == 3 else [2] * (total.bit_length() - 1)

    @property
    def tail(self) -> list[str]:
        """Names of the convolutions of the upsampler: pixel shuffles and activations take numbers too."""
        layers = 2 if self.in_tail is nothing else 3
        return [f"tail.0.{layers * i}" for i in range(len(self.steps))]

    def weights(self) -> dict[str, Tensor]:
        """Random weights; features are about 1, where ReLU and SiLU differ most."""
        torch.manual_seed(0)
        weights: dict[str, Tensor] = {}

        def add(name: str, inputs: int, outputs: int, size: int = 3, factor: float = 1.0) -> None:
            std = factor * (inputs * size**2) ** -0.5
            weights[f"{name}.weight"] = torch.randn(outputs, inputs, size, size) * std
            weights[f"{name}.bias"] = torch.randn(outputs) * std

        add(f"head.{int(self.unshuffle > 1)}", self.channels * self.unshuffle**2, FEATURES, factor=2 / self.img_range)
        for g in range(GROUPS):
            for b in range(BLOCKS):
                block = f"body.{g}.body.{b}.body"
                add(f"{block}.0", FEATURES, FEATURES)
                add(f"{block}.2", FEATURES, FEATURES)
                add(f"{block}.3.{self.attention}.0", FEATURES, SQUEEZED, 1)
                add(f"{block}.3.{self.attention}.2", SQUEEZED, FEATURES, 1)
            add(f"body.{g}.body.{BLOCKS}", FEATURES, FEATURES)
        add(f"body.{GROUPS}", FEATURES, FEATURES)
        for name, step in zip(self.tail, self.steps, strict=True):
            add(name, FEATURES, FEATURES * step**2)
        add("tail.1", FEATURES, self.channels, factor=self.img_range / 2)
        if self.mean is not None:
            for name, sign in (("sub_mean", -1), ("add_mean", 1)):
                weights[f"{name}.weight"] = torch.eye(3).view(3, 3, 1, 1)
                weights[f"{name}.bias"] = sign * torch.tensor(self.mean)
                if self.trained_mean:
                    weights[f"{name}.weight"] += 0.01 * torch.randn(3, 3, 1, 1)
                    weights[f"{name}.bias"] += 0.01 * self.img_range * torch.randn(3)
        return weights

    def output(self, weights: dict[str, Tensor], x: Tensor) -> Tensor:
        """The output for N x C x H x W, range 0 to 1, in float64."""

        def conv(name: str, x: Tensor) -> Tensor:
            weight = weights[f"{name}.weight"].double()
            return F.conv2d(x, weight, weights[f"{name}.bias"].double(), padding=weight.shape[-1] // 2)

        height, width = x.shape[2:]
        factor = self.unshuffle
        x = F.pad(x.double(), (0, -width % factor, 0, -height % factor), "reflect") * self.img_range
        if self.mean is not None:
            x = conv("sub_mean", x)
        shallow = deep = conv(f"head.{int(factor > 1)}", F.pixel_unshuffle(x, factor))
        for g in range(GROUPS):
            before = deep
            for b in range(BLOCKS):
                block = f"body.{g}.body.{b}.body"
                res = conv(f"{block}.2", self.in_block(conv(f"{block}.0", deep)))
                squeezed = conv(f"{block}.3.{self.attention}.0", res.mean(dim=(2, 3), keepdim=True))
                weight = conv(f"{block}.3.{self.attention}.2", self.in_attention(squeezed)).sigmoid()
                deep = deep + self.res_scale * res * weight
            deep = before + conv(f"body.{g}.body.{BLOCKS}", deep)
        deep = shallow + conv(f"body.{GROUPS}", deep)
        for name, step in zip(self.tail, self.steps, strict=True):
            deep = self.in_tail(F.pixel_shuffle(conv(name, deep), step))
        out = conv("tail.1", deep)
        if self.mean is not None:
            out = conv("add_mean", out)
        return (out / self.img_range)[:, :, : height * self.scale, : width * self.scale]


REDUX = {"img_range": 1.0, "mean": None}
RCAN_IT = {
    "attention": "excitation",
    "in_block": F.silu,
    "in_attention": F.silu,
    "in_tail": F.silu,
    "res_scale": 0.1,
}
