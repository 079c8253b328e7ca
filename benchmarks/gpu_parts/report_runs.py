"""The report's section on training runs: PSNR over minutes, and the goals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.common import table
from benchmarks.gpu_parts.curves import Point, at

VDSR_X2 = 37.53
"""Set5, x2, PSNR in dB: "Accurate Image Super-Resolution Using Very Deep Convolutional Networks" (CVPR 2016)."""

AHEAD = 0.5
"""dB by which ours is to be ahead of stock after the same minutes."""

CLOCK = (
    "PSNR in dB on luma, without as many border pixels as the scale. Minutes: wall clock of training by the logs, from "
    "the first iteration on, compiling included; without start of the program, and without validations and the "
    "checkpoints written before them, of which the runs make different numbers. Stock: interpolated between its "
    "validations, and as far as they reach."
)


def sections(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Paragraphs of Markdown.

    Args:
        results: of `ours`, `stock` and `light`; what there is of each.
    """
    curve = {key: [Point(**point) for point in result.get("points", ())] for key, result in results.items()}
    ours, stock, light = (curve.get(key, []) for key in ("ours", "stock", "light"))
    texts = []
    if ours:
        header = ["minute", "iteration", "ours, Set5", "stock, Set5", "difference", "ours, Set14", "stock, Set14"]
        lines = [_line(point, stock) for point in ours]
        texts.append(f"### RCAN x2 over time\n\n{table(header, lines)}\n\n{CLOCK}\n")
        texts.append("\n".join(f"- {goal}" for goal in _goals(ours, stock)) + "\n")
    if light:
        header = ["minute", "iteration", "Set5", "Set14"]
        lines = [[f"{point.minutes:.2f}", f"{point.iteration:,}", *_sets(point)] for point in light]
        texts.append(f"### Light RCAN x4 over time\n\n{table(header, lines)}\n")
    if commands := [f"- `{result['command']}`" for result in results.values() if result.get("command")]:
        texts.append("Commands, in OUT/runs:\n\n" + "\n".join(commands) + "\n")
    return texts


def _line(point: Point, stock: list[Point]) -> list[str]:
    own, theirs = point.psnr.get("Set5"), at(stock, point.minutes, "Set5")
    difference = "-" if own is None or theirs is None else f"{own - theirs:+.2f}"
    ours14, theirs14 = point.psnr.get("Set14"), at(stock, point.minutes, "Set14")
    numbers = [_number(own), _number(theirs), difference, _number(ours14), _number(theirs14)]
    return [f"{point.minutes:.2f}", f"{point.iteration:,}", *numbers]


def _sets(point: Point) -> list[str]:
    return [_number(point.psnr.get(name)) for name in ("Set5", "Set14")]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _goals(ours: list[Point], stock: list[Point]) -> list[str]:
    last = ours[-1]
    psnr = last.psnr["Set5"]
    reached = "reached" if psnr > VDSR_X2 else "not reached"
    goals = [
        f"Above VDSR's published {VDSR_X2} dB at x2: {reached}; ours has {psnr:.2f} dB ({psnr - VDSR_X2:+.2f}) after "
        f"{last.minutes:.2f} minutes."
    ]
    same = [(point, at(stock, point.minutes, "Set5")) for point in ours]
    pairs = [(point, theirs) for point, theirs in same if theirs is not None]
    if not pairs:
        return [*goals, f"At least {AHEAD} dB above stock at the same minute: not known; stock has no such minute yet."]
    point, theirs = pairs[-1]
    ahead = point.psnr["Set5"] - theirs
    return [
        *goals,
        f"At least {AHEAD} dB above stock at the same minute: {'reached' if ahead >= AHEAD else 'not reached'}; "
        f"{ahead:+.2f} dB after {point.minutes:.2f} minutes.",
    ]


HEADER = ["", "iterations", "minutes", "Set5", "Set14"]


def line(result: Mapping[str, Any]) -> list[str]:
    """A run's cells of the overview."""
    if not result.get("points"):
        return ["-"] * (len(HEADER) - 1)
    last, iterations = Point(**result["points"][-1]), f"{result['iterations']:,}"
    if result.get("total"):
        iterations += f" of {result['total']:,}"
    return [iterations, f"{result['minutes']:.2f}", *_sets(last)]
