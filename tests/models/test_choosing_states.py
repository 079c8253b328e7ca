"""Which training state a run resumes from: the newest that is whole and fits the options; others are named."""

import copy
import math
import random
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY

from rcan_plugin.cli.train import Run
from rcan_plugin.models.resuming import choose_state
from rcan_plugin.training import checkpoints
from rcan_plugin.training.random_states import read_random_states
from tests.comparison import names_all, same
from tests.hooks import dropping_network
from tests.runs import (
    models,
)


@pytest.fixture
def broken(tmp_path, monkeypatch, unbroken):
    """A run's states and weights of iterations 2, 4 and 6, and options that go on from them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Dropping", dropping_network.Dropping)
    for iteration in (2, 4, 6):
        for name in (f"models/net_g_{iteration}.pth", f"training_states/{iteration}.state"):
            file = Path("experiments/tiny", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes((unbroken / file).read_bytes())
    opt = yaml.safe_load((unbroken / "tiny.yml").read_text())
    opt["network_g"]["upscale"] = opt["scale"]
    opt["path"] = {"models": str(models(tmp_path)), "pretrain_network_g": None, "resume_state": None}
    return opt | {"auto_resume": True, "dist": False}


DAMAGES = {
    "missing": None,
    "empty": lambda content: b"",
    "cut short": lambda content: content[: len(content) // 2],
    "all but the last byte": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
    "a block inside": lambda content: content[: len(content) // 2] + bytes(64) + content[len(content) // 2 + 64 :],
    "garbage": lambda content: random.Random(0).randbytes(len(content)),
    "text": lambda content: b"<html>404</html>",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["models/net_g_{}.pth", "training_states/{}.state"])
def test_what_is_damaged_is_passed_over(name, damage, broken, capsys):
    for newest, following in ((6, 4), (4, 2)):
        file = Path("experiments/tiny", name.format(newest))
        if DAMAGES[damage]:
            file.write_bytes(DAMAGES[damage](file.read_bytes()))
        else:
            file.unlink()
        opt = copy.deepcopy(broken)
        assert choose_state(opt)["iter"] == following == Run().load_resume_state(opt)["iter"]
        assert opt["path"]["pretrain_network_g"].endswith(f"net_g_{following}.pth")
        assert opt["path"]["resume_state"] == f"experiments/tiny/training_states/{following}.state"
        said = capsys.readouterr().err
        if damage != "missing" or "state" not in name:
            assert f"training_states/{newest}.state cannot be resumed from: " in said and file.name in said
            assert f"Resuming from experiments/tiny/training_states/{following}.state, the newest" in said


def change(**entries):
    """Change entries of a file's content."""
    return lambda content: {**content, **entries}


def spoil(part, value=math.nan):
    """Set the first number of a part of the weights."""

    def change(content):
        next(iter(content[part].values())).view(-1)[0] = value
        return content

    return change


def other_moments(state):
    moments = state["optimizers"][0]["state"][0]
    moments["exp_avg"] = moments["exp_avg"][:, :1].clone()
    return state


def fewer_parameters(state):
    state["optimizers"][0]["param_groups"][0]["params"].pop()
    return state


UNUSABLE = {
    "another network": ("models/net_g_6.pth", lambda _: {"params": {"conv.weight": torch.ones(3)}}, "does not fit"),
    "another width": (
        "models/net_g_6.pth",
        lambda content: {**content, "params_ema": {name: x[:1] for name, x in content["params_ema"].items()}},
        "does not fit network_g, Dropping: size mismatch for conv_first.weight",
    ),
    "a flat file": ("models/net_g_6.pth", lambda content: content["params"], "no weights under the key params"),
    "NaN": ("models/net_g_6.pth", spoil("params"), "NaN or infinite, under the key params"),
    "NaN in EMA": ("models/net_g_6.pth", spoil("params_ema", math.inf), "NaN or infinite, under the key params_ema"),
    "no optimizers": ("training_states/6.state", lambda content: {"iter": 6, "epoch": 1}, "it has no optimizers"),
    "another number": ("training_states/6.state", change(iter=4), "holds iteration 4"),
    "two optimizers": ("training_states/6.state", lambda x: {**x, "optimizers": x["optimizers"] * 2}, "2 optimizers"),
    "other moments": ("training_states/6.state", other_moments, "its optimizer does not fit network_g"),
    "fewer parameters": ("training_states/6.state", fewer_parameters, "its optimizer does not fit network_g"),
    "weights only": ("training_states/6.state", lambda _: {"params": {}}, "it has no iter"),
}


@pytest.mark.parametrize("why", UNUSABLE)
def test_what_does_not_fit_is_passed_over(why, broken, capsys):
    name, change, reason = UNUSABLE[why]
    file = Path("experiments/tiny", name)
    checkpoints.save(change(checkpoints.load(file)), file)
    before = read_random_states()
    assert choose_state(broken)["iter"] == 4
    assert same(before, read_random_states()), "networks are built, and nothing is drawn"
    said = capsys.readouterr().err
    assert names_all(said, "training_states/6.state cannot be resumed from: ", reason)
    assert "Resuming from experiments/tiny/training_states/4.state, the newest usable state." in said


