"""DRCN (CVPR 2016)."""

import pytest
import torch

from rcan_plugin.archs.drcn_arch import DRCNArch
from tests.archs.equations import bicubic
from tests.archs.network_tests import (
    BicubicFirstTests,
    NetworkTests,
    check_initial_weights,
    count,
    he_std,
    image,
    meta,
    shapes,
    weight_and_bias,
)


class TestDRCN(BicubicFirstTests, NetworkTests):
    network = DRCNArch
    papers_arguments = {"num_feat": 256, "num_recursion": 16}
    keys = ["weights", *weight_and_bias("embed1", "embed2", "recursive", "reconstruct1", "reconstruct2")]
    variants = ({"bias": False},)
    sizes_in_training = [(20, 24)] * (3 + 1)

    def equations(self, w, x, upscale, **_):
        """H0 = f1(x); Hd = max(0, W * H(d-1) + b); y_d = x + f3(Hd); y = sum of w_d y_d."""
        x = bicubic(x, upscale)
        h = w.conv("embed2", w.conv("embed1", x).clamp(min=0)).clamp(min=0)
        predictions = []
        for _recursion in range(3):
            h = w.conv("recursive", h).clamp(min=0)
            predictions.append(x + w.conv("reconstruct2", w.conv("reconstruct1", h).clamp(min=0)))
        return [*predictions, sum(w_d * y_d for w_d, y_d in zip(w["weights"], predictions, strict=True))]

    def test_the_output_starts_as_the_mean_of_equal_predictions(self):
        """The recursive convolution starts as the identity, so every recursion leaves the features unchanged."""
        net, x = self.small(num_feat=16).train(), image(1, 1, 6, 7)
        identity = torch.zeros(16, 16, 3, 3)
        for channel in range(16):
            identity[channel, channel, 1, 1] = 1
        assert torch.equal(net.recursive.weight, identity)
        assert torch.equal(net.weights, torch.full((3,), 1 / 3))
        *predictions, final = net(x)
        for prediction in predictions:
            torch.testing.assert_close(prediction, predictions[0])
        torch.testing.assert_close(final, predictions[0])


# Published: 1,774K, with the 16 weights of the sum.
@pytest.mark.parametrize(("arguments", "expected"), [({}, (1_774_096, 1_025, 0)), ({"bias": False}, (1_774_096, 0, 0))])
def test_parameter_counts(arguments, expected):
    assert count(DRCNArch, **arguments) == expected


def test_layers():
    net = meta(DRCNArch)
    assert shapes(net) == [(256, 1, 3, 3), *[(256, 256, 3, 3)] * 3, (1, 256, 3, 3)]
    assert net.weights.shape == (16,)


def test_initial_weights():
    def std(name, module):
        return None if name == "recursive" else he_std(*module.weight.shape[1:])

    torch.manual_seed(0)
    assert check_initial_weights(DRCNArch(), std) == 4
