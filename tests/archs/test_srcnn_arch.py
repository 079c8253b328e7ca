"""SRCNN (TPAMI 2016)."""

import pytest
import torch

from rcan_plugin.archs.srcnn_arch import SRCNNArch
from tests.archs.equations import bicubic
from tests.archs.network_tests import (
    BicubicFirstTests,
    NetworkTests,
    check_initial_weights,
    count,
    meta,
    shapes,
    weight_and_bias,
)


class TestSRCNN(BicubicFirstTests, NetworkTests):
    network = SRCNNArch
    papers_arguments = {"num_feats": (64, 32), "kernel_sizes": (9, 5, 5)}
    keys = weight_and_bias("conv1", "conv2", "conv3")
    variants = ({"kernel_sizes": (9, 1, 5)}, {"bias": False})

    def equations(self, w, x, upscale, **_):
        """F1 = max(0, W1 * Y + B1), F2 = max(0, W2 * F1 + B2), F = W3 * F2 + B3."""
        y = bicubic(x, upscale)
        return [w.conv("conv3", w.conv("conv2", w.conv("conv1", y).clamp(min=0)).clamp(min=0))]


# Published: 57,184 (9-5-5), 24,416 (9-3-5), 8,032 (9-1-5); the same at every scale.
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (57_184, 97, 0)),
        ({"upscale": 4}, (57_184, 97, 0)),
        ({"kernel_sizes": (9, 3, 5)}, (24_416, 97, 0)),
        ({"kernel_sizes": (9, 1, 5)}, (8_032, 97, 0)),
        ({"bias": False}, (57_184, 0, 0)),
    ],
)
def test_parameter_counts(arguments, expected):
    assert count(SRCNNArch, **arguments) == expected


def test_layers():
    assert shapes(meta(SRCNNArch)) == [(64, 1, 9, 9), (32, 64, 5, 5), (1, 32, 5, 5)]
    assert shapes(meta(SRCNNArch, kernel_sizes=[9, 1, 5])) == [(64, 1, 9, 9), (32, 64, 1, 1), (1, 32, 5, 5)]


def test_initial_weights():
    torch.manual_seed(0)
    assert check_initial_weights(SRCNNArch(), lambda name, module: 0.001) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kernel_sizes": (9, 5)}, r"SRCNNArch: kernel_sizes is \(9, 5\).*three odd sizes"),
        ({"kernel_sizes": (9, 4, 5)}, r"SRCNNArch: kernel_sizes is \(9, 4, 5\)"),
        ({"kernel_sizes": (9, -1, 5)}, r"SRCNNArch: kernel_sizes is \(9, -1, 5\)"),
        ({"num_feats": [64]}, r"SRCNNArch: num_feats is \[64\].*two numbers of channels"),
        ({"num_feats": (0, 32)}, "SRCNNArch: num_feats is 0; expected a whole number"),
    ],
)
def test_errors_name_the_argument_and_its_value(arguments, words):
    with pytest.raises(ValueError, match=words):
        SRCNNArch(**arguments)
