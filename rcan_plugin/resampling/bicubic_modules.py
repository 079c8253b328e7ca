"""MATLAB's bicubic resampling as torch modules, for batches of float images. Source of the taps: `bicubic.py`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcan_plugin._checks import require_whole
from rcan_plugin.resampling.bicubic import bicubic_taps


class BicubicUpsample(nn.Module):
    """Bicubic enlargement as MATLAB's `imresize` does it, of floats that are not rounded; nothing in it is trained.

    The numbers are those of `degradations.imresize(image, scale)` up to float32's own rounding, under autocast too. The
    border is repeated.

    Args:
        scale: whole number of 1 or more; 1 gives the image back.

    Raises:
        ValueError: another scale.
    """

    taps: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        require_whole("BicubicUpsample: scale", scale)
        self.scale = scale
        if scale == 1:
            return
        # 4 taps for each of the `scale` places of an output pixel in its input pixel; all in a window of 5.
        found = bicubic_taps(8, float(scale))
        rows = torch.zeros(scale, 5, dtype=torch.float64)
        for place in range(scale):
            output = 3 * scale + place  # away from the border
            for number, weight in enumerate(found.weights[output]):
                if weight:
                    rows[place, int(found.first[output]) + number - 3 + 2] += float(weight)
        self.register_buffer("taps", rows.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x C x H*scale x W*scale, float32, or what the network around it was cast to."""
        if self.scale == 1:
            return x
        # Products of matrices: for convolutions torch takes TF32 on a GPU, which has 10 bits.
        with torch.autocast(x.device.type, enabled=False):
            x = F.pad(x.to(self.taps.dtype), (2, 2, 2, 2), "replicate")
            x = (x.unfold(2, 5, 1) @ self.taps.T).movedim(-1, 3).flatten(2, 3)
            return (x.unfold(3, 5, 1) @ self.taps.T).flatten(3, 4)


class BicubicDownsample(nn.Module):
    """Bicubic reduction to a half, a quarter ..., antialiased: `degradations.imresize(image, 1 / divisor)` of floats.

    Args:
        divisor: whole number of 1 or more; 1 gives the image back.

    Raises:
        ValueError: another divisor.
    """

    taps: Tensor

    def __init__(self, divisor: int) -> None:
        super().__init__()
        require_whole("BicubicDownsample: divisor", divisor)
        self.divisor = divisor
        found = bicubic_taps(8 * divisor, 1 / divisor)
        self.pad = -int(found.first[0])
        self.register_buffer("taps", torch.from_numpy(found.weights[0]).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x C x H/divisor x W/divisor, float32; H and W are multiples of the divisor."""
        if self.divisor == 1:
            return x
        with torch.autocast(x.device.type, enabled=False):
            x = F.pad(x.to(self.taps.dtype), (self.pad,) * 4, "replicate")
            for axis in (2, 3):
                x = x.unfold(axis, len(self.taps), self.divisor) @ self.taps
        return x
