"""Official files load without a word about their key names, in BasicSR's models too."""

import logging

import pytest
import torch
from basicsr.models.base_model import BaseModel
from basicsr.models.sr_model import SRModel

from rcan_plugin import autoload
from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.models.accelerated_model import AcceleratedSRModel
from tests.archs.rcan import official_layout
from tests.comparison import same
from tests.models.conftest import ARGUMENTS, build


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("cls", [SRModel, AcceleratedSRModel])
def test_an_official_file_is_one_line_in_the_log(cls, prefix, options, log, tmp_path):
    net = RCANArch(**ARGUMENTS)
    torch.save(official_layout(net, prefix), tmp_path / "official.pt")
    path = {"pretrain_network_g": str(tmp_path / "official.pt")}
    opt = options(model_type=cls.__name__, path=path)
    opt["path"]["param_key_g"] = None
    model = build(opt, cls)
    assert same(model.net_g.state_dict(), net.state_dict())
    assert not [record for record in log.records if record.levelno >= logging.WARNING]
    (line,) = (text for text in log.messages if "official" in text and not text.startswith("Loading"))
    assert line == "RCANArch: the file has the official key names; 18 renamed."


@pytest.mark.parametrize("cls", [SRModel, AcceleratedSRModel])
def test_an_official_file_of_another_scale_is_loaded_in_part(cls, options, log, tmp_path):
    net = RCANArch(**ARGUMENTS)
    torch.save(official_layout(net), tmp_path / "official.pt")
    opt = options(network_g={"type": "RCANArch", **ARGUMENTS, "upscale": 3}, scale=3)
    opt["path"] |= {"pretrain_network_g": str(tmp_path / "official.pt"), "param_key_g": None, "strict_load_g": False}
    loaded = build(opt, cls).net_g.state_dict()
    taken = {name for name, value in net.state_dict().items() if same(loaded[name], value)}
    assert loaded.keys() - taken == {"upsample.0.weight", "upsample.0.bias"}
    warnings = [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
    assert warnings and all("upsample.0" in text for text in warnings)


@pytest.mark.parametrize("cls", [SRModel, AcceleratedSRModel])
def test_names_that_do_differ_are_still_logged(cls, options, log, tmp_path):
    net = RCANArch(**{**ARGUMENTS, "num_block": 2})
    torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
    build(options(path={"pretrain_network_g": str(tmp_path / "net.pth"), "strict_load_g": False}), cls)
    assert "  body.0.residual_group.1.rcab.0.weight" in log.messages


def test_connecting_again_wraps_once():
    before = BaseModel._print_different_keys_loading
    autoload.connect()
    assert BaseModel._print_different_keys_loading.__wrapped__ is before.__wrapped__
    assert not hasattr(before.__wrapped__, "__wrapped__")
