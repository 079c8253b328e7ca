"""SRCNN: Dong et al., "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 2016 (ECCV 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from rcan_plugin._checks import is_whole
from rcan_plugin.archs.layers import (
    check_channels,
    check_whole_numbers,
    checked_widths,
    conv,
    initialise,
    keep_buffers_apart,
)
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample


class SRCNNArch(nn.Module):
    """Three convolutions on the bicubic-upsampled image (section 3.1): kernels 9-5-5, 64 and 32 channels, ReLU between.

    57,184 weights and 97 biases at every scale (published: 57,184); 9-1-5 has 8,032 and 97.

    Differs from the authors' training: they use no padding and compute the loss on the centre; here the image is padded
    with zeros, so that input and output have the same size. From memory of the paper, not checked: initial weights are
    Gaussian with standard deviation 0.001, biases 0.

    Args:
        num_in_ch: channels of input and output; 1 (luma) for the paper's 9-5-5.
        num_feats: channels after the first and the second convolution.
        kernel_sizes: of the three convolutions; (9, 1, 5) is the ECCV network.
        bias: whether the convolutions have biases.
        upscale: scale, 1 or more; with 1 the input must already be bicubic-upsampled.

    Input: N x num_in_ch x H x W, range 0 to 1; output: N x num_in_ch x H*upscale x W*upscale, not clipped.

    Raises:
        ValueError: an invalid argument, or an input whose channels are not `num_in_ch`.
    """

    def __init__(
        self,
        num_in_ch: int = 1,
        num_feats: Sequence[int] = (64, 32),
        kernel_sizes: Sequence[int] = (9, 5, 5),
        bias: bool = True,
        upscale: int = 3,
    ) -> None:
        super().__init__()
        check_whole_numbers("SRCNNArch", num_in_ch=num_in_ch, upscale=upscale)
        first, second = checked_widths("SRCNNArch", num_feats)
        is_triple = isinstance(kernel_sizes, Sequence) and len(kernel_sizes) == 3
        if not is_triple or not all(is_whole(size) and size % 2 == 1 for size in kernel_sizes):
            raise ValueError(f"SRCNNArch: kernel_sizes is {kernel_sizes!r}; expected three odd sizes: [9, 5, 5].")
        self.num_in_ch, self.upscale = num_in_ch, upscale
        self.bicubic = BicubicUpsample(upscale)
        self.conv1 = conv(num_in_ch, first, kernel_sizes[0], bias)
        self.conv2 = conv(first, second, kernel_sizes[1], bias)
        self.conv3 = conv(second, num_in_ch, kernel_sizes[2], bias)
        initialise(self, lambda _: 0.001)
        keep_buffers_apart(self)

    def forward(self, x: Tensor) -> Tensor:
        check_channels(self, x, self.num_in_ch)
        return self.conv3(F.relu(self.conv2(F.relu(self.conv1(self.bicubic(x))))))
