"""MDSR: Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from rcan_plugin.archs.layers import (
    DIV2K_MEAN,
    MeanShift,
    ResBlock,
    check_channels,
    check_whole_numbers,
    conv,
    keep_buffers_apart,
    upsampler,
)


class MDSRArch(nn.Module):
    """One network for several scales (section 3.3): two residual blocks 5x5 for each scale, a body of residual blocks
    that all scales share, and an upsampler for each scale.

    80 blocks of 64 channels, x2, x3, x4: 7,957,449 parameters (published: 8.0M); 16 blocks: 3,230,665 (3.2M). The long
    skip starts after the scale's two blocks. Initial weights are torch's default and residuals are not scaled, as in
    the authors' code.

    The authors' Torch code and figure have a last convolution for each scale, their PyTorch code one for all
    (`shared_tail: true`, 7,953,987 parameters).

    Args:
        num_in_ch: channels of input and output.
        num_feat: channels of the features.
        num_block: number of shared residual blocks.
        scales: scales it can upsample by, 3 or powers of two.
        shared_tail: whether all scales share the last convolution.
        img_range: range inside the network: the value of an input of 1.
        rgb_mean: mean of each channel, range 0 to 1.

    Input: N x num_in_ch x H x W, range 0 to 1, and the scale; output: N x num_in_ch x H*scale x W*scale, not clipped.

    Attributes:
        scales: marks a network whose forward pass takes the scale; `AcceleratedSRModel` passes that of the data.

    Raises:
        ValueError: an invalid argument, an input whose channels are not `num_in_ch`, or a scale not in `scales`.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_feat: int = 64,
        num_block: int = 80,
        scales: Sequence[int] = (2, 3, 4),
        shared_tail: bool = False,
        img_range: float = 255.0,
        rgb_mean: Sequence[float] = DIV2K_MEAN,
    ) -> None:
        super().__init__()
        check_whole_numbers("MDSRArch", num_in_ch=num_in_ch, num_feat=num_feat, num_block=num_block)
        if len(rgb_mean) != num_in_ch:
            raise ValueError(f"MDSRArch: rgb_mean is {rgb_mean!r}; expected {num_in_ch} values, one per channel.")
        if not isinstance(scales, Sequence) or not scales:
            raise ValueError(f"MDSRArch: scales is {scales!r}; expected a list such as [2, 3, 4].")
        if not img_range > 0:
            raise ValueError(f"MDSRArch: img_range is {img_range!r}; expected a positive number, 255 or 1.")
        self.num_in_ch, self.scales = num_in_ch, tuple(scales)
        self.mean = MeanShift(rgb_mean, img_range)
        self.conv_first = conv(num_in_ch, num_feat, 3)
        self.before = nn.ModuleDict(
            {f"x{scale}": nn.Sequential(*(ResBlock(num_feat, 5) for _ in range(2))) for scale in scales}
        )
        self.body = nn.Sequential(*(ResBlock(num_feat) for _ in range(num_block)), conv(num_feat, num_feat, 3))
        try:
            self.upsample = nn.ModuleDict({f"x{scale}": upsampler(scale, num_feat) for scale in scales})
        except ValueError as error:
            raise ValueError(f"MDSRArch: scales is {scales!r}: {error}") from None
        tail = conv(num_feat, num_in_ch, 3)
        self.conv_last = nn.ModuleDict(
            {f"x{scale}": tail if shared_tail else conv(num_feat, num_in_ch, 3) for scale in scales}
        )
        keep_buffers_apart(self)

    def forward(self, x: Tensor, scale: int) -> Tensor:
        check_channels(self, x, self.num_in_ch)
        if scale not in self.scales:
            raise ValueError(f"MDSRArch: scale {scale!r}: this network has {', '.join(map(str, self.scales))}.")
        branch = f"x{scale}"
        shallow = self.before[branch](self.conv_first(self.mean.subtract(x)))
        deep = shallow + self.body(shallow)
        return self.mean.add(self.conv_last[branch](self.upsample[branch](deep)))
