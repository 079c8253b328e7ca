"""Parameters and multiply-adds: by hand, and the papers' figures."""

import pytest
import torch

from rcan_plugin.archs.drcn_arch import DRCNArch
from rcan_plugin.archs.drrn_arch import DRRNArch
from rcan_plugin.archs.fsrcnn_arch import FSRCNNArch
from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.archs.srcnn_arch import SRCNNArch
from rcan_plugin.archs.vdsr_arch import VDSRArch
from rcan_plugin.compare import complexity

OUTPUT = 1280 * 720


def conv(kernel: int, channels_in: int, channels_out: int, pixels: int) -> int:
    """Multiply-adds of a convolution with `pixels` positions of its kernel, without bias."""
    return kernel**2 * channels_in * channels_out * pixels


def test_rcan_by_hand():
    feats, groups, blocks, squeezed, height, width = 8, 3, 2, 2, 9, 7
    net = RCANArch(num_feat=feats, num_group=groups, num_block=blocks, squeeze_factor=feats // squeezed, upscale=4)
    lr = height * width
    attention = conv(1, feats, squeezed, 1) + conv(1, squeezed, feats, 1)  # on one pixel: the mean
    block = 2 * conv(3, feats, feats, lr) + attention
    trunk = groups * (blocks * block + conv(3, feats, feats, lr)) + conv(3, feats, feats, lr)
    tail = conv(3, feats, 4 * feats, lr) + conv(3, feats, 4 * feats, 4 * lr) + conv(3, feats, 3, 16 * lr)
    expected = conv(3, 3, feats, lr) + trunk + tail
    assert complexity.multiply_adds(net, height, width) == expected


def test_parameters_are_those_of_the_paper():
    with torch.device("meta"):
        assert complexity.parameters(RCANArch(upscale=4)) == 15_592_355


@pytest.mark.parametrize(
    ("network", "published"),
    [
        (SRCNNArch, 52.7),
        (VDSRArch, 612.6),
        (DRCNArch, 17_974.3),
        (DRRNArch, 6_796.9),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_figures_of_the_carn_paper(network, published):
    """N. Ahn et al., "Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network", ECCV 2018."""
    net = network(upscale=2)  # which upsamples its input; the scale does not matter
    assert complexity.multiply_adds(net, 360, 640) / 1e9 == pytest.approx(published, abs=0.051)


@pytest.mark.parametrize(("scale", "published"), [(2, 6.0), (3, 5.0), (4, 4.6)])
def test_the_carn_paper_counts_fsrcnns_transposed_convolution_at_output_size(scale, published):
    """Each input pixel meets each weight of a transposed convolution once; that paper counts once an output pixel."""
    height, width = 720 // scale, 1280 // scale
    with torch.device("meta"):
        counted = complexity.multiply_adds(FSRCNNArch(upscale=scale), height, width)
    in_pixels, last = height * width, conv(9, 56, 1, 1)
    convolutions = conv(5, 1, 56, 1) + conv(1, 56, 12, 1) + 4 * conv(3, 12, 12, 1) + conv(1, 12, 56, 1)
    assert counted == (convolutions + last) * in_pixels
    assert (convolutions * in_pixels + last * OUTPUT) / 1e9 == pytest.approx(published, abs=0.051)
