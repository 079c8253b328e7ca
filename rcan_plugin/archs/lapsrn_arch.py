"""LapSRN: Lai et al., "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", CVPR 2017."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcan_plugin.archs.layers import check_channels, check_whole_numbers, conv, initialise


class Doubling(nn.Module):
    """Doubles height and width of features: a transposed convolution 3x3 or 4x4 with stride 2.

    The 3x3 convolution gives 2n + 1 rows and columns; the last is dropped, as in the authors' MatConvNet code.
    """

    def __init__(self, num_feat: int, kernel_size: int, bias: bool) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(num_feat, num_feat, kernel_size, 2, padding=kernel_size - 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        doubled = self.deconv(x)
        return doubled[..., : 2 * x.shape[-2], : 2 * x.shape[-1]]


class Level(nn.Module):
    """One level of the pyramid: `depth` convolutions and `Doubling` of the features, the residual read from them, and a
    transposed convolution that doubles the image."""

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
    """A pyramid of levels that each double the image: an image branch upsamples it, a feature branch predicts the
    residual (section 3).

    Each level has 10 convolutions 3x3 of 64 channels and a transposed one, with leaky ReLU of slope 0.2; levels share
    nothing. x4: 812,768 weights (published: 812K) and 1,474 biases; x2: 406,672 and 769. For x3 reduce the x4 result,
    as the authors' code does.

    In training the output is a list of all levels' images, the largest last, for `PyramidLoss`.

    Where sources disagree: from memory, the paper's text says 4x4 for the transposed filters; only 3x3, as in the
    authors' code, gives the published count (4x4: 870K). Both are available. The image branch's filters start as
    bilinear and are trained. Initial weights follow the authors' `init_LapSRN_model.m`: standard deviation 0.001 in
    the first convolution, sqrt(2 / (9 * 64)) in all others, biases 0. From memory, not checked: at x8 the authors use 5
    convolutions a level (`depth: 5`).

    Args:
        num_in_ch: channels of input and output; 1 (luma) in the paper.
        num_feat: channels of the features.
        depth: number of convolutions in each level.
        up_size: kernel size of the features' transposed convolution, 3 or 4; 4 in weights of twtygqyy/pytorch-LapSRN.
        bias: whether convolutions have biases (never in the image branch); false for those weights.
        upscale: 2, 4 or 8.

    Input: N x num_in_ch x H x W, range 0 to 1; output: N x num_in_ch x H*upscale x W*upscale, not clipped.

    Raises:
        ValueError: an invalid argument, or an input whose channels are not `num_in_ch`.
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
        check_whole_numbers("LapSRNArch", num_in_ch=num_in_ch, num_feat=num_feat, depth=depth, upscale=upscale)
        if upscale not in (2, 4, 8):
            raise ValueError(f"LapSRNArch: upscale is {upscale!r}; expected 2, 4 or 8 (for x3 reduce the x4 result).")
        if up_size not in (3, 4):
            raise ValueError(f"LapSRNArch: up_size is {up_size!r}; expected 3 or 4.")
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
    """Return the 4x4 filter that doubles an image bilinearly: (1, 3, 3, 1) / 4 in both directions."""
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    return torch.outer(row, row)
