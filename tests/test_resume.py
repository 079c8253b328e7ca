"""Runs that are killed, stopped or damaged go on, and end with the weights of the run that nothing happened to."""

import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from rcan_plugin.cli.train import Run
from rcan_plugin.training import checkpoints
from tests.conftest import link_basicsr, read_options, shrink, write_options
from tests.data.tiny import picture, write
from tests.forks import Forks

TOTAL = 40  # iterations; six make an epoch

# RCAN that draws from torch's generator as it trains, as networks with dropout or stochastic depth do.
NETWORK = """
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from rcan_plugin.archs.rcan_arch import RCANArch

@ARCH_REGISTRY.register()
class Dropping(RCANArch):
    def forward(self, x):
        return super().forward(torch.nn.functional.dropout(x, 0.1, self.training))
"""
KILL = "import os, signal\nkill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.fixture(scope="module")
def forks():
    server = Forks()
    yield server
    server.end()


def training(
    folder: Path, network: str = "Dropping", workers: int = 0, save: int = 3, keep: int = 99, times: int = 4, **train
) -> Path:
    """A folder with images and `tiny.yml`; each image comes `times` times in an epoch."""
    for i, size in enumerate([(40, 48), (56, 40), (41, 43)]):
        write(folder / "HR" / f"{i}.png", picture(*size, seed=i))
    opt = shrink(read_options("train_RCAN_x2"), folder)
    opt |= {"name": "tiny", "model_type": "AcceleratedSRModel"}
    opt["network_g"]["type"] = network
    opt["datasets"]["train"] |= {"num_worker_per_gpu": workers, "dataset_enlarge_ratio": times}
    opt["train"] |= {"total_iter": TOTAL, "ema_decay": 0.9, "guard": {"factor": 100, "stop_after": 100}, **train}
    opt["train"]["scheduler"]["milestones"] = [10, 25]
    opt["val"]["val_freq"] = 10
    opt["logger"] |= {"save_checkpoint_freq": save, "keep_last": keep, "use_tb_logger": False}
    write_options(folder / "tiny.yml", opt)
    return folder


SEVERAL = {
    "MDSRArch": ({"num_block": 1, "scales": [2, 3]}, {"lq_size": 8}, {}),
    "VDSRArch": ({"num_in_ch": 3, "num_layers": 3}, {"gt_size": 17, "pre_upsample": True}, {"pre_upsample": True}),
}
"""Networks of several scales: of each its settings, those of the data it learns from, and of what is validated."""


def several_scales(folder: Path, network: str, **settings) -> Path:
    """`training` of one network for x2 and x3, with a set for each to validate."""
    training(folder, network=network, **settings)
    opt = yaml.safe_load((folder / "tiny.yml").read_text())
    del opt["scale"], opt["datasets"]["train"]["gt_size"]
    own, learned, validated = SEVERAL[network]
    opt |= {"find_unused_parameters": network == "MDSRArch", "network_g": {"type": network, "num_feat": 4, **own}}
    opt["datasets"]["train"] |= {"scales": [2, 3], **learned}
    val = opt["datasets"].pop("val")
    opt["datasets"] |= {f"val_{x}": {**val, "name": f"valid_x{x}", "scale": x, **validated} for x in (2, 3)}
    for metric in opt["val"]["metrics"].values():
        metric["crop_border"] = "scale"
    write_options(folder / "tiny.yml", opt)
    return folder


def models(folder: Path) -> Path:
    return folder / "experiments/tiny/models"


def states(folder: Path) -> Path:
    return folder / "experiments/tiny/training_states"


