"""Weights that RCANArch loads: official files, other scales, other networks."""

import logging
import re

import pytest
import torch

from rcan_plugin.archs.rcan_arch import RCANArch
from tests.archs.rcan import official_layout, small_rcan
from tests.archs.rcan_descriptions import RCAN_IT, REDUX, SIZES, Description
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
    caplog.set_level("WARNING")
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


FILES = {  # what the code does, and the arguments that its files need
    "unshuffled": (Description(**REDUX, unshuffle=2), {**NO_MEAN, "upscale": 2, "unshuffle": 2}),
    "trained mean": (Description(trained_mean=True), {"upscale": 2}),
    "RCAN-it": (
        Description(**RCAN_IT, scale=4),
        {"upscale": 4, "activation": "silu", "activate_all": True, "res_scale": 0.1},
    ),
}


def network_for(name: str, **changed) -> RCANArch:
    description, arguments = FILES[name]
    if description.trained_mean:
        weights = description.weights()
        mean = -torch.linalg.solve(weights["sub_mean.weight"].flatten(1), weights["sub_mean.bias"]) / 255
        arguments = {**arguments, "rgb_mean": mean.tolist()}
    return RCANArch(**{**SIZES, **arguments, **changed}).eval()


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_code_load_and_give_its_output(name, caplog):
    description, net, x = FILES[name][0], network_for(name), torch.rand(1, 3, 5, 8)
    with caplog.at_level(logging.WARNING, logger="basicsr"):
        net.load_state_dict(description.weights())
    torch.testing.assert_close(net(x), description.output(description.weights(), x).float(), rtol=0, atol=2e-6)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("name", "changed", "words"),
    [
        (
            "RCAN-it",
            {"activate_all": False, "activation": "relu", "res_scale": 1.0},
            "trained with activate_all: true, this network has activate_all: false: "
            "set unshuffle: 1, activate_all: true, activation: silu, res_scale: 0.1.",
        ),
        (
            "unshuffled",
            {"num_in_ch": 12, "unshuffle": 1, "upscale": 4, "rgb_mean": [0] * 12},  # all shapes fit
            "trained with unshuffle: 2, this network has unshuffle: 1: set unshuffle: 2, activate_all: false.",
        ),
        (
            "trained mean",
            {"activate_all": True},
            "trained with activate_all: false, this network has activate_all: true: "
            "set unshuffle: 1, activate_all: false, activation: relu, res_scale: 1.",
        ),
        ("trained mean", {"rgb_mean": [0.4488, 0.4371, 0.4040]}, "set img_range: 255 and rgb_mean: ["),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_files_of_other_code_are_refused_where_they_show_other_arguments(name, changed, words, strict):
    with pytest.raises(ValueError, match=re.escape(words)):
        network_for(name, **changed).load_state_dict(FILES[name][0].weights(), strict=strict)


@pytest.mark.parametrize(
    ("name", "changed", "words"),
    [
        ("RCAN-it", {"activation": "relu"}, "trained with activation: silu, this network has activation: relu"),
        ("RCAN-it", {"res_scale": 1.0}, "trained with res_scale: 0.1, this network has res_scale: 1"),
        ("trained mean", {"activation": "silu"}, "trained with activation: relu, this network has activation: silu"),
    ],
)
def test_what_no_file_shows_is_logged_where_the_network_differs_from_the_files_code(name, changed, words, caplog):
    with caplog.at_level(logging.WARNING, logger="basicsr"):
        network_for(name, **changed).load_state_dict(FILES[name][0].weights())
    (message,) = caplog.messages
    assert f"RCANArch: files with these key names were {words}: " in message


def test_files_that_training_did_not_change_are_not_changed_on_loading():
    """The identity and the mean of `sub_mean` and `add_mean` are exact."""
    weights, net = Description().weights(), RCANArch(**SIZES, upscale=2)
    net.load_state_dict(weights)
    assert torch.equal(net.conv_first.weight, weights["head.0.weight"])
    assert torch.equal(net.conv_last.weight, weights["tail.1.weight"])
    assert torch.equal(net.conv_last.bias, weights["tail.1.bias"])
