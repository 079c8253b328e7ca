"""VDSR: Kim et al., "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from rcan_plugin.archs.layers import check_channels, check_whole_numbers, conv, he, initialise, keep_buffers_apart
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample


class VDSRArch(nn.Module):
    """20 convolutions 3x3 of 64 channels with ReLU between, added to the bicubic-upsampled image (section 3.1).

    664,704 weights (published: 665K) and 1,217 biases; one network serves all scales.

    Where the paper is silent: initial weights are He's by the number of inputs, as in Caffe's `msra` (public PyTorch
    code uses the number of outputs, which differs in the first and last convolution). Public weights
    (twtygqyy/pytorch-vdsr) have no biases.

    Args:
        num_in_ch: channels of input and output; 1 (luma) in the paper.
        num_feat: channels of the features.
        num_layers: number of convolutions.
        bias: whether the convolutions have biases.
        upscale: scale, 1 or more; with 1 the input must already be bicubic-upsampled, by any scale.

    Input: N x num_in_ch x H x W, range 0 to 1; output: N x num_in_ch x H*upscale x W*upscale, not clipped.

    Raises:
        ValueError: an invalid argument, or an input whose channels are not `num_in_ch`.
    """

    def __init__(
        self, num_in_ch: int = 1, num_feat: int = 64, num_layers: int = 20, bias: bool = True, upscale: int = 1
    ) -> None:
        super().__init__()
        check_whole_numbers("VDSRArch", num_in_ch=num_in_ch, num_feat=num_feat, num_layers=num_layers, upscale=upscale)
        if num_layers < 2:
            raise ValueError(f"VDSRArch: num_layers is {num_layers}; expected 2 or more: a first and a last.")
        self.num_in_ch, self.upscale = num_in_ch, upscale
        self.bicubic = BicubicUpsample(upscale)
        widths = [num_in_ch, *[num_feat] * (num_layers - 1), num_in_ch]
        self.convs = nn.ModuleList(conv(*pair, 3, bias) for pair in pairwise(widths))
        initialise(self, he)
        keep_buffers_apart(self)

    def forward(self, x: Tensor) -> Tensor:
        check_channels(self, x, self.num_in_ch)
        x = self.bicubic(x)
        features = x
        for layer in self.convs[:-1]:
            features = F.relu(layer(features), inplace=True)
        return x + self.convs[-1](features)
