"""RCAN's arguments from the shapes of its weights."""

import pytest

from rcan_plugin.archs.vdsr_arch import VDSRArch
from rcan_plugin.weights import rcan
from tests.archs.rcan import small_rcan
from tests.archs.small import SMALL


@pytest.mark.parametrize("upscale", [2, 3, 4, 8])
def test_arguments_are_those_the_network_was_built_with(upscale):
    sizes = {"num_feat": 12, "num_group": 3, "num_block": 1, "squeeze_factor": 4, "num_in_ch": 1, "num_out_ch": 2}
    assert rcan.arguments(small_rcan(**sizes, upscale=upscale).state_dict()) == {**sizes, "upscale": upscale}


def test_what_shapes_do_not_tell_is_left_out():
    found = rcan.arguments(small_rcan(channel_attention=False, upsampler="nearest").state_dict())
    assert found == {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_group": 2, "num_block": 2}
    assert rcan.arguments(VDSRArch(**SMALL["VDSRArch"]).state_dict()) == {}
