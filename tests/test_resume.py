"""Runs that are killed, stopped or damaged resume, and end with the weights of the run that nothing happened to."""

import random
import re
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

from rcan_plugin.cli.train import Run
from rcan_plugin.training import checkpoints
from tests.comparison import same
from tests.conftest import link_basicsr, write_options
from tests.runs import (
    KILL,
    NETWORK,
    SEVERAL,
    TOTAL,
    ended_as,
    models,
    rates,
    several_scales,
    start_at,
    states,
    training,
)


@pytest.mark.parametrize(
    ("workers", "loading"),
    [
        (2, {"prefetch_mode": None}),
        (0, {"prefetch_mode": "cpu"}),
        (1, {"prefetch_mode": "cpu", "num_prefetch_queue": 3}),
        (2, {"prefetch_mode": None, "persistent_workers": True}),
    ],
)
def test_how_data_is_loaded_changes_nothing(workers, loading, forks, unbroken, tmp_path):
    folder = training(tmp_path, workers=workers)
    opt = yaml.safe_load((folder / "tiny.yml").read_text())
    opt["datasets"]["train"] |= loading
    write_options(folder / "tiny.yml", opt)
    for last in (20, TOTAL):
        last = f"train:total_iter={last}"
        forks.start(folder, "-opt", "tiny.yml", "--auto_resume", "--force_yml", last, hook=NETWORK).ends()
    ended_as(unbroken, folder)


@pytest.mark.parametrize("chain", range(5))
def test_killed_at_random_points(chain, forks, unbroken, tmp_path):
    """Six times each; the state found is the newest that was begun to be written before, and each is whole."""
    number = random.Random(chain)
    folder = training(tmp_path, save=2)
    started = 0
    for _ in range(6):
        workers = number.choice([0, 1, 2])
        run = forks.start(
            folder, "-opt", "tiny.yml", "--auto_resume",
            "--force_yml", f"datasets:train:num_worker_per_gpu={workers}", hook=NETWORK,
        )  # fmt: skip
        run.until(start_at(started))
        at = min(started + number.randint(1, 7), TOTAL - 2)
        run.until(f"iter:{at:8,d},")
        time.sleep(number.uniform(0, 0.03))
        run.kill()
        run.ends(-signal.SIGKILL)
        assert "cannot be resumed from" not in run.text
        found = checkpoints.states(states(folder))
        for state in found:
            assert checkpoints.load(state)["iter"] == int(state.stem)
            checkpoints.load(models(folder) / f"net_g_{state.stem}.pth")
        started = int(found[0].stem) if found else 0
        assert started >= (at - 1) // 2 * 2
    forks.start(folder, "-opt", "tiny.yml", "--auto_resume", hook=NETWORK).ends()
    ended_as(unbroken, folder)
    # Not the weights alone: all that the next step depends on.
    one, other = (checkpoints.load(states(run) / f"{TOTAL}.state") for run in (folder, unbroken))
    assert one.keys() == other.keys()
    assert {key for key in one if not same(one[key], other[key])} <= {"best"}  # a validation may have been killed


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        (  # the weights are written, and not yet under their name
            "import pathlib; replace = pathlib.Path.replace\n"
            "pathlib.Path.replace = lambda self, to: kill() if to.name == 'net_g_6.pth' else replace(self, to)",
            3,
        ),
        (  # the weights are there, the state is not begun
            "from rcan_plugin.models.accelerated_model import AcceleratedSRModel as M; save = M.save_training_state\n"
            "M.save_training_state = lambda self, epoch, at: kill() if at == 6 else save(self, epoch, at)",
            3,
        ),
        (  # half of the state is written
            "import io, torch; save = torch.save\n"
            "def half(content, file):\n"
            "    if content.get('iter') != 6: return save(content, file)\n"
            "    whole = io.BytesIO(); save(content, whole)\n"
            "    file.write(whole.getvalue()[:len(whole.getvalue()) // 2]); file.flush(); kill()\n"
            "torch.save = half",
            3,
        ),
        (  # the state is written, and not yet under its name
            "import pathlib; replace = pathlib.Path.replace\n"
            "pathlib.Path.replace = lambda self, to: kill() if to.name == '6.state' else replace(self, to)",
            3,
        ),
        (  # of an older checkpoint the state is deleted, the weights are not
            "import pathlib; unlink = pathlib.Path.unlink\n"
            "pathlib.Path.unlink = lambda self, **how: kill() if self.name == 'net_g_3.pth' else unlink(self, **how)",
            6,
        ),
    ],
)
def test_killed_while_saving(moment, found, forks, unbroken, tmp_path):
    folder = training(tmp_path, keep=1)
    opt = ("-opt", "tiny.yml", "--auto_resume")
    forks.start(folder, *opt, hook=NETWORK + KILL + moment).ends(-signal.SIGKILL)
    said = forks.start(folder, *opt, hook=NETWORK).ends()
    assert start_at(found) in said and "cannot be resumed from" not in said
    ended_as(unbroken, folder)


