"""DRRN: Tai et al., "Image Super-Resolution via Deep Recursive Residual Network", CVPR 2017."""

from __future__ import annotations

from torch import Tensor, nn

from rcan_plugin.archs.layers import (
    PreActivated,
    Recursion,
    check_channels,
    conv,
    he,
    initialise,
    keep_buffers_apart,
    whole_numbers,
)
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample


class DRRNArch(nn.Module):
    """One recursive block of 25 residual units that share their two convolutions, 128 channels (B1U25, section 3).

    297,216 weights (published: 297K) and 385 biases, whatever the scale: one network serves them all. The
    normalisations, which are not shared between units, have 13,058 more.

    As in the authors' `train.prototxt`: every convolution comes after normalisation and ReLU, also the first, on the
    image itself; every unit adds to the block's first features. Initial weights are He's. Ports to PyTorch leave
    normalisation and biases out.

    Args:
        num_in_ch: channels of input and output; the paper's 1 is luma.
        num_feat: channels in between.
        num_unit: residual units, U.
        bias: whether the convolutions have biases.
        batch_norm: false leaves the normalisation out.
        upscale: 1 or more; 1 takes an image that is enlarged already, of whatever scale.

    Input: N x num_in_ch x H x W, range 0 to 1; output: N x num_in_ch x H*upscale x W*upscale, not clipped.

    Raises:
        ValueError: an argument that no network can be built from, or an input of other channels.
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
        whole_numbers("DRRNArch", num_in_ch=num_in_ch, num_feat=num_feat, num_unit=num_unit, upscale=upscale)
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
