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
        with torch.autocast(x.device.type, enabled=False):
            x = F.pad(x.to(self.taps.dtype), (_WINDOW // 2,) * 4, "replicate")
            rows = self._weighted_sum(
                [x[:, :, k : k + x.shape[2] - _WINDOW + 1].unsqueeze(3) for k in range(_WINDOW)], 1
            )
            x = rows.flatten(2, 3)
            columns = [x[..., k : k + x.shape[3] - _WINDOW + 1].unsqueeze(4) for k in range(_WINDOW)]
            return self._weighted_sum(columns, 0).flatten(3, 4)

    def _weighted_sum(self, shifted: list[Tensor], axes_after: int) -> Tensor:
        """Sum of the shifted images, weighted by `taps`, with the phases on the axis before the last `axes_after`.

        Added tap by tap, so that a pixel's value does not depend on the size of the image: a crop equals the crop of
        the whole. Matrix products round differently by size; convolutions use TF32 on a GPU, with 10 bits.
        """
        weights = self.taps.view(self.scale, _WINDOW, *(1,) * axes_after).unbind(1)
        total = shifted[0] * weights[0]
        for image, weight in zip(shifted[1:], weights[1:], strict=True):
            total = total + image * weight
        return total


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
        with torch.autocast(x.device.type, enabled=False):  # not convolutions: see BicubicUpsample
            x = F.pad(x.to(self.taps.dtype), (self.pad,) * 4, "replicate")
            for axis in (2, 3):
                x = x.unfold(axis, len(self.taps), self.divisor) @ self.taps
        return x
