"""Resumed models continue as if they had not stopped; edited rates take effect."""

import random
from collections import OrderedDict

import numpy as np
import pytest
import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import ARCH_REGISTRY

from rcan_plugin.models.accelerated_model import AcceleratedSRModel
from rcan_plugin.training import checkpoints
from rcan_plugin.training.random_states import read_random_states, set_random_states
from tests.comparison import names_all, same
from tests.disks import names
from tests.models.conftest import ADAM, Dropping, Images, batch, build, resumed, step, train, weights

GOING_ON = {
    "plain": {},
    "all": {
        "ema_decay": 0.9, "amp": "fp16", "channels_last": True, "grad_accum": 2, "grad_clip": {"norm": 1.0},
        "guard": {"factor": 10, "stop_after": 3},
        "optim_g": {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.1, "fused": True},
        "scheduler": {"type": "WarmupCosineLR", "total": 12, "warmup": 7},
    },
    "guard": {"guard": {"factor": 10, "stop_after": 3}, "amp": "bf16"},
    "SGD": {"optim_g": {"type": "SGD", "lr": 0.01, "momentum": 0.9}, "warmup_iter": 8},
}  # fmt: skip


@pytest.mark.parametrize("network", [None, Dropping])
@pytest.mark.parametrize("features", GOING_ON)
def test_a_run_continues_as_if_it_had_not_stopped(features, network, options, tmp_path, monkeypatch, log):
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Dropping", Dropping)
    opt = options(train=GOING_ON[features], **({"network_g": {"type": "Dropping"}} if network else {}))
    model = train(build(opt), 4)
    if model.guard:
        bad = batch(4)
        bad["lq"][0] = torch.nan
        step(model, 4, bad)
    step(model, 5)
    model.validation(Images().loader, 5, None)
    model.save(0, 5)
    other = resumed(opt, checkpoints.load(tmp_path / "training_states/5.state"), folder=tmp_path)
    # The one that went on comes second: what the first draws must not matter to it.
    states = read_random_states()
    found = []
    for one in (other, model):
        if one is model:
            set_random_states(checkpoints.load(tmp_path / "training_states/5.state")["random_states"][0])
        taken = []
        for number in range(6, 11):
            step(one, number)
            drawn = random.random(), np.random.rand(), torch.rand(3)  # noqa: NPY002
            taken += [weights(one), one.get_current_learning_rate(), one.get_current_log(), drawn]
        one.validation(Images().loader, 10, None)
        final = [one.optimizer_g.state_dict(), one.schedulers[0].state_dict(), one.scaler.state_dict()]
        final += [one.guard.state_dict() if one.guard else None, one.best_metric_results]
        found.append([*taken, *final])
    assert same(*found)
    assert not same(states, read_random_states())
    if model.guard:
        assert found[0][2]["skipped"] == 1
    assert "The learning rates in the option file differ" not in log.text


def test_files_that_a_killed_run_had_begun_are_removed(options, tmp_path):
    model = train(build(options()), 1)
    model.save(0, 1)
    for name in ("models/net_g_2.pth", "training_states/2.state"):
        (tmp_path / f"{name}.part").write_bytes(b"half of it")
    model.resume_training(checkpoints.load(tmp_path / "training_states/1.state"))
    assert names(tmp_path / "models") == ["net_g_1.pth"] and names(tmp_path / "training_states") == ["1.state"]


def test_without_the_random_states_dropout_differs(options, tmp_path, monkeypatch):
    """That the test above can fail."""
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Dropping", Dropping)
    opt = options(network_g={"type": "Dropping"})
    model = train(build(opt), 5)
    model.save(0, 5)
    state = checkpoints.load(tmp_path / "training_states/5.state")
    for states in ([], state["random_states"] * 2):  # of another number of processes
        other = resumed(opt, {**state, "random_states": states}, folder=tmp_path)
        assert other.random_states is None
        step(other, 6)
        set_random_states(state["random_states"][0])
        step(model, 6)
        assert not same(weights(other), weights(model))


