"""Tiny data, option files shrunk to it, and programs run as a user runs them."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import types
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from tests.archs.small import SMALL as SMALL_NETWORKS

ROOT = Path(__file__).parent.parent
INSTALLED = Path(str(metadata.distribution("basicsr").locate_file("basicsr"))).resolve()
"""The installed BasicSR; `basicsr.__file__` may be its path through the link at the root."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a program in the test's folder: `run("-m", "basicsr.train", ...)`; by default with this Python."""

    def call(
        *arguments: str | os.PathLike[str],
        python: str | os.PathLike[str] = sys.executable,
        cwd: Path = tmp_path,
        env: Mapping[str, str | None] | None = None,
        code: int | None = 0,
    ) -> subprocess.CompletedProcess[str]:
        # One thread: the tests run side by side, and tiny networks gain nothing from more.
        changed = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **(env or {})}
        environment = {name: value for name, value in changed.items() if value is not None}
        done = subprocess.run(
            [python, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=400, check=False
        )
        if code is not None:
            assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return call


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts to write a file, in seconds, recorded instead of made."""
    from rcan_plugin.training import checkpoints

    recorded: list[float] = []
    monkeypatch.setattr(checkpoints, "time", types.SimpleNamespace(sleep=recorded.append))
    return recorded


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with three HR images of 40x40 and more in `HR`."""
    for i, size in enumerate([(40, 48), (56, 40), (41, 43)]):
        image = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        (tmp_path / "HR").mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / "HR" / f"{i}.png"), cv2.GaussianBlur(image, (5, 5), 1.5))
    return tmp_path


def read_options(name: str) -> dict[str, Any]:
    """An option file of the project by its name, read safely."""
    return yaml.safe_load((ROOT / "options" / f"{name}.yml").read_text())


SMALL: dict[str, dict[str, Any]] = {
    **SMALL_NETWORKS,
    "EDSR": {"num_feat": 8, "num_block": 1},
    "MSRResNet": {"num_feat": 8, "num_block": 1},
}
"""What makes each network small."""


def shrink(options: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """The overlay that lets any option file of ours run for two iterations on the data of `tiny` in seconds."""
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
        opt["val"]["val_freq"] = 2
        opt["logger"] |= {"print_freq": 1, "save_checkpoint_freq": 2}
    return opt


def write_options(path: Path, options: Mapping[str, Any]) -> Path:
    """Write an option file, and say where it is."""
    path.write_text(yaml.safe_dump(dict(options), sort_keys=False))
    return path


def link_basicsr(folder: Path) -> None:
    """The link that set-up makes in the project's root."""
    (folder / "basicsr").symlink_to(INSTALLED, target_is_directory=True)
