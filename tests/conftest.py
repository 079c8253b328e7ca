"""Shared by tests of several rooms: tiny data, option files shrunk to it, ways to run BasicSR and other programs."""

from __future__ import annotations

import os

# One thread, set before torch and numpy are imported: tiny networks gain nothing from more, and tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy
import gc
import importlib
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
import yaml

from tests.archs.small import SMALL as SMALL_NETWORKS
from tests.forks import Forks, usual_environment

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).parent.parent
INSTALLED = Path(str(metadata.distribution("basicsr").locate_file("basicsr"))).resolve()
"""The installed BasicSR; `basicsr.__file__` may be its path through the link at the root."""

Run = Callable[..., subprocess.CompletedProcess[str]]


class Ran(NamedTuple):
    """The model that a pipeline of BasicSR built, and the weights of `net_g` before the first iteration."""

    model: Any
    initial: dict[str, Tensor]


Pipeline = Callable[..., Ran]


gc.disable()  # while modules are imported, where it takes a quarter of the time and finds nothing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of whole programs, the slowest: at the end no core waits for the other."""
    items.sort(key=lambda item: item.path.parent != ROOT / "tests")


def pytest_collection_finish() -> None:
    """Collect garbage again, but not among what the modules hold."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Seed torch and NumPy, so that a test has the same inputs whichever tests ran before it in its process."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (BasicSR draws from it)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """The servers that start programs fast."""
    servers = Forks()
    yield servers
    servers.end()


@pytest.fixture(scope="session")
def unbroken(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to, with the weights and the state of every iteration."""
    from rcan_plugin.training import checkpoints
    from tests.comparison import same
    from tests.runs import NETWORK, models, training

    folder = training(tmp_path_factory.mktemp("unbroken"), save=1)
    forks.start(folder, "-opt", "tiny.yml", hook=NETWORK).ends()
    weights = checkpoints.load(models(folder) / "net_g_latest.pth")
    assert weights.keys() == {"params", "params_ema", "network_g"} and not same(
        weights["params"], weights["params_ema"]
    )
    return folder


@pytest.fixture
def run(tmp_path: Path, forks: Forks) -> Run:
    """Run a program in the test's folder: `run("-m", "basicsr.train", ...)`; by default with this Python.

    It is a fork of a process that has imported torch and more (`forks.py`), or with `fresh=True` a new Python.
    """

    def call(
        *arguments: str | os.PathLike[str],
        python: str | os.PathLike[str] = sys.executable,
        cwd: Path = tmp_path,
        env: Mapping[str, str | None] | None = None,
        code: int | None = 0,
        fresh: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        popen = subprocess.Popen if fresh or python != sys.executable else forks.programs.popen()
        pipe, command = subprocess.PIPE, [python, *arguments]
        with popen(command, cwd=cwd, env=usual_environment(env), stdout=pipe, stderr=pipe, text=True) as process:
            try:
                out, err = process.communicate(timeout=400)
            finally:
                process.kill()
        if code is not None:
            assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    return call


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts to write a file, in seconds, recorded instead of made."""
    from rcan_plugin.training import checkpoints

    recorded: list[float] = []
    monkeypatch.setattr(checkpoints, "time", types.SimpleNamespace(sleep=recorded.append))
    return recorded


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pipeline:
    """Run BasicSR's pipeline in this process, in the test's folder: `pipeline("train", options, "--auto_resume")`."""

    def call(phase: str, options: Mapping[str, Any], *arguments: str) -> Ran:
        module = importlib.import_module(f"basicsr.{phase}")
        build_model = importlib.import_module("basicsr.models").build_model
        ran: list[Ran] = []

        def build(opt: Mapping[str, Any]) -> Any:
            model = build_model(opt)
            ran.append(Ran(model, {key: tensor.clone() for key, tensor in model.net_g.state_dict().items()}))
            return model

        monkeypatch.setattr(module, "build_model", build)
        monkeypatch.chdir(tmp_path)
        path = write_options(tmp_path / "tiny.yml", options)
        monkeypatch.setattr(sys, "argv", ["program", "-opt", str(path), *arguments])
        getattr(module, f"{phase}_pipeline")(str(tmp_path))
        return ran[0]

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with three HR images of 40x40 and more in `HR`."""
    for i, size in enumerate([(40, 48), (56, 40), (41, 43)]):
        image = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        (tmp_path / "HR").mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / "HR" / f"{i}.png"), cv2.GaussianBlur(image, (5, 5), 1.5))
    return tmp_path


def read_options(name: str) -> dict[str, Any]:
    """The options in `options/NAME.yml`."""
    return yaml.safe_load((ROOT / "options" / f"{name}.yml").read_text())


SMALL: dict[str, dict[str, Any]] = {
    **SMALL_NETWORKS,
    "RCANArch": {**SMALL_NETWORKS["RCANArch"], "num_feat": 16},  # the least that `kernels: triton` takes
    "EDSR": {"num_feat": 8, "num_block": 1},
    "MSRResNet": {"num_feat": 8, "num_block": 1},
}
"""Arguments that make each network small."""


def shrink(options: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """Change any option file of ours to two iterations of a small network on the data of `tiny`."""
    opt = copy.deepcopy(dict(options))
    opt["network_g"] |= SMALL[opt["network_g"]["type"]]
    for dataset in opt["datasets"].values():
        dataset["dataroot_gt"] = str(data / "HR")
        dataset.pop("dataroot_lq", None)
    if train := opt["datasets"].get("train"):
        size = {"lq_size": 8} if "lq_size" in train else {"gt_size": min(8 * opt.get("scale", 2), 32)}
        train |= {**size, "batch_size_per_gpu": 2, "num_worker_per_gpu": 0}
        train["dataset_enlarge_ratio"] = 4
        opt["train"]["total_iter"] = 2
        scheduler = opt["train"]["scheduler"]
        short = {"milestones": [2], "periods": [2], "restart_weights": [1], "total": 2, "warmup": 0}
        scheduler |= {key: value for key, value in short.items() if key in scheduler}
        opt["val"]["val_freq"] = 2
        opt["logger"] |= {"print_freq": 1, "save_checkpoint_freq": 2}
    return opt


def write_options(path: Path, options: Mapping[str, Any]) -> Path:
    """Write an option file. Returns its path."""
    path.write_text(yaml.safe_dump(dict(options), sort_keys=False))
    return path


def link_basicsr(folder: Path) -> None:
    """Make the link `basicsr` that set-up makes in the project's root."""
    (folder / "basicsr").symlink_to(INSTALLED, target_is_directory=True)
