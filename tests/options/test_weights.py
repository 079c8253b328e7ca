"""The weights that an option file starts from, checked before BasicSR does anything."""

import copy
import logging

import basicsr.utils.logger
import pytest
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.models.base_model import BaseModel
from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY
from torch import nn

import rcan_plugin
from rcan_plugin.archs.vdsr_arch import VDSRArch
from rcan_plugin.options.weights import check_weights
from tests.archs.rcan import official_layout, small_rcan
from tests.archs.small import SMALL
from tests.weights.saved import save, wrong_files

rcan_plugin.register()

RCAN = {"type": "RCANArch", **SMALL["RCANArch"]}


def options(path=None, **changes):
    return {"model_type": "SRModel", "is_train": True, "network_g": RCAN, "train": {}, "path": path or {}, **changes}


def message(opt) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        check_weights(opt)
    return str(refused.value)


def test_every_file_that_is_no_weights_is_refused_with_its_option(tmp_path):
    for name, (path, _) in wrong_files(tmp_path).items():
        for option in ("pretrain_network_g", "pretrain_network_d"):
            text = message(options({option: str(path)}))
            assert text.startswith(f"path: {option}: {path} ") and len(text.splitlines()) == 1, name
    text = message(options({"pretrain_network_d": "gone.pth"}))
    assert text.startswith("path: pretrain_network_d: gone.pth does not exist (looked for from ")
    check_weights(options({"pretrain_network_g": None, "strict_load_g": True}))


@pytest.mark.parametrize("is_train", [True, False])
def test_the_key_to_write_is_reported_for_srmodel_and_not_needed_by_ours(is_train, tmp_path):
    weights = small_rcan().state_dict()
    for content, key in (
        (weights, "~"),
        ({"state_dict": weights}, "state_dict"),
        ({"params_ema": weights}, "params_ema"),
    ):
        path = {"pretrain_network_g": str(save(tmp_path / "net.pth", content))}
        assert message(options(path, is_train=is_train)).endswith(f"write param_key_g: {key}.")
        check_weights(options({**path, "param_key_g": None if key == "~" else key}, is_train=is_train))
        check_weights(options(path, is_train=is_train, model_type="AcceleratedSRModel", train={"ema_decay": 0.9}))


def test_the_average_is_checked_in_training_only(tmp_path):
    weights = small_rcan().state_dict()
    path = {"pretrain_network_g": str(save(tmp_path / "net.pth", weights)), "param_key_g": None}
    averaged = options(path, train={"ema_decay": 0.9})
    assert "with train: ema_decay, SRModel reads" in message(averaged)
    check_weights({**averaged, "is_train": False})
    check_weights(options(path, train={"ema_decay": 0}))


def test_strictness_and_labels_are_those_of_the_option_file(tmp_path):
    path = {"pretrain_network_d": str(save(tmp_path / "net.pth", {"params": small_rcan(upscale=2).state_dict()}))}
    opt = options({**path, "strict_load_d": True, "strict_load_g": False}, network_d=RCAN)
    assert message(opt).endswith("strict_load_d: false to start from the 44 of 46 tensors that fit.")
    opt["path"]["strict_load_d"] = False
    check_weights(opt)


def test_networks_of_basicsr_and_luma_only_are_covered(tmp_path):
    edsr = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "upscale": 2}
    net = EDSR(**{key: value for key, value in edsr.items() if key != "type"})
    path = {"pretrain_network_g": str(save(tmp_path / "net.pth", {"params": net.state_dict()}))}
    check_weights(options(path, network_g=edsr))
    assert "conv_first.weight (8, 3, 3, 3), in the network (4, 3, 3, 3)" in message(
        options(path, network_g={**edsr, "num_feat": 4})
    )
    assert "does not fit RCANArch" in message(options(path))
    vdsr = {"type": "VDSRArch", **SMALL["VDSRArch"], "upscale": 2}
    luma = {"type": "LumaOnly", "network": vdsr}
    assert "does not fit LumaOnly: it is another network's" in message(options(path, network_g=luma))
    save(tmp_path / "net.pth", {"params": VDSRArch(**SMALL["VDSRArch"]).state_dict()})
    check_weights(options(path, network_g=luma))


def test_a_network_that_cannot_be_built_is_left_to_the_check_of_its_options(tmp_path):
    path = {"pretrain_network_g": str(save(tmp_path / "net.pth", {"params": small_rcan().state_dict()}))}
    for network in ({"type": "RCANArch", "num_feats": 8}, {"type": "Nothing"}, None):
        check_weights(options(path, network_g=network))


def test_a_model_that_loads_in_its_own_way_is_asked_nothing(tmp_path, monkeypatch):
    class Own(BaseModel):
        def load_network(self, *_):
            pass

    monkeypatch.setitem(MODEL_REGISTRY._obj_map, "Own", Own)
    path = {"pretrain_network_g": str(save(tmp_path / "net.pth", {"weights": [1]}))}
    check_weights(options(path, model_type="Own"))
    assert "holds no weights" in message(options(path))
    (tmp_path / "net.pth").write_bytes(b"x")
    assert "not a file of weights" in message(options(path, model_type="Own"))


def test_the_check_is_not_noticed_by_the_run(tmp_path, monkeypatch, caplog):
    class Talking(nn.Conv2d):
        def __init__(self):
            super().__init__(1, 1, 1)
            torch.rand(3)
            basicsr.utils.logger.get_root_logger().error("built")

    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Talking", Talking)
    monkeypatch.setattr(basicsr.utils.logger, "initialized_logger", {})
    handlers, state = [*logging.getLogger("basicsr").handlers], torch.get_rng_state()
    path = {"pretrain_network_g": str(save(tmp_path / "net.pth", nn.Conv2d(1, 1, 1).state_dict())), "param_key_g": None}
    torch.set_rng_state(state)
    opt = options(path, network_g={"type": "Talking"})
    before = copy.deepcopy(opt)
    check_weights(opt)
    assert torch.equal(torch.get_rng_state(), state)
    assert not basicsr.utils.logger.initialized_logger and logging.getLogger("basicsr").handlers == handlers
    assert not caplog.messages and not logging.getLogger("basicsr").disabled
    assert opt == before


def test_weights_of_another_scale_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "net.pth", official_layout(small_rcan(upscale=2)))
    opt = options({"pretrain_network_g": str(path), "param_key_g": None}, name="run", datasets={})
    with pytest.raises(ValueError, match=r"path: pretrain_network_g: .* upscale is 2 in the file, 4"):
        check_weights(opt)
