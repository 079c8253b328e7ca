"""Training runs of `benchmarks/training/card`: RCAN x2, BasicSR's RCAN for the same minutes, a light RCAN x4.

Everything is kept in OUT/runs, a folder like the project's root: logs and weights in `experiments/NAME`, and the
schedule in `NAME.json`, which is computed once from the rate of a short run of the same command. A second call with the
same OUT resumes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common import FINISHED, ROOT, finished
from benchmarks.gpu_parts import curves
from benchmarks.gpu_parts.results import NotAvailableError, Results
from benchmarks.gpu_parts.training_program import link_basicsr, program
from rcan_plugin._files import written_beside

FILES = {"ours": "RCAN_x2", "stock": "RCAN_x2_stock", "light": "light_x4"}
SHARES = {"ours": 0.4, "light": 1.0}
"""Fraction of the time left that a run with a schedule may take, its start included."""

RATE_ITERATIONS = 100
VALIDATIONS = 8
END = 12.0
"""Seconds before the end at which a run is asked to save and stop."""

TINY = (
    "datasets:train:dataroot_gt=images", "datasets:train:dataroot_lq=~", "datasets:val_1:dataroot_gt=images",
    "datasets:val_2:dataroot_gt=images", "datasets:train:gt_size=16", "datasets:train:batch_size_per_gpu=2",
    "datasets:train:num_worker_per_gpu=0", "network_g:num_feat=16", "network_g:num_group=1", "network_g:num_block=1",
)  # fmt: skip
"""Changes of the option files in a dry run."""

TINY_TOTAL, TINY_RATE_ITERATIONS = 8, 4
TINY_STOCK = ("val:val_freq=10", "logger:print_freq=10", "logger:save_checkpoint_freq=10")


def measure(row: str, dry_run: bool, progress: Results) -> dict[str, Any]:
    """The curve of one run."""
    key = row.split("/")[1]
    run = Run(FILES[key], progress.path.parent / "runs", dry_run, progress)
    if key == "stock":
        return run.as_long_as(Run(FILES["ours"], run.folder, dry_run, progress).curve.minutes)
    return run.scheduled(SHARES[key] * (progress.left - END))


class Run:
    """One training run.

    Args:
        file: name of its option file without suffix.
        folder: where it is trained; made if there is none.
        dry_run: tiny network and data.
        progress: takes its values along the way.
    """

    def __init__(self, file: str, folder: Path, dry_run: bool, progress: Results) -> None:
        self.file, self.folder, self.dry_run, self.progress = file, folder, dry_run, progress
        self.name = f"card_{file}"
        self.changes: tuple[str, ...] = ()
        folder.mkdir(exist_ok=True)
        link_basicsr(folder)
        if dry_run:
            _tiny_images(folder / "images")
        else:
            _link_data(folder / "datasets")

    @property
    def curve(self) -> curves.Curve:
        """What its logs say."""
        return curves.read(self.folder / "experiments" / self.name)

    @property
    def finished(self) -> bool:
        """Whether it came to its last iteration."""
        return finished(self.folder / "experiments" / self.name)

    def scheduled(self, seconds: float) -> dict[str, Any]:
        """Train to the end of the schedule, which is made for `seconds` if there is none yet.

        Raises:
            NotAvailableError: the time is too short for a schedule.
        """
        plan_file = self.folder / f"{self.name}.json"
        if not plan_file.exists():
            plan = self._plan(seconds)
            with written_beside(plan_file) as beside:
                beside.write_text(json.dumps(plan))
        plan = json.loads(plan_file.read_text())
        self.changes = _changes(plan)
        if not self.finished:
            self._train(until=lambda: False)
        return self.values | {"total": plan["total"], "finished": self.finished}

    def as_long_as(self, minutes: float) -> dict[str, Any]:
        """Train until a validation after as many minutes of training.

        Raises:
            NotAvailableError: no other run has been trained for some minutes.
        """
        self.changes = TINY_STOCK if self.dry_run else ()
        if not minutes:
            raise NotAvailableError("there is no run of ours whose minutes it could take")

        def reached() -> bool:
            points = self.curve.points
            return bool(points) and points[-1].minutes >= minutes

        if not reached():
            self._train(until=reached)
        return self.values | {"finished": reached()}

    @property
    def values(self) -> dict[str, Any]:
        """For the report."""
        curve = self.curve
        values: dict[str, Any] = {
            "minutes": curve.minutes,
            "iterations": curve.iteration,
            "command": self.shown_command,
        }
        values["points"] = [asdict(point) for point in curve.points]
        if curve.points:
            values["set5"] = curve.points[-1].psnr.get("Set5")
        return values

    @property
    def shown_command(self) -> str:
        """The command that trains, for the report."""
        return "python " + " ".join(self._command(self.name, self.changes)).replace(f"{ROOT}/", "")

    def _plan(self, seconds: float) -> dict[str, int]:
        """Measure the rate in a short run, and make the schedule."""
        iterations = TINY_RATE_ITERATIONS if self.dry_run else RATE_ITERATIONS
        name, began = f"{self.name}_rate", time.monotonic()
        changes = _changes({"total": iterations, "every": iterations, "print": max(1, iterations // 10)})
        self._run(name, self._command(name, changes), until=lambda: False)
        if self.dry_run:
            return {"total": TINY_TOTAL, "every": 1, "print": 1}
        return schedule(seconds, time.monotonic() - began, curves.read(self.folder / "experiments" / name))

    def _train(self, until: Callable[[], bool]) -> None:
        """Train, or resume, until `until` returns true, the training ends, or the time is over."""
        points = len(self.curve.points)

        def reported() -> bool:
            nonlocal points
            if len(self.curve.points) != points:
                points = len(self.curve.points)
                self.progress.write("partial", **self.values)
            return until()

        self._run(self.name, [*self._command(self.name, self.changes), "--auto_resume"], reported)

    def _command(self, name: str, changes: Sequence[str]) -> list[str]:
        """Python's arguments."""
        file = ROOT / f"benchmarks/training/card/{self.file}.yml"
        start = program(resumable=True) if self.file == FILES["stock"] else ["-m", "rcan_plugin.train"]
        tiny = TINY if self.dry_run else ()
        return [*start, "-opt", str(file), "--force_yml", f"name={name}", *changes, *tiny]

    def _run(self, name: str, command: Sequence[str], until: Callable[[], bool]) -> None:
        """Run a training program. It is asked to save and stop when `until` returns true or the time is over.

        Raises:
            RuntimeError: it failed.
        """
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        variables = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        text = self.folder / f"{name}.txt"
        parent = os.getppid()
        with text.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=self.folder, env=variables, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        try:
            while process.poll() is None and self.progress.left > END and not until():
                if os.getppid() != parent:
                    sys.exit("gpu.py was killed")
                time.sleep(0.2)
            ended_itself = process.poll() is not None
        finally:
            _end(process)
        if process.returncode == 0:
            (self.folder / "experiments" / name / FINISHED).touch()
        if ended_itself and process.returncode:
            printed = text.read_text(errors="replace")
            print(printed[-4000:], file=sys.stderr, flush=True)
            tail = " ".join(printed.strip().splitlines()[-3:])[-300:]
            raise RuntimeError(f"exit code {process.returncode}: {tail}")


