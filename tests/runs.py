"""Small training runs in folders of their own, for tests that kill, stop and resume them."""

import re
from pathlib import Path

import yaml

from rcan_plugin.training import checkpoints
from tests.comparison import same
from tests.conftest import read_options, shrink, write_options
from tests.data.tiny import picture, write

TOTAL = 40  # iterations; six make an epoch


NETWORK = "from tests.hooks import dropping_network; dropping_network.register()\n"
"""Hook for a run: registers the network `Dropping`."""


KILL = "import os, signal\nkill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"


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
    opt["train"]["scheduler"]["milestones"] = [step for step in (10, 25) if step <= opt["train"]["total_iter"]]
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


def start_at(iteration: int, per_epoch: int = 6) -> str:
    """What BasicSR says."""
    return f"Start training from epoch: {iteration // per_epoch}, iter: {iteration}\n"


def ended_as(unbroken: Path, folder: Path, iteration: int = TOTAL) -> None:
    """The run in `folder` ended as the unbroken one was at `iteration`."""
    weights = checkpoints.load(models(folder) / "net_g_latest.pth")
    assert same(weights, checkpoints.load(models(unbroken) / f"net_g_{iteration}.pth"))


def stopped(said: str, number: int) -> int:
    """The iteration at which a run said that it stopped."""
    found = re.search(rf"Stopped by signal {number}: saved at iteration (\d+)\. Resume with --auto_resume\.", said)
    assert found and "Traceback" not in said, said
    return int(found[1])


def rates(said: str) -> dict[int, float]:
    return {int(at): float(rate) for at, rate in re.findall(r"iter: *(\d+), lr:\(([\d.e+-]+),\)", said)}


# At the end of a program, whichever way it was started, say which basicsr ran.
TELL = """
import atexit, sys
atexit.register(lambda: "basicsr" in sys.modules and print("ran", sys.modules["basicsr"].__file__))
"""


def tell(folder: Path) -> Path:
    """A folder that, in PYTHONPATH, makes programs print `ran FILE` at their end."""
    (folder / "tell").mkdir()
    (folder / "tell/sitecustomize.py").write_text(TELL)
    return folder / "tell"
