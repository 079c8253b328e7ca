"""RCAN files of other code: the same output as that code, the arguments, and what is refused."""

import json

import pytest
import torch
from torch.nn import functional as F

from rcan_plugin.archs.layers import DIV2K_MEAN
from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.archs.vdsr_arch import VDSRArch
from rcan_plugin.weights import dialects
from tests.archs.rcan import small_rcan
from tests.archs.rcan_descriptions import RCAN_IT, REDUX, SIZES, Description
from tests.archs.small import SMALL
from tests.comparison import same

DIV2K = list(DIV2K_MEAN)


def stored(as_json: bool = True, **hyperparameters) -> dict:
    """Metadata as traiNNer-redux writes it: JSON in a safetensors file, a dict in a .pth file."""
    values = {"scale": 4, "n_resgroups": 2, "act_mode": "relu", "norm": False, "rgb_range": 255} | hyperparameters
    return {"metadata": json.dumps(values) if as_json else values}


# Description, metadata, arguments by hand, and the arguments that the file needs.
FILES = {
    "authors": ({}, {}, {}, {"img_range": 255.0, "rgb_mean": DIV2K, "activation": "relu", "res_scale": 1.0}),
    "authors, x3": ({"scale": 3}, {}, {}, {"upscale": 3, "img_range": 255.0}),
    "authors, x8": ({"scale": 8}, {}, {}, {"upscale": 8, "img_range": 255.0}),
    "authors, trained mean": ({"trained_mean": True}, {}, {}, {"img_range": 255.0}),
    "redux": (REDUX, {}, {}, {"img_range": 1.0, "rgb_mean": [0, 0, 0], "activation": "relu"}),
    "redux, gray": ({**REDUX, "channels": 1}, stored(), {}, {"num_in_ch": 1, "img_range": 1.0, "rgb_mean": [0]}),
    "redux, silu": ({**REDUX, "in_block": F.silu}, stored(act_mode="silu"), {}, {"activation": "silu"}),
    "redux, gelu": ({**REDUX, "in_block": F.gelu}, stored(False, act_mode="gelu"), {}, {"activation": "gelu"}),
    "redux, silu by hand": ({**REDUX, "in_block": F.silu}, {}, {"activation": "silu"}, {"img_range": 1.0}),
    "redux, norm": ({}, stored(norm=True), {}, {"img_range": 255.0, "rgb_mean": DIV2K}),
    "redux, norm, range 100": (
        {"img_range": 100.0, "mean": (44.88, 43.71, 40.4)},
        stored(norm=True, rgb_range=100),
        {},
        {"img_range": 100.0},
    ),
    "neosr, norm": ({"img_range": 1.0, "mean": DIV2K_MEAN}, {}, {}, {"img_range": 1.0, "rgb_mean": DIV2K}),
    "redux, unshuffle x2": ({**REDUX, "unshuffle": 2}, {}, {}, {"upscale": 2, "unshuffle": 2, "num_in_ch": 3}),
    "redux, unshuffle x1": ({**REDUX, "unshuffle": 4, "scale": 1}, {}, {}, {"upscale": 1, "unshuffle": 4}),
    "redux, unshuffle, trained mean": ({"unshuffle": 2, "trained_mean": True}, {}, {}, {"unshuffle": 2}),
    "RCAN-it": (RCAN_IT, {}, {}, {"activation": "silu", "activate_all": True, "res_scale": 0.1, "img_range": 255.0}),
    "RCAN-it, x4": ({**RCAN_IT, "scale": 4}, {}, {}, {"upscale": 4, "activation": "silu", "activate_all": True}),
    "RCAN-it, relu": (
        {**RCAN_IT, "in_block": F.relu, "in_attention": F.relu, "in_tail": F.relu},
        {},
        {"activation": "relu"},
        {"activation": "relu", "activate_all": True, "res_scale": 0.1},
    ),
    "changed copy, gray": (
        {"channels": 1, "mean": None},
        {},
        {"img_range": 255.0},
        {"img_range": 255.0, "rgb_mean": [0]},
    ),
}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", FILES)
def test_files_give_the_output_of_their_code(name, prefix):
    fields, metadata, given, expected = FILES[name]
    description = Description(**fields)
    weights = description.weights()
    own, arguments, _ = dialects.to_own({prefix + key: value for key, value in weights.items()}, metadata, given)
    assert SIZES.items() <= arguments.items()
    assert expected == {name: arguments[name] for name in expected}
    net = RCANArch(**arguments).double()
    net.load_state_dict(own, strict=True)
    x = torch.rand(2, description.channels, 7, 9, dtype=torch.float64)
    output = description.output(weights, x)
    with torch.no_grad():
        torch.testing.assert_close(net(x), output, rtol=0, atol=1e-6)
    assert output.std() > 0.1