def schedule(seconds: float, took: float, measured: curves.Curve) -> dict[str, int]:
    """Iterations in all, between validations, and between log lines.

    Args:
        seconds: for the short run whose rate was measured and for the run itself.
        took: seconds of the short run from start to end. The run itself needs no more for its start and its end.
        measured: what the short run logged.

    Raises:
        NotAvailableError: the time is too short.
    """
    usable, rate = seconds - 2 * took - VALIDATIONS * measured.validation_seconds, measured.seconds_per_iteration
    lines = int(usable / rate) // (10 * VALIDATIONS) if rate and usable > 0 else 0
    if not lines:
        raise NotAvailableError(
            f"{seconds:.0f} s were left, too short: the program's start and the rate alone took {took:.0f} s"
        )
    return {"total": 10 * VALIDATIONS * lines, "every": 10 * lines, "print": lines}


def _changes(plan: Mapping[str, int]) -> tuple[str, ...]:
    """A schedule as changes of the option file."""
    total, every = plan["total"], plan["every"]
    return (
        f"train:total_iter={total}", f"train:scheduler:total={total}", f"train:scheduler:warmup={total // 20}",
        f"val:val_freq={every}", f"logger:save_checkpoint_freq={every}", f"logger:print_freq={plan['print']}",
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and after some seconds, in which a checkpoint is written, SIGKILL to it and its children."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(4)  # less than `gpu.py` waits for a worker
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _link_data(link: Path) -> None:
    """Link the project's `datasets`, and check that it has what the option files name.

    Raises:
        FileNotFoundError: a file or folder is missing.
    """
    for name in ("T490/HR.lmdb", "T490/LRBI_x2.lmdb", "T490/LRBI_x4.lmdb", "benchmark/Set5/HR", "benchmark/Set14/HR"):
        if not (ROOT / "datasets" / name).is_dir():
            raise FileNotFoundError(
                f"{ROOT / 'datasets' / name} does not exist: benchmarks/training/card/README.md has the commands that "
                "make it."
            )
    if not link.is_symlink():
        link.symlink_to(ROOT / "datasets", target_is_directory=True)


def _tiny_images(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(pixels, (48, 48), interpolation=cv2.INTER_CUBIC))
