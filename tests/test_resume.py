"""Runs that are killed, stopped or damaged resume, and end with the weights of the run that nothing happened to."""

import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

from rcan_plugin.training import checkpoints
from tests.comparison import same
from tests.conftest import link_basicsr, write_options
from tests.data.tiny import picture, write
from tests.disks import names
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
    assert [key for key in one if not same(one[key], other[key])] == []
    assert same(*(checkpoints.load(models(run) / "net_g_best.pth") for run in (folder, unbroken)))


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
            9,  # with a guard two are kept
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
    assert "can be resumed from: name another" in said and ", moved or written" in said and "Traceback" not in said
    assert tree(folder / "experiments") == before


def test_what_the_guard_says_at_its_end_works(forks, tmp_path):
    """A destroying rate after 20 good steps: the state that the message names trains on at the old rate."""
    guard = {"guard": {"factor": 10, "stop_after": 6}, "ema_decay": 0}
    start = training(tmp_path / "start", network="RCANArch", save=1, keep=2, **guard)
    opt = ("-opt", "tiny.yml", "--auto_resume", "--force_yml")
    forks.start(start, *opt, "train:total_iter=20").ends()
    for rate in (1, 10):
        folder = shutil.copytree(start, tmp_path / str(rate))
        (folder / "tiny.yml").write_text((start / "tiny.yml").read_text().replace(str(start), str(folder)))
        said = forks.start(folder, *opt, f"train:optim_g:lr={rate}").ends(1)
        assert "6 steps in a row were skipped" in said and "Traceback" not in said
        assert "is not saved: the last 5 steps were skipped" in said
        good = re.search(r"The last good state is (\S*/(\d+)\.state): resume from it with --auto_resume\.", said)
        assert good and 20 <= int(good[2]) < 30 and Path(good[1]) == checkpoints.states(states(folder))[0]
        said = forks.start(folder, *opt, "train:optim_g:lr=0.0001").ends()
        assert start_at(int(good[2])) in said and "steps in a row" not in said
        assert checkpoints.load(states(folder) / f"{TOTAL}.state")["guard"]["skipped"] <= 1
        assert set(names(states(folder))) == {"39.state", "40.state", f"{int(good[2]) + 1}.state.rejected"}


MISSED = {
    "killed when the state appears": (
        "save = M.save_training_state\n"
        "def then_kill(self, epoch, at):\n"
        "    save(self, epoch, at)\n"
        "    if at == 10: kill()\n"
        "M.save_training_state = then_kill",
        -signal.SIGKILL,
    ),
    "killed when the best weights are written": (
        "report = M._report\n"
        "M._report = lambda self, name, of, at, log: (report(self, name, of, at, log), at == 10 and kill())",
        -signal.SIGKILL,
    ),
    "stopped in the step": (
        "step = M.optimize_parameters\n"
        "M.optimize_parameters = lambda self, at: (step(self, at), at == 10 and os.kill(os.getpid(), signal.SIGTERM))",
        128 + signal.SIGTERM,
    ),
}


@pytest.mark.parametrize("moment", MISSED)
def test_a_validation_that_was_missed_is_made_up_for(moment, forks, unbroken, tmp_path):
    hook, code = MISSED[moment]
    hook = NETWORK + KILL + "from rcan_plugin.models.accelerated_model import AcceleratedSRModel as M\n" + hook
    folder = training(tmp_path, save=5)
    opt = ("-opt", "tiny.yml", "--auto_resume", "--force_yml", "train:total_iter=12")
    forks.start(folder, *opt, hook=hook).ends(code)
    assert checkpoints.load(states(folder) / "10.state")["validated"] == []
    said = forks.start(folder, *opt, hook=NETWORK).ends()
    assert start_at(10) in said and "The validation at iteration 10 is not in the training state" in said
    one, other = (checkpoints.load(states(run) / "10.state") for run in (folder, unbroken))
    best = one["best"]["DIV2K_valid"]["psnr"]
    assert same(one, other) and one["validated"] == ["DIV2K_valid"] and best["iter"] == 10
    bests = re.findall(r"# psnr: .*Best: (.*) iter", said)
    assert bests[0] == f"{best['val']:.4f} @ 10" and len(bests) == 2  # the other: at the end


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


def test_a_run_reaches_its_last_iteration(forks, tmp_path):
    """Three images in batches of two: an epoch is one step, which BasicSR counts as two. Then images are added."""
    folder = training(tmp_path, network="RCANArch", times=1, save=4)
    link_basicsr(folder)
    opt = ("-opt", "tiny.yml", "--auto_resume", "--force_yml")
    said = forks.start(folder, *opt, "train:total_iter=12", program="basicsr/train.py").ends(1)
    assert "would end at iteration 7 of 12" in said and "Traceback" not in said
    assert "set dataset_enlarge_ratio to 2, or use `rcan train`" in said
    assert not (folder / "experiments").exists()
    said = forks.start(folder, *opt, "train:total_iter=12").ends()
    assert "training for 12 epochs, not 6" in said and list(rates(said)) == list(range(1, 13))
    for i in range(3, 9):
        write(folder / "HR" / f"{i}.png", picture(40, 48, seed=i))
    said = forks.start(folder, *opt, "train:total_iter=24", program="basicsr/train.py").ends(1)
    assert "9 images" in said and "resumed at iteration 12 in epoch 11, would end at iteration 12 of 24" in said

    said = forks.start(folder, *opt, "train:total_iter=24").ends()
    assert start_at(12, per_epoch=4) in said and list(rates(said)) == list(range(13, 25))
    assert (states(folder) / "24.state").is_file()


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
