"""DRCN: Kim et al., "Deeply-Recursive Convolutional Network for Image Super-Resolution", CVPR 2016."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcan_plugin.archs.layers import check_channels, check_whole_numbers, conv, he, initialise, keep_buffers_apart
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample


class DRCNArch(nn.Module):
    """Embedding (two convolutions), one convolution applied 16 times, and a reconstruction (two convolutions) of each
    recursion's result; the output is their weighted sum (sections 3.1 and 3.2: recursive supervision, skip connection).

    1,774,096 weights including the 16 of the sum (published: 1,774K) and 1,025 biases at every scale.

    In training the output is a list of the 16 predictions followed by their weighted sum, for `RecursiveLoss`.

    Where the paper is silent or was not available: each prediction is the reconstruction plus the upsampled image, so
    the ReLU after the last convolution in the equations is left out, because it would allow no negative residual; the
    weights of the sum start at 1/16 and are not normalised. From memory, not checked: initial weights are He's, and the
    recursive convolution starts as the identity.

    Args:
        num_in_ch: channels of input and output; 1 (luma) in the paper.
        num_feat: channels of the features.
        num_recursion: number of times the recursive convolution is applied.
        bias: whether the convolutions have biases.
        upscale: scale, 1 or more; with 1 the input must already be bicubic-upsampled.

    Input: N x num_in_ch x H x W, range 0 to 1; output: N x num_in_ch x H*upscale x W*upscale, not clipped.

    Raises:
        ValueError: an invalid argument, or an input whose channels are not `num_in_ch`.
    """

    def __init__(
        self, num_in_ch: int = 1, num_feat: int = 256, num_recursion: int = 16, bias: bool = True, upscale: int = 3
    ) -> None:
        super().__init__()
        check_whole_numbers(
            "DRCNArch", num_in_ch=num_in_ch, num_feat=num_feat, num_recursion=num_recursion, upscale=upscale
        )
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