def test_each_rank_has_its_own_random_states(options, tmp_path, monkeypatch):
    def gather(gathered, own):
        gathered[:] = [own, ["of rank 1"]]

    model = train(build(options()), 1)
    model.opt |= {"dist": True, "world_size": 2}
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    model.save_training_state(0, 1)
    state = checkpoints.load(tmp_path / "training_states/1.state")
    assert same(state["random_states"], [read_random_states(), ["of rank 1"]])
    model.opt["rank"] = 1
    model.resume_training(state)
    assert model.random_states == ["of rank 1"]


@pytest.mark.parametrize("ema_decay", [0, 0.9])
@pytest.mark.parametrize(("before", "after"), [(SRModel, AcceleratedSRModel), (AcceleratedSRModel, SRModel)])
def test_a_run_continues_in_the_other_model(before, after, ema_decay, options, tmp_path):
    opt = options(train={"ema_decay": ema_decay})
    model = train(build(opt, before), 5)
    model.save(0, 5)
    state = torch.load(tmp_path / "training_states/5.state", weights_only=True)
    other = resumed(opt, state, folder=tmp_path, cls=after)
    for one in (model, other):
        train(one, 10, first=6)
    assert same(weights(model), weights(other))
    assert model.get_current_learning_rate() == other.get_current_learning_rate() == [0.5e-3]
    assert same(model.optimizer_g.state_dict()["state"], other.optimizer_g.state_dict()["state"])


@pytest.mark.parametrize("before", [SRModel, AcceleratedSRModel])
def test_a_run_of_plain_adam_continues_with_fused_adam(before, options, tmp_path):
    model = train(build(options(), before), 5)
    model.save(0, 5)
    features = {"guard": {"factor": 10, "stop_after": 3}}
    opt = options(train={**features, "optim_g": {**options()["train"]["optim_g"], "fused": True}})
    state = checkpoints.load(tmp_path / "training_states/5.state")
    other = resumed(opt, state, folder=tmp_path)
    assert not state["optimizers"][0]["param_groups"][0].get("fused"), "the caller's state stays as it was"
    assert other.optimizer_g.param_groups[0]["fused"] is True
    for one in (model, other):
        train(one, 10, first=6)
    for name, value in weights(model).items():
        torch.testing.assert_close(weights(other)[name], value, rtol=1e-4, atol=1e-6)
    assert {one["step"].item() for one in other.optimizer_g.state.values()} == {10}


def test_the_best_figures_begin_anew_with_other_metrics(options, tmp_path):
    model = train(build(options()), 5)
    model.save(0, 5)
    model.validation(Images().loader, 5, None)
    state = checkpoints.load(tmp_path / "training_states/5.state")
    ssim = {"type": "calculate_ssim", "crop_border": 2}
    opt = options(val={"metrics": {"psnr": options()["val"]["metrics"]["psnr"], "ssim": ssim}})
    other = resumed(opt, state, folder=tmp_path)
    other.validation(Images().loader, 10, None)
    assert [one["iter"] for one in other.best_metric_results["Set"].values()] == [10, 10]
    without = resumed(options(val={"metrics": None}), state, folder=tmp_path)
    without.validation(Images().loader, 10, None)
    again = resumed(options(), state, folder=tmp_path)
    with torch.no_grad():
        again.net_g.conv_last.bias += 255  # white
    again.validation(Images().loader, 10, None)
    assert again.best_metric_results["Set"]["psnr"] == state["best"]["Set"]["psnr"], "that of iteration 5"


