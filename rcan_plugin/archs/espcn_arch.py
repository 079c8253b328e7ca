"""ESPCN: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
Neural Network", CVPR 2016."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcan_plugin.archs.layers import check_channels, conv, he_by_outputs, initialise, two_widths, whole_numbers


class ESPCNArch(nn.Module):
    """Convolutions 5x5 and 3x3 with tanh, one more 3x3 with upscale^2 channels, and the pixel shuffle (section 3).

    22,624 weights at x3 (21,184 at x2, 24,640 at x4) and 96 + upscale^2 biases; the paper gives no figure.

    Where the paper is silent: initial weights are He's by the number of outputs and, in the last convolution, of
    standard deviation 0.001, as in public code. tanh is the paper's; the ReLU of its first version is not offered.

    Args:
        num_in_ch: channels of input and output; the paper's 1 is luma.
        num_feats: channels after the first and after the second convolution.
        bias: whether the convolutions have biases.
        upscale: whole number.

    Input: N x num_in_ch x H x W, range 0 to 1; output: N x num_in_ch x H*upscale x W*upscale, not clipped.

    Raises:
        ValueError: an argument that no network can be built from, or an input of other channels.
    """

    def __init__(
        self, num_in_ch: int = 1, num_feats: Sequence[int] = (64, 32), bias: bool = True, upscale: int = 3
    ) -> None:
        super().__init__()
        whole_numbers("ESPCNArch", num_in_ch=num_in_ch, upscale=upscale)
        first, second = two_widths("ESPCNArch", num_feats)
        self.num_in_ch, self.upscale = num_in_ch, upscale
        self.conv1 = conv(num_in_ch, first, 5, bias)
        self.conv2 = conv(first, second, 3, bias)
        self.conv3 = conv(second, num_in_ch * upscale**2, 3, bias)
        initialise(self, lambda module: 0.001 if module is self.conv3 else he_by_outputs(module))

    def forward(self, x: Tensor) -> Tensor:
        check_channels(self, x, self.num_in_ch)
        features = torch.tanh(self.conv2(torch.tanh(self.conv1(x))))
        return F.pixel_shuffle(self.conv3(features), self.upscale)
