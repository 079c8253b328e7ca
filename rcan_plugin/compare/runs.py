"""Reads the logs of BasicSR's training runs: text logs and TensorBoard's event files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rcan_plugin._files import kind_of

LOSS, PSNR, RATE, SPEED = "loss", "PSNR", "learning rate", "images a second"
KINDS = (LOSS, PSNR, RATE, SPEED)

_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ \w+: ")
_ITERATION = re.compile(r"\[epoch:\s*\d+, iter:\s*([\d,]+), lr:\(([^,)]+)")
# A validation that an earlier run did not get to is made up for before BasicSR says where the run resumes.
_START = re.compile(r"(?:(?:Resuming|Start) training from epoch: \d+, iter:|The validation at iteration) (\d+)")
_SECONDS = re.compile(r"time \(data\): ([\d.]+)")
_LOSS = re.compile(r"\b(l_\w+): ([-+.\w]+)")
_PSNR = re.compile(r"# (\w*psnr\w*): ([\d.]+|inf)(?:\tBest: ([\d.]+|inf) @ (\d+) iter)?", re.IGNORECASE)
_BATCH = re.compile(r"^\s+batch_size_per_gpu: (\d+)", re.MULTILINE)
_WORLD = re.compile(r"^\s+world_size: (\d+)", re.MULTILINE)


@dataclass
class Series:
    """One logged value along a run. Hours count only training: pauses before a run was resumed are left out."""

    iterations: list[int] = field(default_factory=list)
    hours: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, iteration: int, hours: float, value: float) -> None:
        """Append a value. Values logged before a resumption, for this iteration or later ones, are dropped."""
        while self.iterations and self.iterations[-1] >= iteration:
            for column in (self.iterations, self.hours, self.values):
                column.pop()
        self.iterations.append(iteration)
        self.hours.append(hours)
        self.values.append(value)


@dataclass
class Run:
    """A training run.

    Attributes:
        name: name of its folder or file.
        series: by kind (`KINDS`) and name: that of the loss or of the validated set; empty for other kinds.
    """

    name: str
    series: dict[tuple[str, str], Series] = field(default_factory=dict)

    def add(self, kind: str, name: str, iteration: int, hours: float, value: float) -> None:
        """Append a value to a series."""
        self.series.setdefault((kind, name), Series()).add(iteration, hours, value)


def without_seed(name: str) -> str:
    """The name of a run without the seed at its end, the same for all seeds.

    >>> without_seed("RCAN_seed12"), without_seed("RCAN")
    ('RCAN', 'RCAN')
    """
    return re.sub(r"_seed\d+$", "", name)


def read(path: str | Path) -> Run:
    """Read a run.

    Args:
        path: a folder with `train_*.log` (`experiments/NAME`) or with TensorBoard's event files (`tb_logger/NAME`), or
            one such file. Text logs are preferred: event files have neither learning rate nor images a second.

    Raises:
        FileNotFoundError: there is no log.
        ValueError: the log has no values.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind not in ("a file", "a folder"):
        raise FileNotFoundError(
            f"{path} is {kind}; expected a folder experiments/NAME or tb_logger/NAME, or a log in it."
        )
    logs = sorted(path.glob("train_*.log")) if kind == "a folder" else [path] if path.suffix == ".log" else []
    events = sorted(path.glob("events.out.tfevents.*")) if kind == "a folder" else [path]
    run = Run(path.name if kind == "a folder" else path.stem)
    if logs:
        _read_texts(run, logs)
    elif events:
        _read_events(run, events)
    else:
        raise FileNotFoundError(f"{path} has neither train_*.log nor events.out.tfevents.*: name a folder that has.")
    if not run.series:
        raise ValueError(f"{path} has no values yet: expected lines of iterations or validations.")
    return run


def _read_texts(run: Run, paths: list[Path]) -> None:
    """Read the text logs of a run: one log for the first start and one for each resumption."""
    before = 0.0
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        batch, world = _BATCH.search(text), _WORLD.search(text)
        images = int(batch[1]) * int(world[1] if world else 1) if batch else None
        last = 0.0
        for hours, iteration, kind, name, value in _values(text, images):
            run.add(kind, name, iteration, before + hours, value)
            last = hours
        before += last


def _values(text: str, images: int | None) -> Iterator[tuple[float, int, str, str, float]]:
    """Hours of training, iteration, kind, name and value of all values in a text log.

    The log may be those of a run that was resumed, one after another; the pauses between them do not count.
    BasicSR logs the iteration of a validation only with a new best value. Other validations get the iteration of the
    last line of losses, or of the start. The validation at the end of a run is logged with an iteration beyond the
    last one.
    """
    start, before, last, hours = None, 0.0, 0.0, 0.0
    iteration, set_name, validated, ended = 0, "", 0, False
    for line in text.splitlines():
        if match := _TIME.match(line):
            now = datetime.fromisoformat(match[1])
            if start is None or _START.search(line):
                start, before = now, last
            hours = before + (now - start).total_seconds() / 3600
        if match := _ITERATION.search(line):
            last = hours
            iteration = int(match[1].replace(",", ""))
            yield hours, iteration, RATE, "", float(match[2])
            if (seconds := _SECONDS.search(line)) and images and float(seconds[1]):
                yield hours, iteration, SPEED, "", images / float(seconds[1])
            for loss in _LOSS.finditer(line):
                yield hours, iteration, LOSS, loss[1], float(loss[2])
        elif match := _START.search(line):
            iteration, validated, ended = int(match[1]), 0, False
        elif match := re.search(r"Validation (\S+)", line):
            set_name = match[1]
        elif match := _PSNR.search(line):
            last = hours
            exact = match[2] == match[3] and not ended
            validated = max(iteration, validated, int(match[4]) if exact else 0)
            yield hours, validated, PSNR, set_name, float(match[2])
        elif "End of training" in line:
            ended = True


def _read_events(run: Run, paths: list[Path]) -> None:
    """Read TensorBoard's event files of a run; hours run from the first value of each file."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    before = 0.0
    for path in paths:
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
        scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
        times = [event.wall_time for found in scalars.values() for event in found]
        for tag, found in scalars.items():
            top, *middle, last = tag.split("/")
            kind = LOSS if top == "losses" else PSNR if top == "metrics" and "psnr" in last.lower() else ""
            name = last if kind == LOSS else "/".join(middle)
            for event in found if kind else ():
                run.add(kind, name, event.step, before + (event.wall_time - min(times)) / 3600, event.value)
        before += (max(times) - min(times)) / 3600 if times else 0
