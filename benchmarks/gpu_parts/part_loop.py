"""The real training loop: BasicSR's `train.py` with option files of the project, on an LMDB made here."""

from __future__ import annotations

import atexit
import datetime
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml

from benchmarks.common import ROOT, run
from benchmarks.gpu_parts.network_options import SMALL
from benchmarks.gpu_parts.results import NotAvailableError, Results, need_gpu
from benchmarks.gpu_parts.training_program import link_basicsr, program

GPU = torch.cuda.is_available()
IMAGES, SIDE = 40, 480
ITERATIONS = {"fast": 200, "stock": 125, "nccl": 100}
PRINT_EVERY = 25
"""BasicSR averages its data time over at most 200 iterations."""

KILLED_AFTER, SAVED_EVERY, RESUMED_FOR = 30, 20, 10
LINE = re.compile(
    r"^(\S+ \S+),(\d+) INFO: .*\[epoch:.*iter:\s*([\d,]+),.*time \(data\): ([\d.]+) \(([\d.]+)\)", re.MULTILINE
)
RESUMED = re.compile(r"Resuming training from epoch: \d+, iter: (\d+)")


def measure(row: str, dry_run: bool, progress: Results) -> dict[str, Any]:
    """Values of one row."""
    key = row.split("/")[1]
    if key == "kill":
        return _killed_and_resumed(dry_run, progress)
    if key == "nccl":
        need_gpu("NCCL")
    if key == "fast" and dry_run:
        raise NotAvailableError("left out of dry runs: the row before starts the same file")
    stock = key == "stock"
    opt = _options("train_RCAN_x4" if stock else "train_RCAN_x4_fast", dry_run)
    iterations, print_every = (4, 2) if dry_run else (ITERATIONS[key], PRINT_EVERY)
    opt["train"]["total_iter"] = iterations
    opt["logger"] |= {"print_freq": print_every, "save_checkpoint_freq": 10**9}
    opt["name"] += f"_{key}"
    launcher = [] if key != "nccl" else [
        "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1"
    ]  # fmt: skip
    with Training(opt, launcher=launcher, resumable=not stock) as training:
        while training.wait_for_iterations(training.iterations + print_every):
            progress.write("partial", **training.values())
            if training.iterations >= iterations:
                break
        training.wait_for_end()
        return training.values()


def _killed_and_resumed(dry_run: bool, progress: Results) -> dict[str, Any]:
    killed_after, saved_every, more = (2, 1, 1) if dry_run else (KILLED_AFTER, SAVED_EVERY, RESUMED_FOR)
    opt = _options("train_RCAN_x4_fast", dry_run)
    opt["name"] += "_kill"
    opt["logger"] |= {"print_freq": 1, "save_checkpoint_freq": saved_every}
    with Training(opt) as training:
        training.wait_for_iterations(1, must=True)
        values: dict[str, Any] = {"first_s": training.seconds_to_first}
        progress.write("partial", **values)
        training.wait_for_iterations(killed_after, must=True)
    values["killed_at"] = training.iterations  # small steps run on until the process is dead
    progress.write("partial", **values)
    opt["train"]["total_iter"] = values["killed_at"] + more
    with Training(opt, arguments=["--auto_resume"]) as training:
        training.wait_for_iterations(1, must=True)
        values["resumed_first_s"] = training.seconds_to_first
        match = RESUMED.search(training.log)
        values["resumed_at"] = int(match[1]) if match else None
        progress.write("partial", **values)
        training.wait_for_end()
        values["ended_at"] = training.iterations
        values["command"] = training.shown_command
    return values


