"""LumaOnly: applies a network of one channel (luma) to colour images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rcan_plugin.archs.layers import check_channels, keep_buffers_apart
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample


class LumaOnly(nn.Module):
    """Upsamples the luma of RGB images with a network of one channel, and their chroma by bicubic interpolation.

    Y, Cb and Cr are MATLAB's (`rgb2ycbcr`, ITU-R BT.601: Y from 16/255 to 235/255), as in the papers. The state dict
    has the network's own keys: weights trained on luma load unchanged.

    Args:
        network: the network, or its options as under `network_g`, such as {type: VDSRArch, upscale: 3}.

    Input: N x 3 x H x W, R, G, B, range 0 to 1; output: N x 3 x H*upscale x W*upscale, not clipped. If the network
    returns a list in training, the last image is used.

    Raises:
        ValueError: the network has no whole `upscale`, its `num_in_ch` is not 1, or an input does not have 3 channels.
    """

    to_ycbcr: Tensor
    to_rgb: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module | Mapping[str, Any]) -> None:
        super().__init__()
        inner: nn.Module
        if isinstance(network, nn.Module):
            inner = network
        else:
            # Not at the top: a network given as a module needs no BasicSR.
            from basicsr.archs import build_network

            inner = build_network(dict(network))
        upscale, channels = getattr(inner, "upscale", None), getattr(inner, "num_in_ch", None)
        if not isinstance(upscale, int) or channels != 1:
            raise ValueError(
                f"LumaOnly: {type(inner).__name__} has upscale {upscale} and num_in_ch {channels}: expected a "
                "network of one channel with a whole number as `upscale`, such as VDSRArch."
            )
        self.network = inner
        self.upscale = upscale
        self.bicubic = BicubicUpsample(upscale)
        # Rows: Y, Cb, Cr from R, G, B of 0 to 1, ITU-R BT.601 as in MATLAB's rgb2ycbcr.
        matrix = torch.tensor(
            [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], dtype=torch.float64
        )
        matrix = matrix / 255
        self.register_buffer("to_ycbcr", matrix.float(), persistent=False)
        self.register_buffer("to_rgb", matrix.inverse().float(), persistent=False)
        offset = torch.tensor([16.0, 128.0, 128.0]).view(1, 3, 1, 1) / 255
        self.register_buffer("offset", offset, persistent=False)
        keep_buffers_apart(self)

    def forward(self, x: Tensor) -> Tensor:
        check_channels(self, x, 3)
        ycbcr = self._mixed(self.to_ycbcr, x) + self.offset
        luma = self.network(ycbcr[:, :1])
        luma = luma if isinstance(luma, Tensor) else luma[-1]
        upsampled = torch.cat([luma.float(), self.bicubic(ycbcr[:, 1:])], dim=1)
        return self._mixed(self.to_rgb, upsampled - self.offset)

    @staticmethod
    def _mixed(matrix: Tensor, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return torch.einsum("dc,nchw->ndhw", matrix, x.to(matrix.dtype))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the state dict of the network inside."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights into the network inside."""
        return self.network.load_state_dict(*args, **kwargs)

    def own_weights(self, state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Rename weights of a layout that the network inside knows to its keys."""
        rename = getattr(self.network, "own_weights", dict)
        return rename(state_dict)
