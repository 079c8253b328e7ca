"""ESPCN: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
Neural Network", CVPR 2016."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcan_plugin.archs.layers import (
    check_channels,
    check_whole_numbers,
    checked_widths,
    conv,
    he_by_outputs,
    initialise,
)


class ESPCNArch(nn.Module):
    """Convolutions 5x5 and 3x3 with tanh, a 3x3 convolution to upscale^2 channels, pixel shuffle (section 3).

    22,624 weights at x3 (21,184 at x2, 24,640 at x4) and 96 + upscale^2 biases; the paper gives no figure.

    The paper does not give initial weights; as in public code they are He's by the number of outputs and, in the last
    convolution, have standard deviation 0.001. The activation is the paper's tanh; the ReLU of the paper's first
    version is not available.

    Args:
        num_in_ch: channels of input and output; 1 (luma) in the paper.
        num_feats: channels after the first and the second convolution.
        bias: whether the convolutions have biases.
        upscale: scale, 1 or more.

    Input: N x num_in_ch x H x W, range 0 to 1; output: N x num_in_ch x H*upscale x W*upscale, not clipped.

    Raises:
        ValueError: an invalid argument, or an input whose channels are not `num_in_ch`.
    """

    def __init__(
        self, num_in_ch: int = 1, num_feats: Sequence[int] = (64, 32), bias: bool = True, upscale: int = 3
    ) -> None:
        super().__init__()
        check_whole_numbers("ESPCNArch", num_in_ch=num_in_ch, upscale=upscale)
        first, second = checked_widths("ESPCNArch", num_feats)
        self.num_in_ch, self.upscale = num_in_ch, upscale
        self.conv1 = conv(num_in_ch, first, 5, bias)
        self.conv2 = conv(first, second, 3, bias)
        self.conv3 = conv(second, num_in_ch * upscale**2, 3, bias)
        initialise(self, lambda module: 0.001 if module is self.conv3 else he_by_outputs(module))

    def forward(self, x: Tensor) -> Tensor:
        check_channels(self, x, self.num_in_ch)
        features = torch.tanh(self.conv2(torch.tanh(self.conv1(x))))
        return F.pixel_shuffle(self.conv3(features), self.upscale)
