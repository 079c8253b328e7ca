"""Training in several processes on the CPU: by torchrun, on one node and on two."""

import os
import re
import signal
import socket
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.metrics import calculate_psnr
from basicsr.utils import tensor2img

from rcan_plugin.archs.drrn_arch import DRRNArch
from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.training import checkpoints
from tests.comparison import same
from tests.conftest import INSTALLED, ROOT, write_options
from tests.data.tiny import picture, write
from tests.forks import Forks, Run
from tests.runs import (
    NETWORK,
    TOTAL,
    ended_as,
    models,
    several_scales,
    start_at,
    states,
    stopped,
    tell,
    training,
)

# In front of a hook that changes the model.
MODEL = "import os, torch; from rcan_plugin.models.accelerated_model import AcceleratedSRModel as Model\n"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def change(folder: Path, **sections) -> Path:
    """Put values into the sections of `tiny.yml`, by the path of each: `train__optim_g={...}`."""
    opt = yaml.safe_load((folder / "tiny.yml").read_text())
    for path, value in sections.items():
        *way, last = path.split("__")
        section = opt
        for key in way:
            section = section[key]
        section[last] = value
    write_options(folder / "tiny.yml", opt)
    return folder


def pair(forks: Forks, folder: Path, *arguments: str, hook: str = "", other: Path | None = None) -> list[Run]:
    """Two processes that know of each other, as torchrun starts them; the second in another folder if so said."""
    env = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    opt = ("-opt", "tiny.yml", "--launcher", "pytorch", *arguments)
    return [
        forks.start(place, *opt, hook=hook, env={**env, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank, place in enumerate((folder, other or folder))
    ]


@pytest.fixture(scope="module")
def unbroken_pair(forks, tmp_path_factory) -> Path:
    """Two processes that nothing happened to, with the weights of every iteration."""
    folder = training(tmp_path_factory.mktemp("unbroken"), network="RCANArch", save=1)
    for run in pair(forks, folder):
        run.ends()
    return folder


@pytest.mark.parametrize("freeze", [None, {"parts": ["body"], "until": 1}], ids=["all", "frozen"])
def test_two_ranks_have_the_gradients_of_one_with_twice_the_batch(freeze, forks, tmp_path):
    hook = MODEL + (
        "step = Model.optimize_parameters\n"
        "def dump(self, at):\n"
        "    step(self, at)\n"
        "    net = self.get_bare_model(self.net_g)\n"
        "    found = {name: one.grad for name, one in net.named_parameters()} | {'lq': self.lq, 'gt': self.gt}\n"
        "    torch.save(found, f\"gradients{os.environ.get('RANK', '')}.pt\")\n"
        "Model.optimize_parameters = dump"
    )
    folder = training(tmp_path, network="RCANArch", total_iter=2, optim_g={"type": "SGD", "lr": 1e-3}, freeze=freeze)
    batch = "datasets__train__batch_size_per_gpu"
    change(folder, datasets__train__dataset_enlarge_ratio=12, **{batch: 16})
    forks.start(folder, "-opt", "tiny.yml", hook=hook).ends()
    for run in pair(forks, change(folder, **{batch: 8}), hook=hook):
        run.ends()
    alone, *ranks = (torch.load(folder / f"gradients{name}.pt") for name in ("", "0", "1"))
    for name in ("lq", "gt"):
        inputs, shares = alone.pop(name), [rank.pop(name) for rank in ranks]
        assert same(inputs, torch.stack(shares, 1).flatten(0, 1)), "they take turns"
    assert same(*ranks)
    largest = max(float(gradient.abs().max()) for gradient in alone.values())
    assert largest > 1e-3 and all(bool(gradient.any()) for gradient in alone.values())
    assert max(float((alone[name] - ranks[0][name]).abs().max()) for name in alone) <= 1e-5 * largest


@pytest.mark.parametrize("images", [3, 1])
def test_ranks_share_validation_and_its_figures_are_those_of_one(images, forks, tmp_path):
    hook = MODEL + (
        "import rcan_plugin.models.validation as module; rank = os.environ.get('RANK', 'alone')\n"
        "write, report = module._write, Model._report\n"
        "def note(image, path): print('saved', path); write(image, path)\n"
        "def tell(self, *rest): report(self, *rest); print('exactly', self.metric_results)\n"
        "module._write, Model._report = note, tell"
    )
    # One step that changes no weight: what counts is the validation after it.
    folder = training(tmp_path, network="RCANArch", total_iter=1, optim_g={"type": "SGD", "lr": 1e-30})
    for i in range(images):
        write(folder / "val" / f"{i}.png", picture(24 + 8 * i, 32, seed=9 + i))
    change(folder, val__save_img=True, datasets__val__dataroot_gt=str(folder / "val"))
    alone = forks.start(folder, "-opt", "tiny.yml", hook=hook).ends()
    said = [run.ends() for run in pair(forks, folder, hook=hook)]

    figures = [re.findall(r"# (psnr|ssim): ([\d.]+)", text) for text in (alone, *said)]
    assert [name for name, _ in figures[0]] == ["psnr", "ssim"]
    assert figures[1] == figures[0] and figures[2] == [], "said once"
    exactly = [re.findall("exactly (.*)", text) for text in (alone, *said)]
    assert len(exactly[0]) == 1 and exactly[0] == exactly[1] == exactly[2]
    saved = [[Path(path).name for path in re.findall("saved (.*)", text)] for text in said]
    assert saved == [[f"{i}_3.png" for i in range(rank, images, 2)] for rank in range(2)]


@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_running_means_are_validated_as_they_are_saved(ema_decay, forks, tmp_path):
    """Each rank has its own; the figures are those of the first one's, whoever had which image."""
    hook = MODEL + (
        "report, rank = Model._report, os.environ['RANK']\n"
        "def tell(self, *rest): report(self, *rest); print('exactly', self.metric_results)\n"
        "def keep(self, at):\n"
        "    step(self, at)\n"
        "    torch.save(self.get_bare_model(self.net_g).state_dict(), f'rank{rank}_{at}.pt')\n"
        "step, Model.optimize_parameters, Model._report = Model.optimize_parameters, keep, tell"
    )
    folder = training(tmp_path, network="DRRNArch", save=2, total_iter=2, ema_decay=ema_decay)
    settings = {"num_in_ch": 3, "num_feat": 4, "num_unit": 2, "upscale": 2}
    psnr = {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}
    change(folder, network_g={"type": "DRRNArch", **settings}, val__val_freq=2, val__metrics={"psnr": psnr})
    said = [run.ends() for run in pair(forks, folder, hook=hook)]

    first, second = (torch.load(folder / f"rank{rank}_2.pt") for rank in range(2))
    started = torch.load(folder / "rank0_1.pt")
    assert not same(started, first), "the second iteration changed the weights"
    differ = {name for name, value in first.items() if not torch.equal(value, second[name])}
    assert differ == {name for name in first if name.endswith(("running_mean", "running_var"))}
    saved = checkpoints.load(models(folder) / "net_g_2.pth")
    assert same(saved["params"], first)
    net = DRRNArch(**settings).eval()
    net.load_state_dict(saved["params_ema" if ema_decay else "params"])
    opt = yaml.safe_load((folder / "tiny.yml").read_text())["datasets"]["val"]
    images = DegradationPairedDataset({**opt, "phase": "val", "scale": 2})
    assert len(images) == 3
    with torch.no_grad():
        values = [
            calculate_psnr(tensor2img(net(item["lq"][None])), tensor2img(item["gt"]), 2, test_y_channel=True)
            for item in images
        ]
    for text in said:
        assert re.findall("exactly (.*)", text) == [str({"psnr": float(sum(values) / 3)})] * 2, (
            "at iteration 2, and at the end"
        )


def test_ranks_train_the_same_scale_of_several(forks, tmp_path):
    hook = MODEL + (
        "step, rank = Model.optimize_parameters, os.environ['RANK']\n"
        "def keep(self, at):\n"
        "    step(self, at)\n"
        "    print('step', at, self.scale, tuple(self.gt.shape))\n"
        "    weights = {**self.get_bare_model(self.net_g).state_dict()}\n"
        "    torch.save((weights, self.lq), f'rank{rank}_{at}.pt')\n"
        "Model.optimize_parameters = keep"
    )
    folder = several_scales(tmp_path, "MDSRArch", save=4, total_iter=4)
    change(folder, val__val_freq=4)
    said = [run.ends() for run in pair(forks, folder, hook=hook)]
    steps = [re.findall(r"^step (\d+) (\d) \(2, 3, (\d+), ", text, re.MULTILINE) for text in said]
    assert steps[0] == steps[1] and [int(at) for at, _, _ in steps[0]] == [1, 2, 3, 4]
    scales = [int(scale) for _, scale, _ in steps[0]]
    assert set(scales) == {2, 3} and [int(size) for _, _, size in steps[0]] == [8 * scale for scale in scales]
    before = None
    for at, scale in enumerate(scales, start=1):
        (first, lq), (second, other) = (torch.load(folder / f"rank{rank}_{at}.pt") for rank in range(2))
        assert same(first, second) and not torch.equal(lq, other)
        if before is not None:
            kept = {name for name, value in first.items() if torch.equal(value, before[name])}
            assert kept == {name for name in first if f".x{5 - scale}." in name}, "the other scale's branches"
        before = first
    assert same(checkpoints.load(models(folder) / "net_g_4.pth")["params"], before)
    assert [said[0].count(f"Validation valid_x{scale}\n") for scale in (2, 3)] == [2, 2]


@pytest.mark.parametrize("spoilt", ["data['lq'][0, 0, 0, 0] = float('nan')", "data['gt'] += 1e6"])
def test_what_one_rank_must_refuse_the_other_refuses(spoilt, forks, tmp_path):
    """A NaN reaches both by the gradients, a loss out of range does not; it is counted once."""
    hook = MODEL + (
        "feed, save, rank, fed = Model.feed_data, Model.save, os.environ['RANK'], []\n"
        "def spoil(self, data):\n"
        "    fed.append(1)\n"
        f"    if len(fed) == 3 and rank == '1': {spoilt}\n"
        "    feed(self, data)\n"
        "def keep(self, epoch, current_iter):\n"
        "    save(self, epoch, current_iter)\n"
        "    torch.save(self.get_bare_model(self.net_g).state_dict(), f'rank{rank}_{current_iter}.pt')\n"
        "Model.feed_data, Model.save = spoil, keep"
    )
    folder = training(tmp_path, network="RCANArch", save=1, total_iter=6)
    said, _ = [run.ends() for run in pair(forks, folder, hook=hook)]
    first, second = ([torch.load(folder / f"rank{rank}_{at}.pt") for at in range(1, 7)] for rank in range(2))
    assert same(first, second)
    assert [same(one, following) for one, following in pairwise(first)] == [False, True, False, False, False]
    assert all(bool(value.isfinite().all()) for value in first[-1].values())
    assert re.findall(r"skipped: (\S+)", said) == ["0.0000e+00"] * 2 + ["1.0000e+00"] * 4


RECORDER = (
    "from rcan_plugin.training import graphs; from tests.recorders import FakeRecorder\n"
    "graphs.recorder_for = lambda device: FakeRecorder()\n"
)


@pytest.mark.parametrize("hook", ["", RECORDER], ids=["usual steps", "recorded steps"])
@pytest.mark.parametrize("clipping", [None, {"norm": 1e-3}])
def test_gradients_that_the_step_averages_are_those_of_ddp(hook, clipping, forks, tmp_path):
    """`cuda_graph: true` exchanges gradients without DDP; the weights are its, bit for bit. One batch is rejected."""
    spoil = MODEL + (
        "feed, fed = Model.feed_data, []\n"
        "def spoil(self, data):\n"
        "    fed.append(1)\n"
        "    if len(fed) == 5 and os.environ['RANK'] == '1': data['gt'] += 1e6\n"
        "    feed(self, data)\n"
        "Model.feed_data = spoil\n"
    )
    optim = {"type": "Adam", "lr": 2.0**-10, "fused": True}
    for name, graph in (("graph", True), ("ddp", False)):
        folder = training(
            tmp_path / name, network="RCANArch", save=10, total_iter=10, optim_g=optim, cuda_graph=graph, grad_accum=2
        )
        if clipping:
            change(folder, train__grad_clip=clipping)
        said, _ = [run.ends() for run in pair(forks, folder, hook=spoil + hook)]
        assert ("Network: RCANArch" in said) == graph, "not in DDP"
        assert ("is recorded" in said) == (graph and bool(hook))
        assert re.findall(r"skipped: (\S+)", said)[-1] == "1.0000e+00"
    first, second = (checkpoints.load(models(tmp_path / name) / "net_g_10.pth") for name in ("graph", "ddp"))
    assert same(first, second) and first.keys() == {"params", "params_ema", "network_g"}


def test_a_signal_to_one_of_two(forks, tmp_path):
    """Both stop at one iteration; the one that has nothing to save stays until the other has saved."""
    hook = (
        "import os, time; from rcan_plugin.training import checkpoints; save = checkpoints.save\n"
        "checkpoints.save = lambda *what: time.sleep(0.3) or save(*what)"
    )
    folder = training(tmp_path, network="RCANArch", save=1000, total_iter=100_000)
    first, second = pair(forks, folder, hook=hook)
    first.until(f"iter:{5:8,d},")
    os.kill(second.pid, signal.SIGTERM)
    second.ends(143)
    assert len(list(states(folder).glob("*.state"))) == 1
    assert stopped(first.ends(143), signal.SIGTERM) >= 5


def test_processes_that_see_different_folders_do_not_begin(forks, unbroken_pair, tmp_path):
    """As on two nodes without a shared disk: the first has states, the second has none."""
    folder = training(tmp_path / "one", network="RCANArch")
    forks.start(folder, "-opt", "tiny.yml", "--force_yml", "train:total_iter=3").ends()
    other = training(tmp_path / "other", network="RCANArch")
    for run in pair(forks, folder, "--auto_resume", other=other):
        assert "would resume from different iterations, [3, None]" in run.ends(1)
    assert len(list(folder.glob("experiments/*"))) == 1 and not (other / "experiments").exists()


def test_torchrun_on_one_node_and_on_two(forks, tmp_path):
    """The script's job is stopped by SIGTERM; two nodes that find each other take its state up."""
    folder = training(tmp_path, network="RCANArch", workers=1, save=1000, total_iter=100_000)
    script = str(ROOT / "scripts/dist_train.sh")
    env = {"PYTHON": sys.executable, "PYTHONPATH": f"{tell(tmp_path)}:{os.environ.get('PYTHONPATH', '')}"}
    job = forks.process(folder, script, "2", "tiny.yml", "--auto_resume", env=env)
    job.until(f"iter:{12:8,d},")
    assert "World size (gpu number): 2" in job.text and job.text.count("Validation DIV2K_valid") == 1
    os.kill(job.pid, signal.SIGTERM)
    said = job.ends(1)
    found = re.findall(r"Stopped by signal 15: saved at iteration (\d+)", said)
    assert found, said
    at = int(found[0])
    assert [file.name for file in states(folder).iterdir()] == [f"{at}.state"]
    assert "DataLoader worker" not in said
    assert "Network [RCANArch] is created." in said and "Dataset [DegradationPairedDataset] - DIV2K is built." in said
    assert {Path(file).resolve() for file in re.findall("^ran (.*)", said, re.MULTILINE)} == {INSTALLED / "__init__.py"}

    last = ("--force_yml", f"train:total_iter={at + 8}", f"val:val_freq={at + 8}")
    nodes = ("--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "job")
    nodes += ("--rdzv-endpoint", f"127.0.0.1:{free_port()}")
    train = ("-m", "rcan_plugin.train", "-opt", "tiny.yml", "--launcher", "pytorch", "--auto_resume", *last)
    popen = forks.programs.popen(nested=True)
    both = [forks.process(folder, *TORCHRUN, *nodes, *train, popen=popen) for _ in range(2)]
    said = "".join(run.ends() for run in both)
    assert start_at(at, per_epoch=3) in said and "World size (gpu number): 2" in said
    assert said.count("Validation DIV2K_valid") == 2  # at the last iteration, and at the end

    other = training(tmp_path / "unbroken", network="RCANArch", save=at + 8)
    for run in pair(forks, other, *last):
        run.ends()
    ended_as(other, folder, at + 8)


def test_a_rank_that_dies_ends_the_job(forks, unbroken_pair, tmp_path):
    folder = training(tmp_path, network="RCANArch")
    (folder / "job.py").write_text(
        "import os, rcan_plugin.cli.train as train\n"
        "class Dying(train.Run):\n"
        "    def _agreed_signal(self, at):\n"
        "        if at == 8 and os.environ['RANK'] == '1': os.kill(os.getpid(), 9)\n"
        "        return super()._agreed_signal(at)\n"
        "train.Run = Dying\n"
        "train.main()\n"
    )
    opt = ("job.py", "-opt", "tiny.yml", "--launcher", "pytorch")
    popen = forks.programs.popen(nested=True)
    said = forks.process(folder, *TORCHRUN, "--standalone", "--nproc_per_node", "2", *opt, popen=popen).ends(1)
    assert re.search(r"job\.py FAILED", said) and re.search(r"local_rank: 1 .*|rank +: 1 ", said), said
    assert "Signal 9 (SIGKILL) received" in said
    assert sorted(file.name for file in states(folder).iterdir()) == ["3.state", "6.state"]

    for number, run in enumerate(pair(forks, folder, "--auto_resume")):
        said = run.ends()
        assert number or start_at(6, per_epoch=3) in said
    ended_as(unbroken_pair, folder)


def test_two_ranks_restore_their_own_random_numbers(forks, tmp_path):
    for folder in (tmp_path / "whole", tmp_path / "parts"):
        training(folder)
    last = ("--force_yml", f"train:total_iter={TOTAL // 2}")
    for arguments, folder in ((last, "parts"), (("--auto_resume",), "parts"), ((), "whole")):
        for run in pair(forks, tmp_path / folder, *arguments, hook=NETWORK):
            run.ends()
    one, other = (checkpoints.load(models(tmp_path / folder) / "net_g_latest.pth") for folder in ("whole", "parts"))
    assert same(one, other)
