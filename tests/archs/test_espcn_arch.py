"""ESPCN (CVPR 2016)."""

import pytest
import torch

from rcan_plugin.archs.espcn_arch import ESPCNArch
from tests.archs.equations import shuffled
from tests.archs.network_tests import (
    NetworkTests,
    check_initial_weights,
    count,
    he_std,
    meta,
    shapes,
    weight_and_bias,
)


class TestESPCN(NetworkTests):
    network = ESPCNArch
    papers_arguments = {"num_feats": (64, 32)}
    keys = weight_and_bias("conv1", "conv2", "conv3")
    variants = ({"bias": False},)

    def equations(self, w, x, upscale, **_):
        x = torch.tanh(w.conv("conv2", torch.tanh(w.conv("conv1", x))))
        return [shuffled(w.conv("conv3", x), upscale)]


# The paper gives no figure; 25 * 64 + 9 * 64 * 32 + 9 * 32 * scale^2.
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"upscale": 2}, (21_184, 100, 0)),
        ({}, (22_624, 105, 0)),
        ({"upscale": 4}, (24_640, 112, 0)),
        ({"bias": False}, (22_624, 0, 0)),
    ],
)
def test_parameter_counts(arguments, expected):
    assert count(ESPCNArch, **arguments) == expected


def test_layers():
    assert shapes(meta(ESPCNArch)) == [(64, 1, 5, 5), (32, 64, 3, 3), (9, 32, 3, 3)]


def test_initial_weights():
    """He's by the number of outputs."""

    def std(name, module):
        return 0.001 if name == "conv3" else he_std(module.out_channels, *module.kernel_size)

    torch.manual_seed(0)
    assert check_initial_weights(ESPCNArch(), std) == 3


@pytest.mark.parametrize(
    ("num_feats", "words"),
    [
        ([64], r"ESPCNArch: num_feats is \[64\]; expected two numbers"),
        ([64, 32, 16], r"ESPCNArch: num_feats is \[64, 32, 16\]; expected two numbers"),
        (32, "ESPCNArch: num_feats is 32; expected two numbers"),
    ],
)
def test_errors_name_the_argument_and_its_value(num_feats, words):
    with pytest.raises(ValueError, match=words):
        ESPCNArch(num_feats=num_feats)