def test_the_right_activation_and_scale_are_visible_in_the_output():
    """Otherwise the test above would pass with others."""
    x = torch.rand(1, 3, 7, 9)
    for field, value in (("in_block", F.relu), ("in_attention", F.relu), ("in_tail", F.relu), ("res_scale", 0.2)):
        description = Description(**RCAN_IT)
        other = Description(**{**RCAN_IT, field: value})
        difference = description.output(description.weights(), x) - other.output(description.weights(), x)
        assert difference.abs().max() > 1e-3, field


@pytest.mark.parametrize("arguments", [{}, {"upscale": 3}, {"num_in_ch": 1, "num_out_ch": 1}])
def test_basicsrs_files_have_basicsrs_defaults(arguments):
    net = small_rcan(**arguments)
    own, found, remarks = dialects.to_own({"module." + k: v for k, v in net.state_dict().items()}, {}, {})
    assert same(own, net.state_dict())
    rebuilt = RCANArch(**found)
    assert rebuilt.upscale == net.upscale and torch.equal(rebuilt.rgb_mean, net.rgb_mean)
    assert (found["img_range"], found["res_scale"], found["activation"]) == (255, 1, "relu")
    mean = "[0.4488, 0.4371, 0.404]" if net.rgb_mean.numel() == 3 else "[0.43]"
    assert remarks[0].startswith(f"img_range: 255, rgb_mean: {mean}, res_scale: 1, activation: relu")
    assert remarks[0].endswith("not in the file; the defaults of BasicSR's RCAN and of RCANArch.")


def test_arguments_by_hand_win_over_what_is_assumed():
    given = {
        "img_range": 1.0,
        "rgb_mean": [0.1, 0.2, 0.3],
        "res_scale": 0.1,
        "activation": "silu",
        "activate_all": True,
    }
    _, found, remarks = dialects.to_own(small_rcan(upscale=2).state_dict(), {}, given)
    assert found.items() >= given.items()
    assert remarks == []


def test_each_assumption_is_reported_and_what_the_file_says_is_not():
    def remarks(fields, metadata=None, given=None):
        return dialects.to_own(Description(**fields).weights(), metadata or {}, given or {})[2]

    assert remarks({}) == [
        "img_range: 255, rgb_mean: [0.4488, 0.4371, 0.404]: by what its sub_mean subtracts.",
        "activation: relu: not in the file; the authors' code has it, and by default that of traiNNer-redux and neosr.",
    ]
    assert remarks(REDUX)[0].startswith("img_range: 1, rgb_mean: [0, 0, 0]: the file has no sub_mean")
    assert remarks(REDUX, stored()) == remarks({}, stored(norm=True)) == []
    assert remarks(RCAN_IT)[1:] == [
        "activation: silu: not in the file; RCAN-it's public weights have it (RCAN_Improved.yaml; RCAN_Base.yaml has "
        "relu).",
        "res_scale: 0.1: not in the file; RCAN-it's default.",
    ]
    assert remarks(RCAN_IT, given={"activation": "relu", "img_range": 255}) == [remarks(RCAN_IT)[2]]


NEAREST = {"upsampler": "nearest", "upscale": 2}
GRAY = {"channels": 1, "mean": None}
NO_MEAN = {"mean": (0.0, 0.0, 0.0)}