@pytest.mark.parametrize(
    ("changes", "begins_anew"),
    [
        ({}, False),
        ({"val": {"metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 3}}}}, True),
        ({"val": {"metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2, "better": "lower"}}}}, True),
        ({"datasets": {"val": {"name": "Other"}}}, True),
        ({"datasets": {"val": {"name": "Set"}}}, False),
    ],
)
def test_the_best_figures_are_kept_for_the_same_measurement_alone(changes, begins_anew, options, tmp_path, caplog):
    psnr = {"val": {"metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2}}}}
    model = train(build(options(**psnr)), 5)
    model.validation(Images().loader, 5, None)
    model.save(0, 5)
    state = checkpoints.load(tmp_path / "training_states/5.state")
    other = resumed(options(**{**psnr, **changes}), state, folder=tmp_path)
    assert getattr(other, "best_metric_results", None) == (None if begins_anew else state["best"])
    assert ("The best figures begin anew" in caplog.text) == begins_anew


def steps(milestones, gamma=0.5):
    return {"type": "MultiStepLR", "milestones": milestones, "gamma": gamma}


EDITS = {
    "rate": {"optim_g": {**ADAM, "lr": 1e-4}},
    "milestones to come": {"scheduler": steps([8, 9])},
    "milestones that are past": {"scheduler": steps([2, 3, 12], 0.1)},
    "warm-up": {"warmup_iter": 8},
    "another schedule": {"scheduler": {"type": "WarmupCosineLR", "total": 15, "warmup": 2, "eta_min": 1e-6}},
    "another of BasicSR's": {"scheduler": {"type": "CosineAnnealingRestartLR", "periods": [15], "eta_min": 1e-6}},
    "rate and milestones": {"optim_g": {**ADAM, "lr": 5e-4}, "scheduler": steps([4, 12])},
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("start", ["MultiStepLR", "WarmupCosineLR"])
@pytest.mark.filterwarnings("error:Detected call of:UserWarning")
def test_edited_rates_are_those_that_a_new_run_would_have(edit, start, options, tmp_path, log):
    first = {"scheduler": {"type": "WarmupCosineLR", "total": 20, "warmup": 3}} if start == "WarmupCosineLR" else {}
    model = train(build(options(train=first)), 5)
    model.save(0, 5)
    opt = options(train={**first, **EDITS[edit]})
    fresh, expected = build(opt), []
    for number in range(1, 16):
        step(fresh, number)
        expected += fresh.get_current_learning_rate()
    other = resumed(opt, checkpoints.load(tmp_path / "training_states/5.state"), folder=tmp_path)
    assert same(list(other.optimizer_g.state.values()), list(model.optimizer_g.state.values())), "momentum stays"
    found = []
    for number in range(6, 16):
        step(other, number)
        found += other.get_current_learning_rate()
    assert found == expected[5:]
    (message,) = (text for text in log.messages if text.startswith("The learning rates in the option file differ"))
    assert names_all(message, other.rates, [expected[4]])
    # A second resume, of the options as they are now, changes nothing more.
    other.save(0, 15)
    log.clear()
    again = resumed(opt, checkpoints.load(tmp_path / "training_states/15.state"), "models/net_g_15.pth", tmp_path)
    for one in (other, again):
        step(one, 16)
    assert "The learning rates in the option file differ" not in log.text
    assert same(weights(again), weights(other))
    assert again.get_current_learning_rate() == other.get_current_learning_rate()


def test_other_settings_of_the_optimiser_take_effect_too(options, tmp_path):
    train(build(options()), 5).save(0, 5)
    opt = options(train={"optim_g": {**ADAM, "betas": [0.5, 0.9], "weight_decay": 0.1}})
    other = resumed(opt, checkpoints.load(tmp_path / "training_states/5.state"), folder=tmp_path)
    group = other.optimizer_g.param_groups[0]
    assert (list(group["betas"]), group["weight_decay"], group["lr"]) == ([0.5, 0.9], 0.1, 1e-3)


def test_yamls_ordered_dicts_are_no_edit(options, tmp_path, log):
    opt = options()
    opt["train"] = OrderedDict(
        {key: OrderedDict(value) if isinstance(value, dict) else value for key, value in opt["train"].items()}
    )
    train(build(opt), 5).save(0, 5)
    state = torch.load(tmp_path / "training_states/5.state", weights_only=True)
    resumed(options(), state, folder=tmp_path)
    resumed(opt, state, folder=tmp_path)
    assert "The learning rates in the option file differ" not in log.text
