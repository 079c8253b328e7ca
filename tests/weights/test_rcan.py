"""RCAN's arguments from the shapes of its weights."""

import pytest

from rcan_plugin.archs.layers import UPSAMPLERS
from rcan_plugin.archs.vdsr_arch import VDSRArch
from rcan_plugin.weights import rcan
from tests.archs.rcan import small_rcan
from tests.archs.small import SMALL


@pytest.mark.parametrize("upscale", [2, 3, 4, 8])
def test_arguments_are_those_the_network_was_built_with(upscale):
    sizes = {"num_feat": 12, "num_group": 3, "num_block": 1, "squeeze_factor": 4, "num_in_ch": 1, "num_out_ch": 2}
    found = rcan.arguments(small_rcan(**sizes, upscale=upscale).state_dict())
    steps = {"activate_all": False} if upscale > 3 else {}
    assert found == {**sizes, "upscale": upscale, "channel_attention": True, "upsampler": "subpixel", **steps}


@pytest.mark.parametrize("activate_all", [False, True])
@pytest.mark.parametrize("upsampler", UPSAMPLERS)
@pytest.mark.parametrize("upscale", [1, 2, 3, 4, 8])
def test_the_upsampler_is_recognised_by_its_names_and_shapes(upscale, upsampler, activate_all):
    arguments = {"upscale": upscale, "upsampler": upsampler, "activate_all": activate_all}
    found = rcan.arguments(small_rcan(**arguments).state_dict())
    told = {name: value for name, value in found.items() if name in arguments}
    if upscale == 1:  # no layers
        arguments = {"upscale": 1}
    elif upscale < 4:  # one step
        del arguments["activate_all"]
        if upsampler == "nearest":
            del arguments["upscale"]
    assert told == arguments


def test_sizes_of_an_unshuffled_input_are_those_of_the_image():
    weights = small_rcan(unshuffle=2, upscale=4).state_dict()
    found = rcan.arguments(weights, unshuffle=2)
    assert (found["num_in_ch"], found["upscale"]) == (3, 4)


@pytest.mark.parametrize(("upscale", "unshuffle"), [(2, 1), (3, 1), (4, 2)])
def test_the_direct_upsampler_is_recognised_by_what_is_missing(upscale, unshuffle):
    weights = small_rcan(upscale=upscale, unshuffle=unshuffle, upsampler="direct").state_dict()
    found = rcan.arguments(weights, unshuffle)
    told = {name: found.get(name) for name in ("num_in_ch", "num_out_ch", "upscale", "upsampler", "activate_all")}
    assert told == {"num_in_ch": 3, "num_out_ch": 3, "upscale": upscale, "upsampler": "direct", "activate_all": None}


def test_a_damaged_file_is_not_taken_for_a_direct_upsampler():
    weights = small_rcan(upscale=4).state_dict()
    del weights["conv_last.weight"]
    assert rcan.arguments(weights) == {}


def test_the_direct_upsamplers_channels_are_given_or_those_of_the_input():
    weights = small_rcan(upscale=3, num_in_ch=1, num_out_ch=2, upsampler="direct").state_dict()
    assert "upscale" not in rcan.arguments(weights)
    found = rcan.arguments(weights, num_out_ch=2)
    assert (found["num_in_ch"], found["num_out_ch"], found["upscale"]) == (1, 2, 3)


def test_what_shapes_do_not_tell_is_left_out():
    found = rcan.arguments(small_rcan(channel_attention=False, upsampler="nearest", upscale=2).state_dict())
    sizes = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_group": 2, "num_block": 2}
    assert found == {**sizes, "channel_attention": False, "upsampler": "nearest"}
    assert rcan.arguments(VDSRArch(**SMALL["VDSRArch"]).state_dict()) == {}