@pytest.mark.parametrize(
    ("weights", "words", "given"),
    [
        (lambda: Description(**GRAY).weights(), "give img_range: 1 or img_range: 255", {"img_range": 1}),
        (lambda: Description(**RCAN_IT, mean=None).weights(), "img_range: 1 or img_range: 255", {"img_range": 255}),
        (lambda: Description(**NO_MEAN).weights(), "subtracts nothing.* img_range: 255 or", {"img_range": 255}),
        (lambda: small_rcan(**NEAREST).state_dict(), "give upscale: 2 or upscale: 3", {"upscale": 2}),
        (
            lambda: small_rcan(num_in_ch=12, upscale=2).state_dict(),
            "image of 12 channels, or one of 3 .* give unshuffle: 1 or unshuffle: 2",
            {"unshuffle": 1},
        ),
        (
            lambda: small_rcan(unshuffle=2, upscale=2).state_dict(),
            "give unshuffle: 1 or unshuffle: 2",
            {"unshuffle": 2},
        ),
        (
            lambda: small_rcan(num_in_ch=1, num_out_ch=2, upscale=2, upsampler="direct").state_dict(),
            "has 8 channels, which is no square number times num_out_ch 1: give the num_out_ch",
            {"num_out_ch": 2},
        ),
    ],
    ids=["gray", "RCAN-it without mean", "mean 0", "nearest", "12 channels", "unshuffled", "direct"],
)
def test_files_that_fit_two_networks_are_refused_with_the_argument_that_decides(weights, words, given):
    with pytest.raises(ValueError, match=words):
        dialects.to_own(weights(), {}, {})
    own, arguments, _ = dialects.to_own(weights(), {}, given)
    assert arguments.items() >= given.items()
    RCANArch(**arguments).load_state_dict(own, strict=True)


@pytest.mark.parametrize("upsampler", ["subpixel", "direct"])
@pytest.mark.parametrize("unshuffle", [2, 5])
def test_an_input_of_three_channels_is_not_unshuffled(unshuffle, upsampler):
    words = f"unshuffle is {unshuffle}, but its first convolution has 3 channels, no multiple of {unshuffle**2}"
    with pytest.raises(ValueError, match=words):
        dialects.to_own(small_rcan(upscale=2, upsampler=upsampler).state_dict(), {}, {"unshuffle": unshuffle})


@pytest.mark.parametrize(
    ("fields", "metadata", "given", "words"),
    [
        ({}, {}, {"upscale": 3}, "^upscale is 2 in its tensors, 3 is given: leave it out"),
        ({}, {}, {"num_feat": 64, "num_block": 20}, "num_block is 3 in its tensors, 20 is given; num_feat is 8"),
        ({}, {}, {"activate_all": True}, "activate_all is False in its tensors"),
        ({}, {}, {"rgb_mean": [0.5, 0.5, 0.5]}, r"rgb_mean is \[0.4488, 0.4371, 0.404\] in the file"),
        ({}, {}, {"img_range": 1}, "img_range is 1, and its sub_mean .* give img_range: 255"),
        ({}, {}, {"scale": 2}, "RCANArch has no argument scale; it has num_in_ch"),
        (REDUX, stored(norm=True), {}, "metadata has norm: true, and it has no sub_mean"),
        ({}, stored(), {}, "metadata has norm: false, and it has sub_mean"),
    ],
)
def test_contradictions_are_refused(fields, metadata, given, words):
    with pytest.raises(ValueError, match=words):
        dialects.to_own(Description(**fields).weights(), metadata, given)


def test_kinds_that_rcanarch_does_not_have_are_named():
    def refused(words, fields=RCAN_IT, **changed):
        weights = {k: v for k, v in (Description(**fields).weights() | changed).items() if v is not None}
        with pytest.raises(ValueError, match=words) as error:
            dialects.to_own(weights, {}, {})
        assert not isinstance(error.value, dialects.NotRCAN)

    refused("residual scales are learned", **{"body.0.body.0.res_scale": torch.ones(1)})
    refused("OUT_CONV: False", **{f"body.{g}.body.3.{kind}": None for g in (0, 1) for kind in ("weight", "bias")})
    refused("kernel_size: 7", {}, **{"head.0.weight": torch.ones(8, 3, 7, 7)})
    refused("only RCAN-it has activations between", {**RCAN_IT, "attention": "conv_du", "scale": 4})


def test_other_networks_are_not_rcan():
    edsr = {"head.0.weight": torch.ones(8, 3, 3, 3), "body.0.body.0.weight": torch.ones(8, 8, 3, 3)}
    for weights in (VDSRArch(**SMALL["VDSRArch"]).state_dict(), edsr, {}, {"head.0.x": edsr["head.0.weight"]}):
        with pytest.raises(dialects.NotRCAN):
            dialects.to_own(weights, {}, {})


