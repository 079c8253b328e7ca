"""MATLAB's bicubic resampling as torch modules, for batches of float images. The taps come from `bicubic.py`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcan_plugin._checks import require_whole
from rcan_plugin.resampling.bicubic import bicubic_taps

_WINDOW = 5  # input pixels that hold the 4 taps of every output pixel of one input pixel


class BicubicUpsample(nn.Module):
    """Bicubic upsampling like MATLAB's `imresize(image, scale)` on floats: not rounded, not clipped, no parameters.

    Equal to `resampling.bicubic.imresize` within float32 precision, under autocast too. The border is `replicate`.

    Args:
        scale: whole number of 1 or more; 1 returns the input.

    Raises:
        ValueError: `scale` is not a whole number of 1 or more.
    """

    taps: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        require_whole("BicubicUpsample: scale", scale)
        self.scale = scale
        if scale == 1:
            return
        axis = bicubic_taps(8, float(scale))
        centre = 3  # the input pixel whose outputs are read: far enough from the border for all of its taps
        matrix = torch.zeros(scale, _WINDOW, dtype=torch.float64)
        for phase in range(scale):
            output = centre * scale + phase
            offset = int(axis.first[output]) - centre + _WINDOW // 2
            for k, weight in enumerate(axis.weights[output]):
                if weight:
                    matrix[phase, offset + k] += float(weight)
        self.register_buffer("taps", matrix.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W -> N x C x H*scale x W*scale, in float32 or the type that the module was cast to."""
        if self.scale == 1:
            return x
        # Matrix products, not convolutions: on a GPU torch lets convolutions use TF32, whose mantissa has 10 bits.
        with torch.autocast(x.device.type, enabled=False):
            x = F.pad(x.to(self.taps.dtype), (_WINDOW // 2,) * 4, "replicate")
            x = (x.unfold(2, _WINDOW, 1) @ self.taps.T).movedim(-1, 3).flatten(2, 3)
            return (x.unfold(3, _WINDOW, 1) @ self.taps.T).flatten(3, 4)


class BicubicDownsample(nn.Module):
    """Antialiased bicubic downsampling like MATLAB's `imresize(image, 1 / divisor)` on floats; no parameters.

    Equal to `resampling.bicubic.imresize` within float32 precision, under autocast too. The border is `replicate`.

    Args:
        divisor: whole number of 1 or more; 1 returns the input.

    Raises:
        ValueError: `divisor` is not a whole number of 1 or more.
    """

    taps: Tensor

    def __init__(self, divisor: int) -> None:
        super().__init__()
        require_whole("BicubicDownsample: divisor", divisor)
        self.divisor = divisor
        axis = bicubic_taps(8 * divisor, 1 / divisor)
        self.pad = -int(axis.first[0])
        self.register_buffer("taps", torch.from_numpy(axis.weights[0]).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W -> N x C x H/divisor x W/divisor, in float32 or the type that the module was cast to.

        H and W are multiples of the divisor.
        """
        if self.divisor == 1:
            return x
        with torch.autocast(x.device.type, enabled=False):  # matrix products: see BicubicUpsample
            x = F.pad(x.to(self.taps.dtype), (self.pad,) * 4, "replicate")
            for axis in (2, 3):
                x = x.unfold(axis, len(self.taps), self.divisor) @ self.taps
        return x
