"""Weights that a run starts from: layouts of files, other scales."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rcan_plugin.archs.rcan_arch import RCANArch
from tests.archs.rcan import official_layout
from tests.comparison import names_all, same
from tests.models.conftest import ARGUMENTS, NETWORKS, build


def layouts(net: nn.Module, average: nn.Module) -> dict[str, dict]:
    params, params_ema = net.state_dict(), average.state_dict()
    with_prefix = {f"module.{name}": value for name, value in params.items()}
    return {
        "params": {"params": params},
        "params_ema": {"params_ema": params_ema},
        "both": {"params": params, "params_ema": params_ema},
        "flat": params,
        "prefixed": with_prefix,
        "prefixed under a key": {"params": with_prefix},
        "official": official_layout(net),
        "safetensors": params,
    }


@pytest.mark.parametrize("key", ["params", "params_ema", None, "left out"])
@pytest.mark.parametrize("ema_decay", [0, 0.9])
@pytest.mark.parametrize("layout", layouts(RCANArch(**ARGUMENTS), RCANArch(**ARGUMENTS)))
def test_weights_in_any_layout(layout, ema_decay, key, options, tmp_path):
    torch.manual_seed(1)
    net, average = RCANArch(**ARGUMENTS), RCANArch(**ARGUMENTS)
    (save_file if layout == "safetensors" else torch.save)(layouts(net, average)[layout], tmp_path / "start.pth")
    opt = options(train={"ema_decay": ema_decay})
    opt["path"] |= {"pretrain_network_g": str(tmp_path / "start.pth")}
    opt["path"] |= {} if key == "left out" else {"param_key_g": key}
    model = build(opt)
    averaged = layout == "params_ema" or (layout == "both" and key in ("params_ema", None))
    assert same(model.net_g.state_dict(), (average if averaged else net).state_dict())
    if ema_decay:
        averaged = layout in ("params_ema", "both")
        assert same(model.net_g_ema.state_dict(), (average if averaged else net).state_dict())


@pytest.mark.parametrize("network", ["RCANArch", "EDSR"])
@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_x3_starts_from_what_fits_of_x2(network, ema_decay, options, tmp_path):
    x2 = build(options(network_g=NETWORKS[network]), seed=1)
    x2.save(0, 1)
    path = {"pretrain_network_g": str(tmp_path / "models/net_g_1.pth")}
    opt = options(network_g={**NETWORKS[network], "upscale": 3}, scale=3, train={"ema_decay": ema_decay}, path=path)
    with pytest.raises(RuntimeError, match="size mismatch"):
        build(opt)
    opt["path"]["strict_load_g"] = False
    model, fresh = build(opt), build({**opt, "path": {}}).net_g.state_dict()
    for net in [model.net_g] + ([model.net_g_ema] if ema_decay else []):
        taken = {name for name, value in net.state_dict().items() if same(value, x2.net_g.state_dict().get(name))}
        assert net.state_dict().keys() - taken == {"upsample.0.weight", "upsample.0.bias"}
    assert all(
        same(model.net_g.state_dict()[f"upsample.0.{name}"], fresh[f"upsample.0.{name}"]) for name in ("weight", "bias")
    )


def test_the_log_says_which_weights_were_taken(options, log, tmp_path):
    torch.save(RCANArch(**ARGUMENTS).state_dict(), tmp_path / "flat.pth")
    build(options(path={"pretrain_network_g": str(tmp_path / "flat.pth")}))
    (message,) = (text for text in log.messages if text.startswith("Loading"))
    assert names_all(message, "RCANArch", tmp_path / "flat.pth", "no key")
