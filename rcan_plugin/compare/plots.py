"""Plots of a comparison as SVG files, for papers and for its page.

For each test set: PSNR over parameters; PSNR over latency, with areas for multiply-adds; PSNR by image; the difference
of the two best methods by image with its confidence interval.
"""

from __future__ import annotations

import hashlib
import html
import importlib.util
import io
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rcan_plugin.compare import labels, layout
from rcan_plugin.compare.layout import Group, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSING = "Plots are not drawn: matplotlib is not installed. Install it: pip install matplotlib"
NAMES = ("parameters", "latency", "images", "difference")
"""Plots of a set: `NAME_SET.svg`."""
NAMED_IMAGES = 24
"""Most images whose names are on the axis."""
NAMED_POINTS = 10
"""Most methods whose names are beside their points. Otherwise points have numbers, explained below the plot."""

_TEXT, _GRID = "#1f2328", "#b9b5ab"  # replaced by the page's theme, see `_themed`
_COLORS = ("#24569f", "#c4541d", "#2d7d4f", "#8b3f8f", "#a98600", "#2a8a9b", "#b33951", "#6b6f76")
_MARKERS = "osD^vPX*"
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 9.5,
    "text.parse_math": False,  # names may have dollars
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _GRID,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.5,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "legend.frameon": False,
}


def write(folder: str | Path) -> list[Path]:
    """Draw the plots of a comparison into `plots/`.

    Args:
        folder: the comparison's output folder.

    Returns:
        The files; none, after a message, if matplotlib is not installed.

    Raises:
        FileNotFoundError, ValueError: there are no results of a comparison in the folder.
    """
    results = layout.read(folder)
    if importlib.util.find_spec("matplotlib") is None:
        print(MISSING)
        return []
    place = Path(folder) / "plots"
    place.mkdir(exist_ok=True)
    paths: list[Path] = []
    for group in layout.groups(results):
        for entry in group.sets:
            paths += _write_set(place, group, entry)
    for old in set(place.glob("*.svg")) - set(paths):
        old.unlink()
    return paths


def _write_set(place: Path, group: Group, entry: Mapping[str, Any]) -> list[Path]:
    """Draw the plots of a set; existing ones are kept if all were drawn from the same values by the same code.

    Each file has a mark with their number: a run that was stopped wrote only some of them.
    """
    values = [[line.method, line.facts, line.rows.get(entry["id"])] for line in group.lines]
    code = [Path(module.__file__ or "").read_text(encoding="utf-8") for module in (sys.modules[__name__], labels)]
    key = hashlib.sha256(json.dumps([group.protocol, entry, values, code], sort_keys=True).encode()).hexdigest()
    there = [place / f"{name}_{entry['id']}.svg" for name in NAMES]
    there = [path for path in there if path.is_file()]
    if there and all(_mark(key, len(there)) in path.read_text(encoding="utf-8") for path in there):
        return there
    import matplotlib

    paths = []
    with matplotlib.rc_context(_SETTINGS):
        figures = list(_figures(group, entry))
        for name, title, figure in figures:
            paths.append(place / f"{name}_{entry['id']}.svg")
            _save(figure, paths[-1], title, _mark(key, len(figures)))
    return paths


def _mark(key: str, count: int) -> str:
    return f"<!-- {key}, plots: {count} -->"


