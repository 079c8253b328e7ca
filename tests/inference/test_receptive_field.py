"""Receptive fields: of every network of this project, of windows, of global pooling."""

import pytest
import torch
from torch import nn

from rcan_plugin.archs import NETWORKS, LumaOnly
from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.inference.receptive_field import ReceptiveField, find_receptive_field
from tests.archs.small import SMALL
from tests.inference.networks import convolutions, pooling

RADII = {  # by hand, from the layers of the small networks at x2
    "DRCNArch": 6,  # bicubic 2; 2 + 3 + 2 convolutions 3x3 at twice the size: 3.5, up to a whole pixel
    "DRRNArch": 6,  # bicubic 2; 1 + 3 * 2 + 1: 4
    "ESPCNArch": 4,  # 2 + 1 + 1
    "FSRCNNArch": 6,  # 2 + 2 convolutions, and 9 taps of a transposed convolution: 4 of its pixels
    "LapSRNArch": 4,  # 1 + 2, a transposed convolution, 1 at twice the size
    "MDSRArch": 16,  # 1; 4 convolutions 5x5; 4 + 1; 1; 1 at twice the size
    "MemNetArch": 9,  # bicubic 2; 1 + 3 * 4 + 1 at twice the size: 7
    "SRCNNArch": 6,  # bicubic 2; 4 + 2 + 2 at twice the size: 4
    "VDSRArch": 4,  # bicubic 2; 4 at twice the size: 2
}


def small(name: str) -> nn.Module:
    cls = next(network for network in NETWORKS if network.__name__ == name)
    scale = {} if name == "MDSRArch" else {"upscale": 2}
    torch.manual_seed(0)
    return cls(**SMALL[name], **scale).eval()


@pytest.mark.parametrize("name", [network.__name__ for network in NETWORKS if network is not LumaOnly])
def test_every_network(name):
    network = small(name)
    arguments = (2,) if name == "MDSRArch" else ()
    image = torch.zeros(1, getattr(network, "num_in_ch", 3), 4, 4)
    field = find_receptive_field(lambda lq: network(lq, *arguments), image)
    assert field == (None if name == "RCANArch" else ReceptiveField(RADII[name]))


def test_of_a_luma_network_the_bicubic_of_the_chroma_counts_too():
    assert find_receptive_field(LumaOnly(small("ESPCNArch")), torch.zeros(1, 3, 4, 4)) == ReceptiveField(4)


def test_both_axes_count():
    torch.manual_seed(0)
    for kernel in ((7, 1), (1, 7)):
        network = nn.Conv2d(3, 3, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
        assert find_receptive_field(network, torch.zeros(1, 3, 4, 4)) == ReceptiveField(3)


def test_unshuffled_inputs_have_a_multiple():
    torch.manual_seed(0)
    options = {"num_feat": 8, "num_group": 1, "num_block": 1, "channel_attention": False}
    network = RCANArch(**options, upscale=2, unshuffle=4).eval()
    # By NaN in single columns: 28 to 31 pixels, which differ by the place of the column in its block.
    assert find_receptive_field(network, torch.zeros(1, 3, 4, 4)) == ReceptiveField(31, multiple=4)


class Windows(nn.Module):
    """Attention of one head inside windows of 4x4, without a shift."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        windows = x.view(batch, channels, height // 4, 4, width // 4, 4).permute(0, 2, 4, 3, 5, 1).flatten(3, 4)
        windows = torch.softmax(windows @ windows.mT, -1) @ windows
        windows = windows.view(batch, height // 4, width // 4, 4, 4, channels)
        return windows.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


def test_windows_have_a_multiple():
    assert find_receptive_field(Windows(), torch.zeros(1, 3, 4, 4)) == ReceptiveField(3, multiple=4)


class Place(nn.Module):
    """Depends on where a pixel is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.linspace(0, 1, x.shape[-1])


@pytest.mark.parametrize("network", [pooling(2), Place()], ids=["global pooling", "place"])
def test_what_no_overlap_makes_exact_has_none(network):
    double = isinstance(network, nn.Module)
    image = torch.zeros(1, 3, 4, 4)
    assert find_receptive_field(network if double else lambda lq: network(lq.double()), image) is None


def test_a_network_that_hides_not_a_number_has_none():
    network = convolutions(2).float()
    assert find_receptive_field(lambda lq: network(lq.nan_to_num()), torch.zeros(1, 3, 4, 4)) is None
