"""VDSR (CVPR 2016)."""

import pytest
import torch

from rcan_plugin.archs.vdsr_arch import VDSRArch
from tests.archs.equations import bicubic
from tests.archs.network_tests import (
    BicubicFirstTests,
    NetworkTests,
    check_initial_weights,
    count,
    he_std,
    meta,
    shapes,
    weight_and_bias,
)


class TestVDSR(BicubicFirstTests, NetworkTests):
    network = VDSRArch
    papers_arguments = {"num_feat": 64, "num_layers": 20}
    keys = weight_and_bias(*(f"convs.{i}" for i in range(4)))
    variants = ({"bias": False},)

    def equations(self, w, x, upscale, **_):
        x = features = bicubic(x, upscale)
        for i in range(3):
            features = w.conv(f"convs.{i}", features).clamp(min=0)
        return [x + w.conv("convs.3", features)]


# Published: 665K.
@pytest.mark.parametrize(
    ("arguments", "expected"), [({}, (664_704, 1_217, 0)), ({"bias": False, "upscale": 3}, (664_704, 0, 0))]
)
def test_parameter_counts(arguments, expected):
    assert count(VDSRArch, **arguments) == expected


def test_layers():
    assert shapes(meta(VDSRArch)) == [(64, 1, 3, 3), *[(64, 64, 3, 3)] * 18, (1, 64, 3, 3)]


def test_initial_weights():
    torch.manual_seed(0)
    assert check_initial_weights(VDSRArch(), lambda name, module: he_std(*module.weight.shape[1:])) == 20


def test_there_are_two_layers_or_more():
    with pytest.raises(ValueError, match="VDSRArch: num_layers is 1; expected 2 or more"):
        VDSRArch(num_layers=1)