NO_RANGE = {"img_range": 1.0, "rgb_mean": [0.0, 0.0, 0.0]}
HELD = [
    {"upscale": 2},
    {"upscale": 3},
    {"upscale": 4, "rgb_mean": [0.1, 0.2, 0.3]},
    {"upscale": 4, **NO_RANGE},
    {"upscale": 2, "unshuffle": 2},
    {"upscale": 1, "unshuffle": 4, **NO_RANGE},
]


@pytest.mark.parametrize("arguments", [*HELD, {"upscale": 2, "img_range": 1.0}])
def test_the_authors_layout_and_back_is_the_same_network(arguments):
    net = small_rcan(**arguments)
    authors = dialects.to_authors(net.state_dict(), {**SMALL["RCANArch"], **arguments})
    assert ("sub_mean.bias" in authors) == (arguments.get("rgb_mean") != [0.0, 0.0, 0.0])
    own, found, _ = dialects.to_own(authors, {}, {})
    assert same(own, net.state_dict())
    assert (found["img_range"], found["upscale"]) == (net.img_range, net.upscale)
    assert found["unshuffle"] == net.unshuffle
    torch.testing.assert_close(torch.tensor(found["rgb_mean"]), net.rgb_mean.flatten())


def test_the_authors_layout_has_the_authors_names():
    authors = dialects.to_authors(small_rcan(num_block=3, upscale=2).half().state_dict(), {**SIZES, "upscale": 2})
    description = Description().weights()
    assert {k: v.shape for k, v in authors.items()} == {k: v.shape for k, v in description.items()}
    for name in ("sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias"):
        assert torch.equal(authors[name], description[name]), name
    assert authors["tail.1.weight"].dtype == torch.float16


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"activation": "silu"}, "activation: silu (it has relu)"),
        ({"activate_all": True}, "activate_all: true (it has false)"),
        ({"res_scale": 0.1}, "res_scale: 0.1 (it has 1)"),
        ({"long_skip": False}, "long_skip: false (it has true)"),
        ({"short_skip": False}, "short_skip: false (it has true)"),
        ({"channel_attention": False}, "channel_attention: false (it has true)"),
        ({"upsampler": "nearest"}, "upsampler: nearest (it has subpixel)"),
        ({"upsampler": "direct"}, "upsampler: direct (it has subpixel)"),
        ({"img_range": 100.0}, "img_range 100 (it has 255, or 1)"),
        ({"num_in_ch": 6, **NO_RANGE, "rgb_mean": [0.0] * 6}, "num_in_ch 6 and num_out_ch 3 differ"),
        ({"num_in_ch": 1, "num_out_ch": 1}, "img_range 255 or a mean with 1 channels (its sub_mean has 3)"),
        ({"upscale": 4, "unshuffle": 2}, "upscale 4 times unshuffle 2 is not 4"),
        ({"rgb_mean": [0.001] * 3}, "rgb_mean [0.001, 0.001, 0.001] is too small to tell range 255 from range 1"),
    ],
)
def test_what_the_authors_layout_cannot_hold_is_refused(arguments, reason):
    net = small_rcan(**arguments)
    full = {**SMALL["RCANArch"], **arguments}
    assert dialects.authors_reasons(full) == [reason]
    assert dialects.spandrel_reasons(full) == [reason]
    with pytest.raises(ValueError, match="the authors' layout cannot hold this network: ") as error:
        dialects.to_authors(net.state_dict(), full)
    assert str(error.value).endswith(f": {reason}.")


NOT_SPANDRELS = {
    "img_range 1 with a mean (it takes every sub_mean for one of range 255)": {"upscale": 2, "img_range": 1.0},
    "num_feat 8 with upscale 1 (it takes 64)": {"upscale": 1},
}


def test_reasons_why_spandrel_would_not_reproduce_a_network():
    """What spandrel itself gives is in `test_spandrel.py`."""
    for arguments in (*HELD, {"upscale": 1, "num_feat": 64}):
        assert dialects.spandrel_reasons({**SMALL["RCANArch"], **arguments}) == []
    for reason, arguments in NOT_SPANDRELS.items():
        assert dialects.spandrel_reasons({**SMALL["RCANArch"], **arguments}) == [reason]
