"""MemNet: Tai et al., "MemNet: A Persistent Memory Network for Image Restoration", ICCV 2017."""

from __future__ import annotations

import torch
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


class MemoryBlock(nn.Module):
    """A recursive unit, applied `num_recursion` times with the same convolutions, and a gate (convolution 1x1) over its
    results (short-term memory) and those of all earlier blocks (long-term memory)."""

    def __init__(self, num_feat: int, num_recursion: int, num_before: int, bias: bool, batch_norm: bool) -> None:
        super().__init__()
        shared = [conv(num_feat, num_feat, 3, bias) for _ in range(2)]
        self.recursion = Recursion(shared, num_recursion, batch_norm)
        self.gate = PreActivated(conv((num_before + num_recursion) * num_feat, num_feat, 1, bias), batch_norm)

    def forward(self, before: list[Tensor]) -> Tensor:
        features, memory = before[-1], list(before)
        for norms in self.recursion.norms:
            features = features + self.recursion(features, norms)
            memory.append(features)
        return self.gate(torch.cat(memory, dim=1))


class MemNetArch(nn.Module):
    """Six memory blocks of six recursions, 64 channels (M6R6, sections 3 and 4: multi-supervised).

    676,992 weights (published: 677K), 1,217 biases and 6 weights of the sum; one network serves all scales. The
    normalisations, which are not shared, have 17,282 parameters more.

    In training the output is a list of each block's prediction followed by their weighted sum, for `EuclideanLoss`.

    As in the authors' prototxt: normalisation and ReLU precede every convolution, also the first, which reads the
    image; a recursion adds to the previous one; all blocks share the convolution that reconstructs, but not the
    normalisation before it. Where the paper is silent: the weights of the sum start at 1/6 (in the authors' Caffe layer
    at 1 each, a sum of six); initial weights are He's.

    Args:
        num_in_ch: channels of input and output; 1 (luma) in the paper.
        num_feat: channels of the features.
        num_block: number of memory blocks, M.
        num_recursion: number of recursions in each block, R.
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
        num_feat: int = 64,
        num_block: int = 6,
        num_recursion: int = 6,
        bias: bool = True,
        batch_norm: bool = True,
        upscale: int = 1,
    ) -> None:
        super().__init__()
        check_whole_numbers(
            "MemNetArch",
            num_in_ch=num_in_ch,
            num_feat=num_feat,
            num_block=num_block,
            num_recursion=num_recursion,
            upscale=upscale,
        )
        self.num_in_ch, self.upscale = num_in_ch, upscale
        self.bicubic = BicubicUpsample(upscale)
        self.extract = PreActivated(conv(num_in_ch, num_feat, 3, bias), batch_norm)
        self.blocks = nn.ModuleList(
            MemoryBlock(num_feat, num_recursion, number + 1, bias, batch_norm) for number in range(num_block)
        )
        self.reconstruct = Recursion([conv(num_feat, num_in_ch, 3, bias)], num_block, batch_norm)
        self.weights = nn.Parameter(torch.full((num_block,), 1 / num_block))
        initialise(self, he)
        keep_buffers_apart(self)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        check_channels(self, x, self.num_in_ch)
        x = self.bicubic(x)
        memory, predictions = [self.extract(x)], []
        for block, norms in zip(self.blocks, self.reconstruct.norms, strict=True):
            memory.append(block(memory))
            predictions.append(x + self.reconstruct(memory[-1], norms))
        final = torch.einsum("m,mnchw->nchw", self.weights, torch.stack(predictions))
        return [*predictions, final] if self.training else final
