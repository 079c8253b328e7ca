"""DRCN: Kim et al., "Deeply-Recursive Convolutional Network for Image Super-Resolution", CVPR 2016."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcan_plugin.archs.layers import check_channels, conv, he, initialise, keep_buffers_apart, whole_numbers
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample


class DRCNArch(nn.Module):
    """Embedding (two convolutions), one convolution applied 16 times, and a reconstruction (two convolutions) of each
    recursion's result; the output is their weighted sum (sections 3.1 and 3.2: recursive supervision, skip connection).

    1,774,096 weights, the 16 of the sum among them (published: 1,774K), and 1,025 biases, whatever the scale.

    In training the output is a list: the 16 predictions, supervised by `RecursiveLoss`, and last their sum.

    Where the paper is silent or could not be looked up: each prediction is what the reconstruction gives plus the
    enlarged image, so the ReLU of the equations' last convolution, which would allow no negative residual, is left
    out; the weights of the sum start at 1/16 and are not normalised; initial weights are He's, and the recursive
    convolution begins as the identity (both remembered, not checked).

    Args:
        num_in_ch: channels of input and output; the paper's 1 is luma.
        num_feat: channels in between.
        num_recursion: how often the recursive convolution is applied.
        bias: whether the convolutions have biases.
        upscale: 1 or more; 1 takes an image that is enlarged already.

    Input: N x num_in_ch x H x W, range 0 to 1; output: N x num_in_ch x H*upscale x W*upscale, not clipped.

    Raises:
        ValueError: an argument that no network can be built from, or an input of other channels.
    """

    def __init__(
        self, num_in_ch: int = 1, num_feat: int = 256, num_recursion: int = 16, bias: bool = True, upscale: int = 3
    ) -> None:
        super().__init__()
        whole_numbers("DRCNArch", num_in_ch=num_in_ch, num_feat=num_feat, num_recursion=num_recursion, upscale=upscale)
        self.num_in_ch, self.upscale, self.num_recursion = num_in_ch, upscale, num_recursion
        self.bicubic = BicubicUpsample(upscale)
        self.embed1 = conv(num_in_ch, num_feat, 3, bias)
        self.embed2 = conv(num_feat, num_feat, 3, bias)
        self.recursive = conv(num_feat, num_feat, 3, bias)
        self.reconstruct1 = conv(num_feat, num_feat, 3, bias)
        self.reconstruct2 = conv(num_feat, num_in_ch, 3, bias)
        self.weights = nn.Parameter(torch.full((num_recursion,), 1 / num_recursion))
        initialise(self, he)
        nn.init.dirac_(self.recursive.weight)
        keep_buffers_apart(self)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        check_channels(self, x, self.num_in_ch)
        x = self.bicubic(x)
        features = F.relu(self.embed2(F.relu(self.embed1(x))))
        predictions = []
        for _ in range(self.num_recursion):
            features = F.relu(self.recursive(features))
            predictions.append(x + self.reconstruct2(F.relu(self.reconstruct1(features))))
        final = torch.einsum("d,dnchw->nchw", self.weights, torch.stack(predictions))
        return [*predictions, final] if self.training else final
