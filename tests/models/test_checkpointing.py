"""What a model writes: weights and training states."""

from collections import OrderedDict

import pytest
import torch
from basicsr.models.sr_model import SRModel

from rcan_plugin import weights
from rcan_plugin.models.accelerated_model import AcceleratedSRModel
from rcan_plugin.training import checkpoints
from tests.comparison import same
from tests.disks import failing, names
from tests.models.conftest import NETWORKS, Images, build, train


def test_the_newest_checkpoints_are_kept(options, tmp_path):
    model = build(options(logger={"keep_last": 2}))
    for number in (8, 9, 10, 11):
        model.save(0, number)
        if number == 8:
            model.validation(Images().loader, 8, None)
    model.save(-1, -1)
    assert names(tmp_path / "training_states") == ["10.state", "11.state"]
    assert names(tmp_path / "models") == ["net_g_10.pth", "net_g_11.pth", "net_g_best.pth", "net_g_latest.pth"]


def test_all_are_kept_where_nothing_is_specified(options, tmp_path):
    model = build(options())
    for number in (1, 2, 3):
        model.save(0, number)
    assert names(tmp_path / "training_states") == ["1.state", "2.state", "3.state"]


@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_weights_are_in_basicsrs_layout(ema_decay, options, tmp_path):
    opt = options(train={"ema_decay": ema_decay})
    saved = []
    for cls in (AcceleratedSRModel, SRModel):
        train(build(opt, cls), 3).save(0, 3)
        saved.append(torch.load(tmp_path / "models/net_g_3.pth", weights_only=True))
    assert saved[0].pop("network_g") == opt["network_g"]  # and nothing else differs
    assert same(*saved) and saved[0].keys() == ({"params", "params_ema"} if ema_decay else {"params"})


@pytest.mark.parametrize("network", NETWORKS)
def test_a_checkpoint_gives_its_network_by_itself(network, options, tmp_path):
    model = train(build(options(network_g=OrderedDict(NETWORKS[network]), train={"ema_decay": 0.9})), 2)
    model.save(0, 2)
    read = weights.read(tmp_path / "models/net_g_2.pth")
    name = "RCANArch" if network == "RCAN" else network  # which has the keys and arguments of BasicSR's
    assert (read.name, read.scale, read.layout, read.remarks) == (name, 2, "under params_ema", [])
    assert same(read.build().state_dict(), model.net_g_ema.state_dict())
    assert not read.build().training


@pytest.mark.parametrize("cls", [AcceleratedSRModel, SRModel])
@pytest.mark.parametrize("key", ["params", "params_ema"])
def test_checkpoints_are_weights_to_start_from_for_both_models(cls, key, options, tmp_path):
    first = train(build(options(train={"ema_decay": 0.9})), 2)
    first.save(0, 2)
    path = {"pretrain_network_g": str(tmp_path / "models/net_g_2.pth"), "param_key_g": key}
    expected = first.net_g if key == "params" else first.net_g_ema
    assert same(build(options(path=path), cls, seed=1).net_g.state_dict(), expected.state_dict())


def test_options_that_are_not_plain_are_left_out(options, tmp_path):
    model = build(options())
    model.opt["network_g"]["hook"] = print
    model.save(0, 1)
    assert torch.load(tmp_path / "models/net_g_1.pth", weights_only=True).keys() == {"params"}


def test_other_ranks_write_nothing(options, tmp_path):
    build(options(rank=1)).save(0, 3)
    assert names(tmp_path / "models") == names(tmp_path / "training_states") == []


def test_a_full_disk_ends_the_run(options, tmp_path, monkeypatch, pauses):
    """BasicSR says so in the log and goes on training."""
    model = train(build(options()), 1)
    model.save(0, 1)
    monkeypatch.setattr(torch, "save", failing(99))
    with pytest.raises(OSError, match=r"net_g_2\.pth could not be written"):
        model.save(0, 2)
    monkeypatch.setattr(torch, "save", lambda content, file: failing("iter" in content)(content, file))
    monkeypatch.setattr(checkpoints, "ATTEMPTS", 1)
    with pytest.raises(OSError, match=r"3\.state could not be written"):
        model.save(0, 3)
    assert names(tmp_path / "training_states") == ["1.state"]
    assert names(tmp_path / "models") == ["net_g_1.pth", "net_g_3.pth"]


def test_a_state_holds_plain_numbers_and_tensors(options, tmp_path):
    metrics = {
        "psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True},
        "ssim": {"type": "calculate_ssim", "crop_border": 2, "test_y_channel": True},
    }
    features = {"ema_decay": 0.9, "amp": "fp16", "guard": {"factor": 10, "stop_after": 3}}
    model = build(options(train=features, val={"metrics": metrics}))
    train(model, 5)
    model.save(2, 5)
    model.validation(Images().loader, 5, None)
    state = torch.load(tmp_path / "training_states/5.state", weights_only=True)
    assert (state["epoch"], state["iter"]) == (2, 5)
    assert same(state["optimizers"], [model.optimizer_g.state_dict()])
    assert state["schedulers"][0]["last_epoch"] == 4
    assert state["scaler"]["scale"] == 2.0**16 and state["scaler"]["_growth_tracker"] == 5
    assert state["guard"] == {"mean": model.guard.mean.item(), "skipped": 0}
    assert state["validated"] == ["Set"]
    assert state["best"] == {"Set": model.best_metric_results["Set"]}
    assert {type(one["val"]) for one in state["best"]["Set"].values()} == {float}
    assert [one["iter"] for one in state["best"]["Set"].values()] == [5, 5]
    assert len(state["random_states"]) == 1


def test_a_validation_at_another_iteration_writes_no_state(options, tmp_path):
    model = train(build(options()), 2)
    model.save(0, 1)
    (tmp_path / "training_states/1.state").unlink()
    model.validation(Images().loader, 2, None)
    assert names(tmp_path / "training_states") == []
