"""Whether a network loads a file of weights, and what the message says when it does not."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.archs.vdsr_arch import VDSRArch
from rcan_plugin.weights.fit import check_weights
from tests.archs.rcan import official_layout, small_rcan
from tests.archs.rcan_descriptions import RCAN_IT, SIZES, Description
from tests.archs.small import SMALL
from tests.weights.saved import save


def check(tmp_path, content, network=small_rcan, **arguments):
    check_weights(save(tmp_path / "net.pth", content), network, **arguments)


def refused(tmp_path, content, network=small_rcan, **arguments) -> str:
    """The message after the path, which is one line."""
    with pytest.raises(ValueError, match=r"net\.pth: ") as error:
        check(tmp_path, content, network, **arguments)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'net.pth'}: ") and len(message.splitlines()) == 1
    return message.removeprefix(f"{tmp_path / 'net.pth'}: ")


@pytest.mark.parametrize("upscale", [2, 4])
def test_files_of_the_network_pass(upscale, tmp_path, caplog):
    caplog.set_level("WARNING")
    net = small_rcan(upscale=upscale)
    for content, key in [
        ({"params": net.state_dict()}, "params"),
        (net.state_dict(), None),
        (official_layout(net, "module."), None),
        ({"state_dict": official_layout(net)}, "state_dict"),
    ]:
        for strict in (True, False):
            check(tmp_path, content, lambda: small_rcan(upscale=upscale), param_key=key, strict=strict)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"num_feat": 16, "num_block": 3},
            "it does not fit RCANArch: only 1 of its 46 tensors fit: num_feat is 16 in the file, 8 in the network, "
            "num_block is 3 in the file, 2 in the network.",
        ),
        (
            {"upscale": 2},
            "it does not fit RCANArch: upscale is 2 in the file, 4 in the network; change network_g, or set "
            "strict_load_g: false to start from the 44 of 46 tensors that fit.",
        ),
        (
            {"num_group": 3},
            "it does not fit RCANArch: num_group is 3 in the file, 2 in the network; change network_g, or set "
            "strict_load_g: false to start from the 46 of 46 tensors that fit.",
        ),
    ],
)
@pytest.mark.parametrize("layout", [dict, official_layout])
def test_arguments_of_rcan_that_differ_are_named(layout, arguments, message, tmp_path):
    other = small_rcan(**arguments)
    content = official_layout(other) if layout is official_layout else other.state_dict()
    assert refused(tmp_path, content, param_key=None) == message


def test_what_strict_false_allows_is_a_part_of_the_same_network(tmp_path):
    check(tmp_path, {"params": small_rcan(upscale=2).state_dict()}, strict=False)
    check(tmp_path, {"params": official_layout(small_rcan(upscale=2))}, strict=False)
    wider = {"params": small_rcan(num_feat=16).state_dict()}  # of which only the bias of the last convolution fits
    assert "num_feat is 16 in the file" in refused(tmp_path, wider, strict=False)


@pytest.mark.parametrize("strict", [True, False])
def test_another_networks_file_is_named_with_both_beginnings(strict, tmp_path):
    message = refused(tmp_path, {"params": VDSRArch(**SMALL["VDSRArch"]).state_dict()}, strict=strict)
    assert message == (
        "it does not fit RCANArch: it is another network's, none of its 8 tensors has a name of this one's; it begins "
        "with convs.0.weight, convs.0.bias, convs.1.weight, the network with conv_first.weight, conv_first.bias, "
        "body.0.residual_group.0.rcab.0.weight."
    )


def test_other_networks_are_compared_by_names_and_shapes(tmp_path):
    build = lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))  # noqa: E731
    file = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3)).state_dict() | {"x.bias": torch.ones(1)}
    assert refused(tmp_path, {"params": file}, build, label="d") == (
        "it does not fit Sequential: 2 tensors have another shape (1.weight (8, 4, 3, 3), in the network (4, 4, 3, 3); "
        "1.bias (8,), in the network (4,)), 2 not in the file (2.weight, 2.bias), 1 only in the file (x.bias)."
    )


def test_starting_from_a_part_is_recommended_where_half_of_the_network_fits(tmp_path):
    build = lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3))  # noqa: E731
    message = refused(tmp_path, {"params": nn.Sequential(nn.Conv2d(1, 4, 3)).state_dict()}, build, label="d")
    assert message.endswith("change network_d, or set strict_load_d: false to start from the 2 of 4 tensors that fit.")


def test_a_network_decides_itself_what_it_loads(tmp_path):
    class Lenient(nn.Conv2d):
        def load_state_dict(self, state_dict, strict=True, assign=False):
            return super().load_state_dict({k.removeprefix("net."): v for k, v in state_dict.items()}, strict, assign)

    content = {"params": {"net.weight": torch.ones(1, 1, 1, 1), "net.bias": torch.ones(1)}}
    check(tmp_path, content, lambda: Lenient(1, 1, 1))
    assert "another network's" in refused(tmp_path, content, lambda: nn.Conv2d(1, 1, 1))


def test_official_files_are_refused_for_mean_and_range_and_recommended_to_others(tmp_path):
    official = official_layout(small_rcan())
    assert "set img_range: 255" in refused(tmp_path, official, lambda: small_rcan(img_range=1), param_key=None)
    bare = {name: value for name, value in official.items() if "_mean." not in name}
    for strict in (True, False):
        message = refused(tmp_path, bare, param_key=None, strict=strict)
        assert "set img_range: 1 and rgb_mean: [0, 0, 0]" in message
    check(tmp_path, bare, lambda: small_rcan(img_range=1, rgb_mean=[0, 0, 0]), param_key=None)
    message = refused(tmp_path, official, lambda: VDSRArch(**SMALL["VDSRArch"]), param_key=None)
    assert message.endswith("it has the names of the RCAN authors' files, which type: RCANArch loads.")


@pytest.mark.parametrize("strict", [True, False])
def test_files_of_rcan_it_and_unshuffled_ones_are_refused_with_the_arguments_to_set(strict, tmp_path):
    weights = Description(**RCAN_IT).weights()
    needed = {"activation": "silu", "activate_all": True, "res_scale": 0.1}
    message = refused(tmp_path, weights, lambda: RCANArch(**SIZES, upscale=2), param_key=None, strict=strict)
    assert "set unshuffle: 1, activate_all: true, activation: silu, res_scale: 0.1" in message
    check(tmp_path, weights, lambda: RCANArch(**SIZES, upscale=2, **needed), param_key=None, strict=strict)
    weights = Description(unshuffle=2).weights()
    message = refused(tmp_path, weights, lambda: RCANArch(**SIZES, upscale=2), param_key=None, strict=strict)
    assert "trained with unshuffle: 2, this network has unshuffle: 1: set unshuffle: 2" in message
    check(tmp_path, weights, lambda: RCANArch(**SIZES, upscale=2, unshuffle=2), param_key=None, strict=strict)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    weights = small_rcan().state_dict()
    weights["conv_last.bias"][1] = float("nan")
    message = refused(tmp_path, {"params": weights})
    assert message == "1 of its 46 tensors hold NaN or infinity, first conv_last.bias."


@pytest.mark.parametrize("key", [None, "state_dict", "params_ema", "params"])
def test_the_average_is_found_as_basicsr_and_our_model_find_it(key, tmp_path):
    weights = small_rcan().state_dict()
    content = weights if key is None else {key: weights}
    check(tmp_path, content, param_key=key, ema=True, any_layout=True)
    if key in ("params", "params_ema"):
        check(tmp_path, content, param_key=key, ema=True)
    else:
        message = refused(tmp_path, content, param_key=key, ema=True)
        assert message.startswith("with train: ema_decay, SRModel reads 'params_ema' or 'params' too")
        assert "model_type: AcceleratedSRModel" in message


def test_both_sets_of_weights_are_checked_where_both_are_loaded(tmp_path):
    content = {"params": small_rcan().state_dict(), "params_ema": small_rcan(num_feat=16).state_dict()}
    check(tmp_path, content)
    assert "num_feat is 16" in refused(tmp_path, content, ema=True)


def test_without_a_network_only_the_file_is_checked(tmp_path):
    check(tmp_path, {"params": VDSRArch(**SMALL["VDSRArch"]).state_dict()}, lambda: None)
    assert refused(tmp_path, {"params": {}}, lambda: None) == "it holds no weights, only params."


def test_safetensors_are_for_models_that_read_them(tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(small_rcan().state_dict(), path)
    check_weights(path, small_rcan, any_layout=True)
    with pytest.raises(ValueError, match=r"BasicSR's models do not read: set model_type: AcceleratedSRModel, or write"):
        check_weights(path, small_rcan)


def test_numbers_beside_flat_weights_are_no_weights(tmp_path):
    assert "only in the file (epoch)" in refused(tmp_path, {**small_rcan().state_dict(), "epoch": 3}, param_key=None)


@pytest.mark.parametrize("in_file", [1, 2])
def test_an_unshuffled_network_and_a_file_that_is_not(in_file, tmp_path):
    file, network = small_rcan(unshuffle=in_file, upscale=2), lambda: small_rcan(unshuffle=3 - in_file, upscale=2)
    message = refused(tmp_path, {"params": file.state_dict()}, network)
    assert f"unshuffle is {in_file} in the file, {3 - in_file} in the network" in message
    assert "num_in_ch" not in message
