"""FSRCNN: Dong et al., "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016."""

from __future__ import annotations

from torch import Tensor, nn

from rcan_plugin.archs.layers import check_channels, check_whole_numbers, conv, he_by_outputs, initialise


class FSRCNNArch(nn.Module):
    """FSRCNN(d, s, m) of section 3.2: feature extraction 5x5, shrinking 1x1, m mapping layers 3x3, expanding 1x1, and a
    transposed convolution 9x9 that upsamples.

    FSRCNN(56, 12, 4): 12,464 weights (published: 12,464), 173 biases and 172 slopes at every scale.

    Where the paper is silent or read differently: a PReLU with one slope per channel follows every convolution, as in
    public code (another reading has a single one after the mapping layers). The original output is `upscale - 1` pixels
    short; here `output_padding` completes it. Initial weights as in public code: He's by the number of outputs (with
    others the paper's rate of 1e-3 diverges), and standard deviation 0.001 in the transposed convolution.

    Args:
        num_in_ch: channels of input and output; 1 (luma) in the paper.
        num_feat: channels of the features, d.
        num_shrunk: channels of the mapping layers, s.
        num_map: number of mapping layers, m.
        bias: whether the convolutions have biases.
        upscale: scale, 1 or more.

    Input: N x num_in_ch x H x W, range 0 to 1; output: N x num_in_ch x H*upscale x W*upscale, not clipped.

    Raises:
        ValueError: an invalid argument, or an input whose channels are not `num_in_ch`.
    """

    def __init__(
        self,
        num_in_ch: int = 1,
        num_feat: int = 56,
        num_shrunk: int = 12,
        num_map: int = 4,
        bias: bool = True,
        upscale: int = 3,
    ) -> None:
        super().__init__()
        check_whole_numbers(
            "FSRCNNArch",
            num_in_ch=num_in_ch,
            num_feat=num_feat,
            num_shrunk=num_shrunk,
            num_map=num_map,
            upscale=upscale,
        )
        self.num_in_ch, self.upscale = num_in_ch, upscale
        plan = [(num_in_ch, num_feat, 5), (num_feat, num_shrunk, 1)]
        plan += [(num_shrunk, num_shrunk, 3)] * num_map + [(num_shrunk, num_feat, 1)]
        layers: list[nn.Module] = []
        for inputs, outputs, size in plan:
            layers += [conv(inputs, outputs, size, bias), nn.PReLU(outputs)]
        self.body = nn.Sequential(*layers)
        self.deconv = nn.ConvTranspose2d(
            num_feat, num_in_ch, 9, upscale, padding=4, output_padding=upscale - 1, bias=bias
        )
        initialise(self, lambda module: 0.001 if module is self.deconv else he_by_outputs(module))

    def forward(self, x: Tensor) -> Tensor:
        check_channels(self, x, self.num_in_ch)
        return self.deconv(self.body(x))