@pytest.mark.parametrize("network", SEVERAL)
def test_scales_are_drawn_as_if_nothing_had_happened(network, forks, tmp_path):
    """One for each batch, or for each sample; killed in an epoch, stopped at its end, with workers and without."""
    hook = (
        "from rcan_plugin.models.accelerated_model import AcceleratedSRModel as M; step = M.optimize_parameters\n"
        "def tell(self, at):\n"
        "    step(self, at); print('step', at, self.scale, self.gt.shape[-1], flush=True)\n"
        "    if at == KILLED: kill()\n"
        "M.optimize_parameters = tell\n"
    )
    folder, whole = (several_scales(tmp_path / name, network, save=2, total_iter=14) for name in ("parts", "whole"))
    plain = KILL + "KILLED = 0\n" + hook
    expected = forks.start(whole, "-opt", "tiny.yml", hook=plain).ends()
    opt = ("-opt", "tiny.yml", "--auto_resume", "--force_yml")
    workers = "datasets:train:num_worker_per_gpu={}".format
    said = forks.start(folder, *opt, workers(1), hook=KILL + "KILLED = 5\n" + hook).ends(-signal.SIGKILL)
    found = [re.findall("^step .*", said, re.MULTILINE)[:4]]
    for last, number, start in ((12, 0, 4), (14, 2, 12)):
        said = forks.start(folder, *opt, f"train:total_iter={last}", workers(number), hook=plain).ends()
        assert start_at(start) in said
        found.append(re.findall("^step .*", said, re.MULTILINE))
    steps = re.findall("^step .*", expected, re.MULTILINE)
    assert [one for part in found for one in part] == steps and len(steps) == 14
    sizes = {"MDSRArch": {"2 16", "3 24"}, "VDSRArch": {"None 17"}}[network]
    assert {" ".join(one.split()[2:]) for one in steps} == sizes
    ended_as(whole, folder, 14)
    one, other = (checkpoints.load(states(run) / "14.state") for run in (folder, whole))
    assert same(one, other) and one["best"].keys() == {"valid_x2", "valid_x3"}


