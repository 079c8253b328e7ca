"""FSRCNN (ECCV 2016)."""

import pytest
import torch
from torch import nn

from rcan_plugin.archs.fsrcnn_arch import FSRCNNArch
from tests.archs.equations import transposed_conv
from tests.archs.network_tests import (
    NetworkTests,
    check_initial_weights,
    count,
    he_std,
    meta,
    shapes,
    weight_and_bias,
)


class TestFSRCNN(NetworkTests):
    network = FSRCNNArch
    papers_arguments = {"num_feat": 56, "num_shrunk": 12, "num_map": 4}
    keys = [
        *(key for i in range(0, 10, 2) for key in (*weight_and_bias(f"body.{i}"), f"body.{i + 1}.weight")),
        *weight_and_bias("deconv"),
    ]
    variants = ({"bias": False},)

    def equations(self, w, x, upscale, **_):
        last = max(int(key.split(".")[1]) for key in w if key.startswith("body."))
        for i in range(0, last, 2):
            x = w.conv(f"body.{i}", x)
            x = x.clamp(min=0) + w[f"body.{i + 1}.weight"].view(-1, 1, 1) * x.clamp(max=0)
        height, width = (size * upscale for size in x.shape[-2:])
        whole = transposed_conv(x, w["deconv.weight"], upscale)
        return [whole[:, :, 4 : 4 + height, 4 : 4 + width] + w.bias("deconv")]


# Published for FSRCNN(56, 12, 4): 12,464.
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (12_464, 173, 172)),
        ({"upscale": 2}, (12_464, 173, 172)),
        ({"upscale": 4, "bias": False}, (12_464, 0, 172)),
    ],
)
def test_parameter_counts(arguments, expected):
    assert count(FSRCNNArch, **arguments) == expected


def test_layers():
    net = meta(FSRCNNArch)
    middle = [(12, 56, 1, 1), *[(12, 12, 3, 3)] * 4, (56, 12, 1, 1)]
    assert shapes(net) == [(56, 1, 5, 5), *middle, (56, 1, 9, 9)]
    assert [len(layer.weight) for layer in net.body[1::2]] == [56, 12, 12, 12, 12, 12, 56]
    assert all(isinstance(layer, nn.PReLU) for layer in net.body[1::2])
    assert (net.deconv.stride, net.deconv.padding, net.deconv.output_padding) == ((3, 3), (4, 4), (2, 2))


def test_initial_weights():
    """He's by the number of outputs."""

    def std(name, module):
        return 0.001 if name == "deconv" else he_std(module.out_channels, *module.kernel_size)

    torch.manual_seed(0)
    assert check_initial_weights(FSRCNNArch(), std) == 8