def interval(differences: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of paired differences with its confidence interval by Student's t distribution.

    Args:
        differences: one for each image.
        confidence: of the interval.

    Returns:
        Mean, lower and upper end; the ends are infinite for a single difference.
    """
    from scipy import special

    mean, count = float(np.mean(differences)), len(differences)
    if count < 2:
        return mean, -math.inf, math.inf
    half = float(special.stdtrit(count - 1, (1 + confidence) / 2) * np.std(differences, ddof=1) / math.sqrt(count))
    return mean, mean - half, mean + half


def _figures(group: Group, entry: Mapping[str, Any]) -> Iterator[tuple[str, str, Figure]]:
    """Name, title and figure of each plot for which there are values."""
    heading = f"{entry['name']}, {group.title}"
    lines = [line for line in group.lines if math.isfinite(_mean(line, entry["id"]))]
    sizes = {line.name: line.facts.get("parameters") for line in lines}
    if any(sizes.values()):
        title = f"PSNR over parameters: {heading}"
        yield "parameters", title, _scatter(lines, entry["id"], sizes, title, "parameters", areas=False)
    times = {line.name: layout.milliseconds(line.facts) for line in lines}
    if any(times.values()):
        title = f"PSNR over latency: {heading}"
        where = next(line.facts["latency"] for line in lines if times[line.name])
        label = f"median latency, ms (input {where['input']})"
        yield "latency", title, _scatter(lines, entry["id"], times, title, label, areas=True)
    if lines:
        title = f"PSNR by image: {heading}"
        yield "images", title, _by_image(lines, entry["id"], title)
    ranked = sorted(
        (line for line in lines if not group.differs(line, entry["id"])), key=lambda line: -_mean(line, entry["id"])
    )
    if len(ranked) > 1:
        best, second = ranked[:2]
        yield (
            "difference",
            f"{best.name} minus {second.name}: {heading}",
            difference(best, second, entry["id"], heading),
        )


def _mean(line: Line, set_id: str) -> float:
    cell = line.cells.get((set_id, "psnr"))
    return cell.value if cell else math.nan


def _psnr(line: Line, set_id: str) -> dict[str, float]:
    """Finite PSNR by image."""
    values = {name: image.get("psnr") for name, image in line.rows[set_id]["images"].items()}
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}


def _axes(title: str, below: float = 0.55) -> tuple[Figure, Axes]:
    """A figure 5.2 inches wide with axes of 4.25 x 2.7 inches, and `below` inches for the text under them.

    Margins are fixed, because matplotlib's automatic layout takes more time than the drawing.
    """
    from matplotlib.figure import Figure

    height = 2.7 + below + 0.5
    figure = Figure(figsize=(5.2, height))
    axes = figure.add_axes((0.85 / 5.2, below / height, 4.25 / 5.2, 2.7 / height))
    axes.set_title(title, pad=10)
    return figure, axes


def _scatter(
    lines: Sequence[Line],
    set_id: str,
    positions: Mapping[str, float | None],
    title: str,
    label: str,
    areas: bool,
) -> Figure:
    """Mean PSNR over a cost on a logarithmic axis; methods without it (bicubic) are horizontal lines."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    drawn = [line for line in lines if positions[line.name]]
    numbers: dict[str, int] = {}
    if len(drawn) > NAMED_POINTS:
        ranked = sorted(drawn, key=lambda line: -_mean(line, set_id))
        numbers = {line.name: number for number, line in enumerate(ranked, 1)}
    columns = labels.columns(list(numbers), 5.2)
    figure, axes = _axes(title, 0.55 + 0.18 * -(-len(numbers) // columns))
    costs = {line.name: layout.multiply_adds(line.facts) or 0 for line in lines}
    largest = max(costs.values(), default=0)
    points, flat, handles = [], [], {}
    for number, line in enumerate(lines):
        x, y = positions[line.name], _mean(line, set_id)
        if not x:
            flat.append((line.name, y))
            continue
        area = max(900 * costs[line.name] / largest, 16) if areas and largest else 46
        color = _COLORS[number % len(_COLORS)]
        axes.scatter(
            x, y, s=area, color=color, alpha=0.75 if areas else 1, linewidths=0.8, edgecolors="white", zorder=3
        )
        points.append((str(numbers.get(line.name, line.name)), x, y, area))
        handles[line.name] = axes.scatter([], [], s=40, color=color)
    axes.set(xscale="log", xlabel=label, ylabel="PSNR, dB")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: layout.count(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.18, y=0.16)
    if areas and largest:
        axes.set_title(title + "\n", pad=10)
        text = "Area: multiply-adds for 1280×720; the largest is " + layout.count(largest)
        axes.text(0, 1.02, text, transform=axes.transAxes, fontsize=8.5, va="bottom")
    for name, y in flat:
        axes.axhline(y, color=_TEXT, linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
        points.append((name, axes.get_xlim()[0], y, 0))
    labels.place(figure, axes, points)
    if numbers:
        entries = [f"{number}  {name}" for name, number in numbers.items()]
        dots = [handles[name] for name in numbers]
        spaces = {"handlelength": 1, "handletextpad": 0.3, "columnspacing": 1}
        figure.legend(dots, entries, loc="lower center", borderaxespad=0.1, ncols=columns, fontsize=8.5, **spaces)
    return figure


def _by_image(lines: Sequence[Line], set_id: str, title: str) -> Figure:
    """PSNR of each method on each image. Images too many for names are sorted by mean PSNR."""
    values = {line.name: _psnr(line, set_id) for line in lines}
    names = list(dict.fromkeys(name for found in values.values() for name in found))
    many = len(names) > NAMED_IMAGES
    if many:
        means = {name: np.mean([found[name] for found in values.values() if name in found]) for name in names}
        names.sort(key=lambda name: means[name])
    columns = labels.columns(list(values), 5.2)
    legend = 0.1 + 0.2 * -(-len(lines) // columns)
    figure, axes = _axes(title, _name_height(names) + legend)
    handles = []
    for number, found in enumerate(values.values()):
        handles += axes.plot(
            range(len(names)),
            [found.get(name, math.nan) for name in names],
            color=_COLORS[number % len(_COLORS)],
            marker="" if many else _MARKERS[(number + number // len(_COLORS)) % len(_MARKERS)],
            markersize=4.5,
            linewidth=1 if many else 0.7,
            linestyle=("-", "--", ":")[number // len(_COLORS) % 3],
        )
    _name_images(axes, names)
    axes.set_ylabel("PSNR, dB")
    spaces = {"handlelength": 1.6, "columnspacing": 1}
    figure.legend(handles, values, loc="lower center", borderaxespad=0.1, ncols=columns, fontsize=8.5, **spaces)
    return figure


def _name_height(names: Sequence[str]) -> float:
    """Inches for the names of images under the axes."""
    return min(0.25 + 0.062 * max(map(len, names), default=0), 1.6) if _upright(names) else 0.5


def _upright(names: Sequence[str]) -> bool:
    return len(names) <= NAMED_IMAGES and sum(map(len, names)) > 48


def _name_images(axes: Axes, names: Sequence[str]) -> None:
    """Write the images' names on the axis, upright if they are long; no names if there are too many images."""
    if len(names) > NAMED_IMAGES:
        axes.set_xlabel(f"{len(names)} images, by mean PSNR")
        axes.set_xticks([])
    elif _upright(names):
        short = [name if len(name) < 25 else f"{name[:23]}…" for name in names]
        axes.set_xticks(range(len(names)), short, rotation=60, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(range(len(names)), names)


def difference(first: Line, second: Line, set_id: str, heading: str) -> Figure:
    """Difference of two methods' PSNR by image, largest first, with the mean's 95 % confidence interval."""
    a, b = _psnr(first, set_id), _psnr(second, set_id)
    found = sorted(((a[name] - b[name], name) for name in a.keys() & b.keys()), reverse=True)
    values, names = [value for value, _ in found], [name for _, name in found]
    figure, axes = _axes(f"{first.name} − {second.name}: {heading}\n", _name_height(names))
    if not values:
        return figure
    mean, low, high = interval(values)
    places = range(len(values))
    many = len(values) > NAMED_IMAGES
    colors = [_COLORS[0] if value >= 0 else _COLORS[1] for value in values]
    axes.bar(places, values, color=colors, width=1 if many else 0.6, linewidth=0, zorder=2)
    axes.axhline(0, color=_TEXT, linewidth=0.8)
    axes.axhline(mean, color=_COLORS[2], linewidth=1.4, zorder=3)
    text = f"Mean {mean:+.3f} dB"
    if math.isfinite(low):
        axes.axhspan(low, high, color=_COLORS[2], alpha=0.22, linewidth=0, zorder=2.5)
        text += f", 95 % confidence interval {low:+.3f} to {high:+.3f}"
    axes.text(0, 1.02, text.replace("-", "−"), transform=axes.transAxes, fontsize=8.5, va="bottom")
    axes.set_ylabel("difference of PSNR, dB")
    _name_images(axes, names)
    if many:
        axes.set_xlabel(f"{len(names)} images, by difference")
    axes.margins(x=0.01 if many else 0.05)
    return figure


def _save(figure: Figure, path: Path, title: str, mark: str) -> None:
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    layout.write_text(path, _themed(text.getvalue(), title) + f"{mark}\n")


def _themed(svg: str, title: str) -> str:
    """The SVG with a title. Its text has the colour of the page that contains it."""
    svg = re.sub(rf"(fill|stroke): {_TEXT}", r"\1: currentColor", svg)
    return re.sub(r"<svg ([^>]*)>", rf'<svg color="{_TEXT}" \1><title>{html.escape(title)}</title>', svg, count=1)