def same(one, other) -> bool:
    """Bit for bit, however nested."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.fixture(scope="module")
def unbroken(forks, tmp_path_factory) -> Path:
    """The folder of a run that nothing happened to, with the weights and the state of every iteration."""
    folder = training(tmp_path_factory.mktemp("unbroken"), save=1)
    forks.start(folder, "-opt", "tiny.yml", hook=NETWORK).ends()
    weights = checkpoints.load(models(folder) / "net_g_latest.pth")
    assert weights.keys() == {"params", "params_ema"} and not same(weights["params"], weights["params_ema"])
    return folder


def start_at(iteration: int, per_epoch: int = 6) -> str:
    """What BasicSR says."""
    return f"Start training from epoch: {iteration // per_epoch}, iter: {iteration}\n"


def ended_as(unbroken: Path, folder: Path, iteration: int = TOTAL) -> None:
    """The run in `folder` ended as the unbroken one was at `iteration`."""
    weights = checkpoints.load(models(folder) / "net_g_latest.pth")
    assert same(weights, checkpoints.load(models(unbroken) / f"net_g_{iteration}.pth"))


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
        assert "cannot be gone on from" not in run.text
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
    assert start_at(found) in said and "cannot be gone on from" not in said
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
            assert f"training_states/{newest}.state cannot be gone on from: " in said and file.name in said
            assert f"Going on from experiments/tiny/training_states/{following}.state, the newest" in said


def test_a_state_that_is_named_is_the_only_one(broken):
    broken |= {"auto_resume": False}
    broken["path"]["resume_state"] = "experiments/tiny/training_states/4.state"
    assert Run().load_resume_state(broken)["iter"] == 4
    Path("experiments/tiny/training_states/4.state").write_bytes(b"")
    with pytest.raises(SystemExit, match="There is no whole state to go on from"):
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
    assert "6.state cannot be gone on from" in said and start_at(3) in said
    ended_as(unbroken, folder)

    for file in states(folder).iterdir():
        file.write_bytes(file.read_bytes()[:1000])
    before = tree(folder / "experiments")
    said = forks.start(folder, *opt, f"train:total_iter={TOTAL}", hook=NETWORK).ends(1)
    assert "There is no whole state to go on from" in said and "Nothing was moved" in said and "Traceback" not in said
    assert tree(folder / "experiments") == before


def stopped(said: str, number: int) -> int:
    """The iteration at which a run said that it stopped."""
    found = re.search(rf"Asked to stop \(signal {number}\): saved at iteration (\d+)\. --auto_resume goes on\.", said)
    assert found and "Traceback" not in said, said
    return int(found[1])


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 2), (signal.SIGINT, 1)])
def test_a_signal_to_the_whole_group(number, workers, forks, tmp_path):
    """As a terminal and torchrun send it: to the workers as well, of a program on its own."""
    settings = {"network": "RCANArch", "times": 4000}  # so that the workers live as long as the run
    folder = training(tmp_path, workers=workers, save=1000, total_iter=100_000, **settings)
    run = forks.process(folder, sys.executable, "-m", "rcan_plugin.train", "-opt", "tiny.yml")
    run.until(f"iter:{3:8,d},")
    run.kill(number)
    said = run.ends(128 + number)
    at = stopped(said, number)
    assert at >= 3 and said.count("Stopping after the step at hand") == 1
    with pytest.raises(ProcessLookupError):  # nobody is left
        os.killpg(run.pid, 0)

    last = f"train:total_iter={at + 8}"
    said = forks.start(folder, "-opt", "tiny.yml", "--auto_resume", "--force_yml", last).ends()
    assert start_at(at, per_epoch=6000) in said
    other = training(tmp_path / "unbroken", save=at + 8, **settings)
    forks.start(other, "-opt", "tiny.yml", "--force_yml", last).ends()
    ended_as(other, folder, at + 8)


# What a worker does as it starts, in the run's folder.
STOP = "os.path.exists('second') and os.killpg(0, signal.SIGTERM)"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_signal_while_a_worker_starts(method, forks, tmp_path):
    """To the whole group: under spawn as Python starts, under fork when torch has put its own handlers in place."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, signal, sys\nif '--multiprocessing-fork' in sys.orig_argv: {STOP}\n"
    )
    hook = (
        "import os, signal, torch, rcan_plugin.cli.train as train; look = train.Run._agreed_signal\n"
        f"torch.multiprocessing.set_start_method({method!r})\n"
        f"torch.set_num_threads = lambda number: {STOP}\n"
        "def second(self, at):\n"
        "    if at == 6: open('second', 'w').close()\n"
        "    return look(self, at)\n"
        "train.Run._agreed_signal = second\n"
    )
    folder = training(tmp_path, network="RCANArch", workers=1, save=1000)
    said = forks.start(folder, "-opt", "tiny.yml", hook=hook, env={"PYTHONPATH": str(tmp_path)}).ends(143)
    assert stopped(said, signal.SIGTERM) == 7 and "DataLoader worker" not in said


