"""Draws training runs: loss, PSNR, learning rate and images a second, over iterations or time."""

from __future__ import annotations

import io
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rcan_plugin._files import written_beside
from rcan_plugin.compare import labels
from rcan_plugin.compare.runs import KINDS, LOSS, PSNR, RATE, SPEED, Run, Series, without_seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = (
    *("#24569f", "#c4541d", "#2d7d4f", "#8b3f8f", "#a98600", "#2a8a9b", "#b33951", "#101018"),
    *("#7aa6e0", "#f2a379", "#86c98f", "#d79bd8", "#e86ea4", "#5a5fd6", "#8a6d3b", "#b7c433"),
)
STYLES = ("-", "--", ":", "-.", (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
WIDTH, PANEL = 5.4, 5.0
"""Inches of a panel with its margins, and of its axes."""
FORMATS = (".svg", ".png", ".pdf")
UNITS = {LOSS: "loss", PSNR: "PSNR, dB", RATE: "learning rate", SPEED: "images a second"}


def draw(runs: Sequence[Run], path: str | Path, over: str = "iterations") -> Path:
    """Draw runs into one figure: a panel for each kind of value that any run has, a colour for each run.

    Losses are drawn as logged (pale) and as a running mean. Runs that differ only in their seed (`NAME_seed0`,
    `NAME_seed1`) share colour and name.

    Args:
        runs: the runs, as `runs.read` returns them.
        path: the figure; its suffix is its format: `.svg`, `.png` or `.pdf`.
        over: `iterations` or `hours`.

    Returns:
        The path.

    Raises:
        ValueError: another suffix, or another `over`.
        RuntimeError: matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(FORMATS)}.")
    if over not in ("iterations", "hours"):
        raise ValueError(f"over is {over!r}; expected iterations or hours.")
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise RuntimeError("matplotlib is not installed: pip install matplotlib") from None
    names = Counter(run.name for run in runs)
    keys = [_key(run.name, number, names) for number, run in enumerate(runs)]
    palette = dict(zip(dict.fromkeys(keys), itertools.cycle(COLORS), strict=False))
    colors = [palette[key] for key in keys]
    kinds = [kind for kind in KINDS if any(kind == key[0] for run in runs for key in run.series)]
    rows, columns = -(-len(kinds) // 2), min(len(kinds), 2)
    entries = _entries(Counter(keys), WIDTH * columns)
    ncols = min(labels.columns(entries, WIDTH * columns), 3)
    size = (WIDTH * columns, 3.4 * rows + 0.25 * -(-len(entries) // ncols))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    longest = max(series.hours[-1] for run in runs for series in run.series.values())
    unit = over if over == "iterations" or longest >= 2 else "minutes"
    for axes, kind in zip(panels.flat, kinds, strict=False):
        _panel(axes, kind, runs, colors, unit)
    for axes in panels.flat[len(kinds) :]:
        axes.remove()
    handles = [panels.flat[0].plot([], [], color=color)[0] for color in palette.values()]
    figure.legend(handles, entries, loc="outside upper left", ncols=ncols, frameon=False, fontsize=9)
    drawn = io.BytesIO()  # matplotlib's writer of PDF hides the error of a full disk behind an AttributeError
    figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=110)
    with written_beside(path) as temporary:
        temporary.write_bytes(drawn.getvalue())
    return path


def _key(name: str, number: int, names: Counter[str]) -> tuple[str, int | None]:
    """A key that runs of several seeds share, and no other runs: two folders may have the same name."""
    common = without_seed(name)
    seeds = [other for other in names if without_seed(other) == common != other]
    alone = len(seeds) < 2 or any(names[other] > 1 for other in seeds)
    return (name, number) if alone else (common, None)


def _entries(keys: Counter[tuple[str, int | None]], inches: float) -> list[str]:
    """The names of runs for a legend that is `inches` wide."""
    return [_short(name if count == 1 else f"{name} ({count} seeds)", inches) for (name, _), count in keys.items()]


def _short(name: str, inches: float) -> str:
    """A name escaped for matplotlib, shortened in the middle if it does not fit into a legend of `inches`."""
    over = math.ceil((labels.entry_width(name) - inches) / labels.LETTER)
    if over > 0:
        half = (len(name) - over - 1) // 2
        name = f"{name[:half]}…{name[-half:]}"
    return name.replace("$", r"\$")


def _panel(axes: Axes, kind: str, runs: Sequence[Run], colors: Sequence[str], unit: str) -> None:
    """Draw all series of a kind; several names (losses, sets) have several line styles."""
    names = list(dict.fromkeys(name for run in runs for own, name in run.series if own == kind))
    styles = dict(zip(names, itertools.cycle(STYLES), strict=False))
    for run, color in zip(runs, colors, strict=True):
        for (own, name), series in run.series.items():
            if own == kind:
                _line(axes, kind, _places(series, unit), series.values, color, styles[name])
    shown = [_short(name, PANEL) for name in names]
    title = ", ".join(filter(None, [UNITS[kind], *(shown if len(names) == 1 else [])]))
    if len(names) > 1:  # the legend is beside the title, or below it
        handles = [axes.plot([], [], color="#6b6f76", linestyle=styles[name])[0] for name in names]
        width = sum(map(labels.entry_width, shown))
        beside = width + labels.entry_width(title) < PANEL
        ncols = len(names) if width < PANEL else labels.columns(shown, PANEL)
        axes.legend(
            handles, shown, ncols=ncols, fontsize=8, frameon=False,
            loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2,
        )  # fmt: skip
        title += "" if beside else "\n" * -(-len(names) // ncols)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(unit, fontsize=9)
    values = [
        value for run in runs for (own, _), series in run.series.items() if own == kind for value in series.values
    ]
    if kind in (LOSS, RATE) and min(values) > 0 and max(values) > min(values):
        axes.set_yscale("log")
    axes.tick_params(which="both", labelsize=8)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _places(series: Series, unit: str) -> Sequence[float]:
    if unit == "iterations":
        return series.iterations
    return [hours * (60 if unit == "minutes" else 1) for hours in series.hours]


def _line(axes: Axes, kind: str, places: Sequence[float], values: Sequence[float], color: str, style: Any) -> None:
    """Draw one series."""
    if kind != LOSS or len(values) < 20:
        mark = "." if kind == PSNR else ""
        axes.plot(places, values, color=color, linestyle=style, linewidth=1.3, marker=mark, markersize=5)
        return
    axes.plot(places, values, color=color, linewidth=0.6, alpha=0.3)
    axes.plot(places, running_mean(values, len(values) // 20), color=color, linestyle=style, linewidth=1.4)


def running_mean(values: Sequence[float], width: int) -> np.ndarray:
    """Mean of each value and up to `width` values before it.

    >>> running_mean([1, 2, 3, 6], 1).tolist()
    [1.0, 1.5, 2.5, 4.5]
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width - 1, 0)
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means