class Training:
    """A running training process. The `with` statement kills it at the end if it still runs.

    Args:
        opt: content of the option file.
        arguments: further command-line arguments of `train.py`.
        launcher: Python's arguments before the script, for torchrun.
        resumable: without a GPU, use `rcan_plugin.train`: BasicSR's `train.py` resumes on a GPU only.
    """

    def __init__(
        self,
        opt: dict[str, Any],
        arguments: Sequence[str] = (),
        launcher: Sequence[str] = (),
        resumable: bool = True,
    ) -> None:
        folder = _folder()
        self.batch = opt["datasets"]["train"]["batch_size_per_gpu"]
        file = folder / f"{opt['name']}.yml"
        file.write_text(yaml.safe_dump(opt, sort_keys=False))
        more = ["--launcher", "pytorch"] if launcher else []
        self.command = [*launcher, *program(resumable), "-opt", file.name, *arguments, *more]
        self.output = folder / f"{opt['name']}{'_resumed' if arguments else ''}.txt"
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        variables = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        self.began, self.seconds_to_first = time.monotonic(), 0.0
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, *self.command], cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def shown_command(self) -> str:
        """For the report."""
        return "python " + " ".join(self.command)

    @property
    def log(self) -> str:
        """What the process has printed so far."""
        return self.output.read_text(errors="replace")

    @property
    def lines(self) -> list[tuple[float, int, float]]:
        """Wall-clock time, iteration and average data time of each log line of a step."""
        lines = []
        for day, milliseconds, iteration, _, data in LINE.findall(self.log):
            at = datetime.datetime.strptime(day, "%Y-%m-%d %H:%M:%S").timestamp() + int(milliseconds) / 1e3
            lines.append((at, int(iteration.replace(",", "")), float(data)))
        return lines

    @property
    def iterations(self) -> int:
        """The last iteration that was logged."""
        return self.lines[-1][1] if self.lines else 0

    def wait_for_iterations(self, count: int, must: bool = False) -> bool:
        """Wait until iteration `count` is logged. Returns False if the process ends before."""
        while self.iterations < count:
            ended = self.process.poll() is not None
            if ended and self.iterations < count:
                if must or self.process.returncode:
                    self._fail()
                return False
            time.sleep(0.05)
        if not self.seconds_to_first:
            self.seconds_to_first = time.monotonic() - self.began
        return True

    def wait_for_end(self) -> None:
        """Wait until the process ends, and raise RuntimeError if it fails."""
        if self.process.wait():
            self._fail()

    def values(self) -> dict[str, Any]:
        """Rate of the whole loop and wait for data, from the log lines after the first one."""
        lines = self.lines
        values: dict[str, Any] = {"iterations": self.iterations, "command": self.shown_command}
        values["first_line_s"] = self.seconds_to_first
        if len(lines) < 2:
            return values
        (start, first, data_before), (end, last, data_after) = lines[0], lines[-1]
        ms = (end - start) / (last - first) * 1e3
        values |= {"ms": ms, "images_per_s": self.batch / ms * 1e3}
        values["data_ms"] = max(0.0, (data_after * last - data_before * first) / (last - first) * 1e3)
        return values

    def _fail(self) -> None:
        print(self.log[-4000:], file=sys.stderr, flush=True)
        tail = " ".join(self.log.strip().splitlines()[-3:])[-300:]
        raise RuntimeError(f"exit code {self.process.returncode}: {tail}")


def _options(name: str, dry_run: bool) -> dict[str, Any]:
    """An option file of the project with the data made here and without validation; tiny for dry runs."""
    opt: dict[str, Any] = yaml.safe_load((ROOT / f"options/{name}.yml").read_text())
    opt["datasets"].pop("val", None)
    opt.pop("val", None)
    opt["logger"]["use_tb_logger"] = False
    opt["train"]["scheduler"]["milestones"] = [1]  # runs are shorter than the recipe
    if dry_run:
        opt["network_g"] |= SMALL["RCAN"]
        opt["datasets"]["train"] |= {"gt_size": 32, "num_worker_per_gpu": 0, "batch_size_per_gpu": 2}
        opt["train"].pop("compile", None)
    return opt


@cache
def _folder() -> Path:
    """A folder like the project's root: link to BasicSR, and the training data where the option files expect it."""
    folder = Path(tempfile.mkdtemp(prefix="rcan_gpu_loop_"))
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True))
    link_basicsr(folder)
    images = folder / "HR"
    images.mkdir()
    count, side = (IMAGES, SIDE) if GPU else (4, 96)
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (side // 12, side // 12, 3), np.uint8)
        smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        noisy = np.clip(smooth + rng.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(images / f"{number:04d}.png"), noisy)
    out = folder / "datasets/DIV2K/train"
    run([sys.executable, str(ROOT / "scripts/create_lmdb.py"), str(images), "--out", str(out)], folder)
    return folder
