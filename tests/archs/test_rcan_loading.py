"""Weights that RCANArch loads: official files, other scales, other networks."""

import logging

import pytest
import torch

from rcan_plugin.archs.rcan_arch import RCANArch
from tests.archs.rcan import official_layout, small_rcan
from tests.archs.small import SMALL


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("upscale", [2, 3, 4])
def test_official_files_load(prefix, upscale):
    source, net = small_rcan(upscale=upscale), RCANArch(upscale=upscale, **SMALL["RCANArch"])
    net.load_state_dict(official_layout(source, prefix), strict=True)
    for key, tensor in source.state_dict().items():
        assert torch.equal(net.state_dict()[key], tensor), key


def test_official_files_lacking_a_tensor_are_refused():
    official = official_layout(small_rcan())
    del official["body.1.body.0.body.2.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*body\.1\.residual_group\.0\.rcab\.2\.weight"):
        small_rcan().load_state_dict(official)


@pytest.mark.parametrize("strict", [True, False])
def test_official_files_of_another_range_are_refused(strict):
    with pytest.raises(ValueError, match=r"set img_range: 255 and rgb_mean: \[0.4488, 0.4371, 0.404\]"):
        small_rcan(img_range=1.0).load_state_dict(official_layout(small_rcan()), strict=strict)


NO_MEAN = {"img_range": 1.0, "rgb_mean": [0, 0, 0]}


def without_mean(net: RCANArch) -> dict[str, torch.Tensor]:
    """The layout of traiNNer-redux and neosr: official key names, range 0 to 1, no mean."""
    return {key: value for key, value in official_layout(net).items() if "_mean." not in key}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "arguments", [{}, {"img_range": 1.0}, {"rgb_mean": [0, 0, 0]}, {"img_range": 1.0, "rgb_mean": [0, 0, 0.1]}]
)
def test_official_names_without_mean_are_refused_by_a_network_with_range_or_mean(arguments, strict):
    file = without_mean(small_rcan(**NO_MEAN))
    with pytest.raises(ValueError, match=r"without sub_mean.* set img_range: 1 and rgb_mean: \[0, 0, 0\]"):
        small_rcan(**arguments).load_state_dict(file, strict=strict)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_names_without_mean_give_the_output_of_a_network_without_mean(prefix, caplog):
    source, x = small_rcan(**NO_MEAN), torch.rand(1, 3, 8, 8)
    net = RCANArch(**SMALL["RCANArch"], **NO_MEAN)
    net.load_state_dict({prefix + key: value for key, value in without_mean(source).items()})
    assert torch.equal(net(x), source(x))
    assert not caplog.messages


def test_a_mean_of_another_range_is_named_as_arguments():
    file = official_layout(small_rcan())
    file["sub_mean.bias"] = -torch.tensor([0.5, 0.4, 0.3])
    with pytest.raises(ValueError, match=r"set img_range: 1 and rgb_mean: \[0.5, 0.4, 0.3\]"):
        small_rcan().load_state_dict(file)


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize(
    ("upscale", "fresh"),
    [
        (3, ["upsample.0.bias", "upsample.0.weight"]),
        (4, ["upsample.2.bias", "upsample.2.weight"]),
        (8, ["upsample.2.bias", "upsample.2.weight", "upsample.4.bias", "upsample.4.weight"]),
    ],
)
def test_starting_another_scale_from_x2_takes_all_that_fits(upscale, fresh, official, caplog):
    x2 = small_rcan(upscale=2)
    torch.manual_seed(7)
    net = RCANArch(upscale=upscale, **SMALL["RCANArch"])
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    with caplog.at_level(logging.INFO, logger="basicsr"):
        net.load_state_dict(official_layout(x2) if official else x2.state_dict(), strict=False)
    after = net.state_dict()
    assert [key for key in sorted(after) if torch.equal(after[key], before[key])] == fresh
    for key in after.keys() - set(fresh):
        assert torch.equal(after[key], x2.state_dict()[key]), key
    assert f"{len(after) - len(fresh)} of {len(after)} tensors taken" in caplog.text
    assert all(key in caplog.text for key in fresh)


def test_a_file_of_which_nothing_fits_is_refused_naming_both_sides():
    with pytest.raises(ValueError, match=r"begins with conv_first\.weight.*begins with params, params_ema"):
        small_rcan().load_state_dict({"params": {}, "params_ema": {}}, strict=False)


def test_strict_loading_of_another_scale_fails():
    with pytest.raises(RuntimeError, match=r"size mismatch for upsample\.0\.weight"):
        small_rcan(upscale=3).load_state_dict(small_rcan(upscale=2).state_dict(), strict=True)