def test_names_that_are_no_iterations_are_passed_over(broken, capsys):
    folder = Path("experiments/tiny/training_states")
    odd = ["._40.state", "30 (copy).state", "abc.state"]
    for name in odd:
        shutil.copy(folder / "4.state", folder / name)
    (folder / "40.state").mkdir()
    assert choose_state(broken)["iter"] == 6
    assert broken["path"]["strict_load_g"] is True and broken["path"]["param_key_g"] == "params"
    assert broken["auto_resume"] is False, "BasicSR looks for no other"
    said = capsys.readouterr().err
    assert [line.split(" is ignored")[0] for line in said.splitlines()] == [
        str(folder / name) for name in sorted([*odd, "40.state"])
    ]


def test_no_state_that_can_be_used(broken, tmp_path):
    """Copies alone are not taken for a new run, which would rename the folder; an empty folder is one."""
    folder = Path("experiments/tiny/training_states")
    for file in folder.iterdir():
        file.rename(file.with_name(f"{file.stem} (copy).state"))
    with pytest.raises(ValueError, match=rf"no state in {folder} can be resumed from: name another"):
        choose_state(copy.deepcopy(broken))
    for file in folder.iterdir():
        file.unlink()
    assert choose_state(broken) is None and Run().load_resume_state(broken) is None


def test_a_change_of_options_that_no_state_fits(broken, capsys):
    for section, changed, reason in (
        ("network_g", {"num_feat": 4}, "does not fit network_g, Dropping: size mismatch"),
        ("network_g", {"nonsense": 4}, "network_g: Dropping cannot be built with "),
        ("train", {"optim_g": {"type": "RMSprop", "lr": 1e-4}}, "type RMSprop ('square_avg')"),
        ("train", {"optim_g": {"type": "Adam", "lr": 1e-4, "amsgrad": True}}, "type Adam ('max_exp_avg_sq')"),
        ("train", {"optim_g": {"type": "Adam", "lr": 1e-4, "layer_rates": {"bias": 2}}}, "layer_rates is {'bias': 2}"),
    ):
        opt = copy.deepcopy(broken)
        opt[section] |= changed
        with pytest.raises(ValueError) as caught:
            choose_state(opt)
        assert reason in f"{caught.value}{capsys.readouterr().err}"
    for allowed in ({"type": "AdamW", "lr": 1e-4}, {"type": "Adam", "lr": 1.0, "betas": [0.5, 0.9], "fused": True}):
        opt = copy.deepcopy(broken)
        opt["train"]["optim_g"] = allowed
        assert choose_state(opt)["iter"] == 6


def test_a_state_that_is_named_is_the_only_one(broken):
    broken |= {"auto_resume": False}
    broken["path"]["resume_state"] = "backup of 4.state"
    with pytest.raises(FileNotFoundError, match=r"path: resume_state: backup of 4\.state is no file"):
        choose_state(broken)
    Path("experiments/tiny/training_states/4.state").rename("backup of 4.state")
    assert choose_state(broken)["iter"] == 4
    Path("backup of 4.state").write_bytes(b"")
    with pytest.raises(ValueError, match=r"path: resume_state: backup of 4\.state cannot be resumed from: .*read"):
        choose_state(broken)


def test_processes_that_see_different_folders_do_not_begin(broken, monkeypatch):
    """The other one sees no states."""

    def gather(found, own):
        found[:] = [own, None]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    choose_state(broken)
    with pytest.raises(SystemExit, match=r"different iterations, \[6, None\]"):
        Run().load_resume_state(broken | {"dist": True, "world_size": 2})


def test_arguments_of_the_network_that_changed_are_said(broken, capsys):
    choose_state(copy.deepcopy(broken))
    assert "were trained with" not in capsys.readouterr().err
    changed = {**broken, "network_g": {**broken["network_g"], "res_scale": 0.1, "img_range": 1, "use_checkpoint": True}}
    choose_state(changed)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" in ")[0] for line in lines] == [
        "network_g: img_range is 1; the weights", "network_g: res_scale is 0.1; the weights",
    ]  # fmt: skip
    assert lines[1].endswith("net_g_6.pth were trained with 1.0.")


def test_what_auto_resume_does_not_do_is_said(broken, capsys):
    opt = copy.deepcopy(broken)
    opt["path"]["resume_state"] = "experiments/tiny/training_states/2.state"
    assert choose_state(opt)["iter"] == 6
    assert "path: resume_state: experiments/tiny/training_states/2.state is not read" in capsys.readouterr().err
    assert choose_state({**copy.deepcopy(broken), "name": "tyni"}) is None
    assert "There is no training state of tyni to resume from: a new run begins." in capsys.readouterr().err
