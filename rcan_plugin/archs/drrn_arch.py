"""DRRN: Tai et al., "Image Super-Resolution via Deep Recursive Residual Network", CVPR 2017."""

from __future__ import annotations

from torch import Tensor, nn

from rcan_plugin.archs.layers import (
    PreActivated,
    Recursion,
    check_channels,
    check_whole_numbers,
    conv,
    he,
    initialise,
    keep_buffers_apart,
)
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample


class DRRNArch(nn.Module):
    """One recursive block of 25 residual units that share their two convolutions, 128 channels (B1U25, section 3).

    297,216 weights (published: 297K) and 385 biases; one network serves all scales. The normalisations, which units do
    not share, have 13,058 parameters more.

    As in the authors' `train.prototxt`: normalisation and ReLU precede every convolution, also the first, which reads
    the image; every unit adds to the block's first features. Initial weights are He's. Ports to PyTorch leave out
    normalisation and biases.

    Args:
        num_in_ch: channels of input and output; 1 (luma) in the paper.
        num_feat: channels of the features.
        num_unit: number of residual units, U.
        bias: whether the convolutions have biases.
        batch_norm: whether to normalise before each convolution.
        upscale: scale, 1 or more; with 1 the input must already be bicubic-upsampled, by any scale.

    Input: N x num_in_ch x H x W, range 0 to 1; output: N x num_in_ch x H*upscale x W*upscale, not clipped.

    Raises:
        ValueError: an invalid argument, or an input whose channels are not `num_in_ch`.
    """

    def __init__(
        self,
        num_in_ch: int = 1,
        num_feat: int = 128,
        num_unit: int = 25,
        bias: bool = True,
        batch_norm: bool = True,
        upscale: int = 1,
    ) -> None:
        super().__init__()
        check_whole_numbers("DRRNArch", num_in_ch=num_in_ch, num_feat=num_feat, num_unit=num_unit, upscale=upscale)
        self.num_in_ch, self.upscale = num_in_ch, upscale
        self.bicubic = BicubicUpsample(upscale)
        self.first = PreActivated(conv(num_in_ch, num_feat, 3, bias), batch_norm)
        shared = [conv(num_feat, num_feat, 3, bias) for _ in range(2)]
        self.units = Recursion(shared, num_unit, batch_norm)
        self.last = PreActivated(conv(num_feat, num_in_ch, 3, bias), batch_norm)
        initialise(self, he)
        keep_buffers_apart(self)

    def forward(self, x: Tensor) -> Tensor:
        check_channels(self, x, self.num_in_ch)
        x = self.bicubic(x)
        first = features = self.first(x)
        for norms in self.units.norms:
            features = first + self.units(features, norms)
        return x + self.last(features)
