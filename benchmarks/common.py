"""What the benchmark scripts share: timing in turns, medians, ratios, tables, and a line that describes the machine.

Imports neither NumPy nor torch at the top, because scripts set the number of threads before they import those.
"""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]

FINISHED = "finished"
"""An empty file in the folder of a training run that ended by itself."""

Key = TypeVar("Key")


def finished(run: Path) -> bool:
    """Whether a training run (`experiments/NAME`) needs no more training; without training states it cannot go on.

    BasicSR writes `net_g_latest.pth` before the last validation, which may write `net_g_best.pth`.
    """
    latest, states = run / "models/net_g_latest.pth", run / "training_states"
    return latest.exists() and ((run / FINISHED).exists() or not any(states.glob("*.state")))


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock seconds of one call, on a GPU to the end of its work."""
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - start


def synchronize() -> None:
    """Wait for the GPU, if torch is imported and uses one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def in_turns(
    measures: Mapping[Key, Callable[[], float]], repeats: int, warm_up: bool = False, progress: str | None = None
) -> dict[Key, list[float]]:
    """Take every measure once per repeat, one after the other, so that a slow moment of the machine affects all alike.

    Args:
        measures: functions that return one value each.
        repeats: values to collect per measure.
        warm_up: call every measure once more at the start and discard the value.
        progress: title of a progress bar; none without it.

    Returns:
        The values of each measure, in order.
    """
    values: dict[Key, list[float]] = {key: [] for key in measures}
    repeat_numbers: Iterable[int] = range(-1 if warm_up else 0, repeats)
    if progress:
        from tqdm import tqdm

        repeat_numbers = tqdm(repeat_numbers, progress, unit="round")
    for repeat in repeat_numbers:
        for key, measure in measures.items():
            value = measure()
            if repeat >= 0:
                values[key].append(value)
    return values


def medians(values: Mapping[Key, Sequence[float]]) -> dict[Key, float]:
    """The median of each measure's values.

    >>> medians({"a": [3.0, 1.0, 2.0]})
    {'a': 2.0}
    """
    return {key: statistics.median(series) for key, series in values.items()}


def ratios(values: Mapping[Key, float], base: Key) -> dict[Key, float]:
    """Each value divided by that of `base`.

    >>> ratios({"a": 2.0, "b": 3.0}, "a")
    {'a': 1.0, 'b': 1.5}
    """
    return {key: value / values[base] for key, value in values.items()}


def median_seconds(calls: Mapping[Key, Callable[[], object]], repeats: int) -> dict[Key, float]:
    """Median seconds of each call, timed in turns after one call of each."""

    def timed(call: Callable[[], object]) -> Callable[[], float]:
        return lambda: seconds(call)

    return medians(in_turns({key: timed(call) for key, call in calls.items()}, repeats, warm_up=True))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table.

    >>> print(table(["", "ms"], [["ours", 1]]))
    | | ms |
    | --- | --- |
    | ours | 1 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |".replace("|  |", "| |") for line in lines)


def run(command: Sequence[str], folder: Path = ROOT, code: Sequence[int] = (0,)) -> str:
    """Standard output of a program that imports this project. Ends this process with its output if it fails."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in code:
        sys.exit(f"{shlex.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def machine(*packages: str) -> str:
    """One line: device, cores, versions of Python, torch, BasicSR and `packages`, date, command."""
    parts = [device(), f"{_cores()} CPU cores", f"Python {platform.python_version()}"]
    parts += [f"{name} {version(name)}" for name in ("torch", "basicsr", *packages)]
    return f"{', '.join(parts)}; {datetime.date.today()}; `{command_line()}`"


def device() -> str:
    """The GPU's name, or `CPU` with torch's number of threads."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU ({threads} {'thread' if threads == 1 else 'threads'})"


def command_line() -> str:
    """The running script's command, relative to the project."""
    script = Path(sys.argv[0]).resolve()
    name = str(script.relative_to(ROOT)) if script.is_relative_to(ROOT) else script.name
    return shlex.join(["python", name, *sys.argv[1:]])


def version(package: str) -> str:
    """A package's version, or `-` if it is not installed.

    >>> version("no-such-package")
    '-'
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "-"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