@pytest.fixture
def broken(tmp_path, monkeypatch, unbroken):
    """A run's states and weights of iterations 2, 4 and 6, and options that go on from them."""
    monkeypatch.chdir(tmp_path)
    for iteration in (2, 4, 6):
        for name in (f"models/net_g_{iteration}.pth", f"training_states/{iteration}.state"):
            file = Path("experiments/tiny", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes((unbroken / file).read_bytes())
    return {
        "name": "tiny", "auto_resume": True, "dist": False, "network_g": {},
        "path": {"models": str(models(tmp_path)), "pretrain_network_g": None, "resume_state": None},
    }  # fmt: skip


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
        assert Run().load_resume_state(broken)["iter"] == following
        assert broken["path"]["pretrain_network_g"].endswith(f"net_g_{following}.pth")
        assert broken["path"]["resume_state"] == f"experiments/tiny/training_states/{following}.state"
        said = capsys.readouterr().err
        if damage != "missing" or "state" not in name:
            assert f"training_states/{newest}.state cannot be resumed from: " in said and file.name in said
            assert f"Resuming from experiments/tiny/training_states/{following}.state, the newest" in said


def test_a_state_that_is_named_is_the_only_one(broken):
    broken |= {"auto_resume": False}
    broken["path"]["resume_state"] = "experiments/tiny/training_states/4.state"
    assert Run().load_resume_state(broken)["iter"] == 4
    Path("experiments/tiny/training_states/4.state").write_bytes(b"")
    with pytest.raises(SystemExit, match="There is no undamaged state to resume from"):
        Run().load_resume_state(broken)


def test_processes_that_see_different_folders_do_not_begin(broken, monkeypatch):
    """The other one sees no states."""

    def gather(found, own):
        found[:] = [own, None]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    with pytest.raises(SystemExit, match=r"different iterations, \[6, None\]"):
        Run().load_resume_state(broken | {"dist": True, "world_size": 2})


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_damaged_states_and_the_launcher(forks, unbroken, tmp_path):
    folder = training(tmp_path)
    opt = ("-opt", "tiny.yml", "--auto_resume", "--force_yml")
    forks.start(folder, *opt, "train:total_iter=6", hook=NETWORK).ends()
    (states(folder) / "6.state").write_bytes(b"")
    said = forks.start(folder, *opt, f"train:total_iter={TOTAL}", hook=NETWORK).ends()
    assert "6.state cannot be resumed from" in said and start_at(3) in said
    ended_as(unbroken, folder)

    for file in states(folder).iterdir():
        file.write_bytes(file.read_bytes()[:1000])
    before = tree(folder / "experiments")
    said = forks.start(folder, *opt, f"train:total_iter={TOTAL}", hook=NETWORK).ends(1)
    assert (
        "There is no undamaged state to resume from" in said and "Nothing was moved" in said and "Traceback" not in said
    )
    assert tree(folder / "experiments") == before


def test_rates_that_are_edited_before_a_resume_take_effect(forks, tmp_path):
    folder = training(tmp_path)
    opt = ("-opt", "tiny.yml", "--auto_resume", "--force_yml")
    first = forks.start(folder, *opt, "train:total_iter=12", hook=NETWORK).ends()
    assert rates(first) == {at: 1e-4 if at <= 10 else 5e-5 for at in range(1, 13)}
    text = (folder / "tiny.yml").read_text()
    assert text.count("- 10\n") == 1 and text.count("- 25\n") == 1 and text.count("lr: 0.0001") == 1
    text = text.replace("- 10\n", "- 8\n").replace("- 25\n", "- 15\n").replace("lr: 0.0001", "lr: 0.0004")
    (folder / "tiny.yml").write_text(text)
    second = forks.start(folder, *opt, "train:total_iter=18", hook=NETWORK).ends()
    assert rates(second) == {at: 2e-4 if at <= 15 else 1e-4 for at in range(13, 19)}
    assert "The learning rates in the option file differ" in second


# BasicSR asks for a GPU when it resumes.
NO_GPU = """
import torch
torch.cuda.current_device = lambda: 0
torch.UntypedStorage.cuda = lambda self, *_, **__: self
"""


def test_basicsrs_own_train_py(forks, tmp_path):
    folder = training(tmp_path)
    link_basicsr(folder)
    own = {"hook": NETWORK + NO_GPU, "program": "basicsr/train.py"}
    opt = ("-opt", "tiny.yml", "--auto_resume", "--force_yml")
    said = forks.start(folder, *opt, "train:total_iter=12", **own).ends()
    assert "Model [AcceleratedSRModel] is created." in said and "Stopped by signal" not in said
    assert sorted(file.name for file in states(folder).iterdir()) == ["12.state", "3.state", "6.state", "9.state"]

    said = forks.start(folder, *opt, "train:total_iter=30", **own).ends()
    assert "Resuming training from epoch: 1, iter: 12." in said
    assert rates(said) == {at: 5e-5 if at <= 25 else 2.5e-5 for at in range(13, 31)}
    state = torch.load(states(folder) / "30.state", weights_only=True)
    assert state["iter"] == 30
    assert {int(one["step"]) for one in state["optimizers"][0]["state"].values()} == {30}
    before, after = (checkpoints.load(models(folder) / f"net_g_{at}.pth") for at in (12, 30))
    assert not same(before, after)

    # And a state of either program goes on in the other.
    assert state["epoch"] == 3, "BasicSR begins an epoch anew when it resumes"
    said = forks.start(folder, *opt, "train:total_iter=33", hook=NETWORK).ends()
    assert start_at(30) in said
    said = forks.start(folder, *opt, "train:total_iter=36", **own).ends()
    assert "iter: 33." in said and (models(folder) / "net_g_36.pth").is_file()
