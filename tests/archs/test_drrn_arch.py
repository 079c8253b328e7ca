"""DRRN (CVPR 2017)."""

import pytest
import torch
from torch import nn

from rcan_plugin.archs.drrn_arch import DRRNArch
from tests.archs.equations import bicubic
from tests.archs.network_tests import (
    BatchNormTests,
    BicubicFirstTests,
    NetworkTests,
    check_initial_weights,
    count,
    he_std,
    meta,
    pre_activated_keys,
    recursion_keys,
    shapes,
)


class TestDRRN(BicubicFirstTests, BatchNormTests, NetworkTests):
    network = DRRNArch
    papers_arguments = {"num_feat": 128, "num_unit": 25, "batch_norm": True}
    keys = [*pre_activated_keys("first"), *recursion_keys("units", convs=2, times=3), *pre_activated_keys("last")]
    variants = ({"bias": False}, {"batch_norm": False})
    first_norm = "first.norm"

    def equations(self, w, x, upscale, **_):
        """H0 = first(x); Hu = H0 + F(H(u-1), W), the same W; y = x + last(HU)."""
        x = bicubic(x, upscale)
        h0 = h = w.pre_activated("first", x)
        for u in range(3):
            inner = w.relu_conv(f"units.norms.{u}.0", "units.convs.0", h)
            h = h0 + w.relu_conv(f"units.norms.{u}.1", "units.convs.1", inner)
        return [x + w.pre_activated("last", h)]


# Published for B1U25: 297K; normalisations by the layers of the authors' train.prototxt.
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (297_216, 385, 13_058)),
        ({"num_unit": 9}, (297_216, 385, 2 + 19 * 2 * 128)),
        ({"batch_norm": False}, (297_216, 385, 0)),
        ({"bias": False, "batch_norm": False}, (297_216, 0, 0)),
    ],
)
def test_parameter_counts(arguments, expected):
    assert count(DRRNArch, **arguments) == expected


def test_units_share_convolutions_and_not_normalisations():
    net = meta(DRRNArch)
    assert shapes(net) == [(128, 1, 3, 3), (128, 128, 3, 3), (128, 128, 3, 3), (1, 128, 3, 3)]
    assert (len(net.units.convs), len(net.units.norms)) == (2, 25)
    assert net.units.convs[0] is not net.units.convs[1]
    normalisations = {module for module in net.modules() if isinstance(module, nn.BatchNorm2d)}
    assert len(normalisations) == 1 + 2 * 25 + 1
    assert net.first.norm.num_features == 1


def test_initial_weights():
    torch.manual_seed(0)
    assert check_initial_weights(DRRNArch(), lambda name, module: he_std(*module.weight.shape[1:])) == 4