@pytest.mark.parametrize("iteration", [5, 6])  # six is an epoch's end
def test_a_signal_that_comes_twice_at_once(iteration, forks, unbroken, tmp_path):
    """torchrun passes on what its processes got already."""
    hook = (
        "import os, rcan_plugin.cli.train as train, signal; save = train.Run._agreed_signal\n"
        "def signalled(self, at):\n"
        f"    if at == {iteration}: os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return save(self, at)\n"
        "train.Run._agreed_signal = signalled"
    )
    folder = training(tmp_path, save=1000)
    said = forks.start(folder, "-opt", "tiny.yml", hook=NETWORK + hook).ends(143)
    assert stopped(said, signal.SIGTERM) == iteration
    forks.start(folder, "-opt", "tiny.yml", "--auto_resume", hook=NETWORK).ends()
    ended_as(unbroken, folder)


SLOW = """
import time
from rcan_plugin.cli import train
from rcan_plugin.models.accelerated_model import AcceleratedSRModel
train.SAME = 0.2
def slow(self, at):
    print("a slow step", flush=True)
    for _ in range(500):  # a signal that comes as one long sleep goes on would be seen at its end alone
        time.sleep(0.1)
AcceleratedSRModel.optimize_parameters = slow
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(number, forks, tmp_path):
    run = forks.start(training(tmp_path, workers=1), "-opt", "tiny.yml", hook=NETWORK + SLOW)
    run.until("a slow step")
    os.kill(run.pid, number)
    run.until("Stopping after the step at hand; a second signal stops at once.")
    time.sleep(0.3)
    os.kill(run.pid, number)
    began = time.monotonic()
    assert "Traceback" not in run.ends(-number)
    assert time.monotonic() - began < 5 and not list(states(tmp_path).iterdir())


def test_a_signal_before_training_stops_at_once(forks, tmp_path):
    hook = (
        "import basicsr.train, time\nbasicsr.train.get_env_info = lambda: print('early', flush=True) or time.sleep(50)"
    )
    run = forks.start(training(tmp_path), "-opt", "tiny.yml", hook=NETWORK + hook)
    run.until("early")
    os.kill(run.pid, signal.SIGTERM)
    assert "Traceback" not in run.ends(-signal.SIGTERM)


def test_an_error_ends_a_run_with_workers(forks, tmp_path):
    """Workers leave SIGTERM to the main process, and Python ends its children by it."""
    hook = "from rcan_plugin.training.guard import Guard\nGuard.rejects = lambda *_: 1 / 0"
    said = forks.start(training(tmp_path, workers=2), "-opt", "tiny.yml", hook=NETWORK + hook).ends(1)
    assert "ZeroDivisionError" in said and "DataLoader worker" not in said


def rates(said: str) -> dict[int, float]:
    return {int(at): float(rate) for at, rate in re.findall(r"iter: *(\d+), lr:\(([\d.e+-]+),\)", said)}


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
    assert "The option file has other rates than the state had" in second


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
    assert "Model [AcceleratedSRModel] is created." in said and "Asked to stop" not in said
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
