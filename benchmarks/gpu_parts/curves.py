"""PSNR over minutes of training, from BasicSR's logs, without the time of validations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+) \w+: ")
_START = re.compile(r"(Resuming|Start) training from epoch: \d+, iter: (\d+)")
_ITERATION = re.compile(r"\[epoch:\s*\d+, iter:\s*([\d,]+),")
_VALIDATION = re.compile(r"Validation (\S+)")
_PSNR = re.compile(r"# psnr: ([\d.]+)")


@dataclass
class Point:
    """PSNR in dB by the name of the validated set, after some minutes and iterations of training."""

    minutes: float
    iteration: int
    psnr: dict[str, float] = field(default_factory=dict)


@dataclass
class Curve:
    """What the logs of one run say.

    Minutes begin with the first iteration, kernels compiled in it included. The time from an iteration's log line to
    the result of a validation at it, in which checkpoints are written too, does not count. Of a run that was resumed,
    the minutes of all parts are added, those of iterations that were repeated included.

    Attributes:
        points: validations, in order.
        minutes: of the last iteration that was logged.
        iteration: its number.
        seconds_per_iteration: in the last log, after its first line; 0 if it has less than two lines.
        validations: seconds of the last validation of each set, the first set's with the checkpoint.
    """

    points: list[Point] = field(default_factory=list)
    minutes: float = 0.0
    iteration: int = 0
    seconds_per_iteration: float = 0.0
    validations: dict[str, float] = field(default_factory=dict)

    @property
    def validation_seconds(self) -> float:
        return sum(self.validations.values())

    def add(self, log: str) -> None:
        """Add the log of the run's first or next part."""
        before, paused, set_name = self.minutes, 0.0, ""
        start = now = mark = None
        first: tuple[float, int] | None = None
        for line in log.splitlines():
            if match := _TIME.match(line):
                now = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()
            if match := _START.search(line):
                self.iteration = int(match[2])
                self.points = [point for point in self.points if point.iteration <= self.iteration]
                start = mark = now if match[1] == "Start" else None
            elif (match := _ITERATION.search(line)) and now is not None and start is not None:
                self.iteration, mark = int(match[1].replace(",", "")), now
                trained = now - start - paused
                self.minutes = before + trained / 60
                first = first or (trained, self.iteration)
                if self.iteration > first[1]:
                    self.seconds_per_iteration = (trained - first[0]) / (self.iteration - first[1])
            elif match := _VALIDATION.search(line):
                set_name = match[1]
                if now is not None and mark is not None:
                    self.validations[set_name] = now - mark
                    paused, mark = paused + now - mark, now
            elif match := _PSNR.search(line):
                if not self.points or self.points[-1].iteration != self.iteration:
                    self.points.append(Point(self.minutes, self.iteration))
                self.points[-1].psnr.setdefault(set_name, float(match[1]))


def read(run: Path) -> Curve:
    """The curve of a run, `experiments/NAME`; empty if there is no log yet."""
    curve = Curve()
    for log in sorted(run.glob("train_*.log")):
        curve.add(log.read_text(encoding="utf-8", errors="replace"))
    return curve


def at(points: Sequence[Any], minutes: float, set_name: str) -> float | None:
    """PSNR at a minute, interpolated between the validations before and after it; None outside of them."""
    known = [(point.minutes, point.psnr[set_name]) for point in points if set_name in point.psnr]
    for (before, low), (after, high) in pairwise(known):
        if before <= minutes <= after:
            return low + (high - low) * (minutes - before) / (after - before) if after > before else high
    return next((value for minute, value in known if minute == minutes), None)
