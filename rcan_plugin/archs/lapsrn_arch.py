"""LapSRN: Lai et al., "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", CVPR 2017."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcan_plugin.archs.layers import check_channels, conv, initialise, whole_numbers


class Doubling(nn.Module):
    """Features of one level to twice their size: a transposed convolution of stride 2, 3x3 or 4x4.

    Of the 3x3 one's 2n + 1 rows and columns the last is dropped, as the authors' MatConvNet code does.
    """

    def __init__(self, num_feat: int, kernel_size: int, bias: bool) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(num_feat, num_feat, kernel_size, 2, padding=kernel_size - 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        doubled = self.deconv(x)
        return doubled[..., : 2 * x.shape[-2], : 2 * x.shape[-1]]


class Level(nn.Module):
    """One doubling: `depth` convolutions and the transposed one for the features, both branches' transposed filters."""

    def __init__(self, num_in_ch: int, num_feat: int, depth: int, up_size: int, bias: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(num_feat, num_feat, 3, bias) for _ in range(depth))
        self.doubling = Doubling(num_feat, up_size, bias)
        self.residual = conv(num_feat, num_in_ch, 3, bias)
        self.image = nn.ConvTranspose2d(num_in_ch, num_in_ch, 4, 2, padding=1, groups=num_in_ch, bias=False)

    def forward(self, image: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.convs:
            features = F.leaky_relu(layer(features), 0.2)
        features = F.leaky_relu(self.doubling(features), 0.2)
        return self.image(image) + self.residual(features), features


class LapSRNArch(nn.Module):
    """A pyramid of doublings: a feature branch predicts each level's residual, an image branch enlarges (section 3).

    Each level: 10 convolutions 3x3 of 64 channels and a transposed one, leaky ReLU of 0.2; nothing is shared between
    levels. x4: 812,768 weights (published: 812K), x2: 406,672; biases are 1,474 and 769. Enlarging by 3 is, as in the
    authors' code, reducing the x4 result.

    In training the output is a list of all levels' images, the finest last, each supervised by `PyramidLoss`.

    Where sources disagree: the paper's text is remembered to say 4x4 for the transposed filters; only 3x3, as in the
    authors' code, gives the published count (4x4: 870K). Both kinds are here. The image branch's filters start
    bilinear and are trained. Initial weights follow the authors' `init_LapSRN_model.m`: standard deviation 0.001 in
    the first convolution, sqrt(2 / (9 * 64)) in all others, biases 0. At x8 the authors are remembered to use 5
    convolutions a level: `depth: 5`.

    Args:
        num_in_ch: channels of input and output; the paper's 1 is luma.
        num_feat: channels of the features.
        depth: convolutions of a level.
        up_size: of the features' transposed filters, 3 or 4; weights of twtygqyy/pytorch-LapSRN have 4.
        bias: whether convolutions have biases (never the image branch); those weights have none.
        upscale: 2, 4 or 8.

    Input: N x num_in_ch x H x W, range 0 to 1; output: N x num_in_ch x H*upscale x W*upscale, not clipped.

    Raises:
        ValueError: an argument that no network can be built from, or an input of other channels.
    """

    def __init__(
        self,
        num_in_ch: int = 1,
        num_feat: int = 64,
        depth: int = 10,
        up_size: int = 3,
        bias: bool = True,
        upscale: int = 4,
    ) -> None:
        super().__init__()
        whole_numbers("LapSRNArch", num_in_ch=num_in_ch, num_feat=num_feat, depth=depth, upscale=upscale)
        if upscale not in (2, 4, 8):
            raise ValueError(f"LapSRNArch: upscale={upscale!r}: expected 2, 4 or 8 (for 3 reduce the x4 result).")
        if up_size not in (3, 4):
            raise ValueError(f"LapSRNArch: up_size={up_size!r}: expected 3 or 4.")
        self.num_in_ch, self.upscale = num_in_ch, upscale
        self.conv_first = conv(num_in_ch, num_feat, 3, bias)
        self.levels = nn.ModuleList(
            Level(num_in_ch, num_feat, depth, up_size, bias) for _ in range(int(math.log2(upscale)))
        )
        initialise(self, lambda module: 0.001 if module is self.conv_first else math.sqrt(2 / (9 * num_feat)))
        for name, parameter in self.named_parameters():
            if name.endswith("image.weight"):
                parameter.data.copy_(bilinear())

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        check_channels(self, x, self.num_in_ch)
        features = F.leaky_relu(self.conv_first(x), 0.2)
        images = []
        for level in self.levels:
            x, features = level(x, features)
            images.append(x)
        return images if self.training else x


def bilinear() -> Tensor:
    """The 4x4 filter that doubles an image bilinearly: (1, 3, 3, 1) / 4 in both directions."""
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    return torch.outer(row, row)
