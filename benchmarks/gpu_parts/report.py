"""The Markdown report of `gpu.py`, from the results so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from benchmarks.common import table
from benchmarks.gpu_parts import report_runs
from benchmarks.gpu_parts.rows import Job, Row

Result = Mapping[str, Any]
Results = Mapping[tuple[str, str], Result]
"""Result of a row by its part and identifier: `status`, `reason` if it is not `ok`, and its values."""

DRY_RUN = """**DRY RUN on tiny networks: this shows that the command works. No figure below is a measurement.**
"""
GROUPS = {
    "train": {
        "x4": "Training step, RCAN x4, batch 16, LR patch 48",
        "x2": "Training step, RCAN x2, batch 16, LR patch 48",
        "edsr": "Training step, EDSR x4 (16 blocks, 64 channels), batch 16, LR patch 48",
        "swinir": "Training step, SwinIR x4 (lightweight), batch 16, LR patch 48",
    },
    "inference": {
        "480x270x4": "Inference, RCAN x4, 480x270 to 1920x1080",
        "960x540x2": "Inference, RCAN x2, 960x540 to 1920x1080",
    },
}
NOTES = {
    "train": "Ratios of rate: row / BasicSR as shipped, and row / BasicSR's network in a graph. Peak: memory allocated "
    "by torch above what was allocated before. First step: from building the model, imports excluded; a row that "
    "compiles and runs alone in its process starts with a cold cache. Ready: 13 steps, with compiling and recording. "
    "Share: 3 times the operations of a forward pass, over the rate of a bf16 matrix product of side 8192 in this run.",
    "inference": "Median of 15 images, each waited for. Difference: to the network in float32 without TF32, unclipped, "
    "in 8-bit levels; random weights, last layer scaled so that the output's standard deviation is 64 levels.",
    "loop": "The whole training loop with option files of the project, on 40 images of 480x480 in a raw LMDB; rate and "
    "wait for data from log lines after the first one. First step: from the start of the command.",
}


def write(
    machine: Mapping[str, Any], command: str, date: str, dry_run: bool, jobs: Iterable[Job], results: Results
) -> str:
    """The whole report, valid at any moment of the run."""
    rows = _ordered(jobs)
    sections = ["# DRY RUN of the GPU benchmark\n" if dry_run else "# RCAN on one GPU\n"]
    if dry_run:
        sections.append(DRY_RUN)
    sections.append(_machine(machine, command, date))
    for part, groups in GROUPS.items():
        values: Callable[..., list[str]] = _train_line if part == "train" else _inference_line
        header = TRAIN_HEADER if part == "train" else INFERENCE_HEADER
        shown = False
        for group, title in groups.items():
            chosen = [row for row in rows if row.part == part and row.group == group]
            if not chosen:
                continue
            shown = True
            peers = {row.key: results.get((part, row.id), {}) for row in chosen}
            cells = [_cells(row, results, len(header), partial(values, peers=peers)) for row in chosen]
            sections.append(f"## {title}\n\n{table(header, cells)}\n")
        if shown:
            sections.append(NOTES[part] + "\n")
    if runs := [row for row in rows if row.part == "runs"]:
        cells = [_cells(row, results, len(report_runs.HEADER), report_runs.line) for row in runs]
        sections.append(f"## Training runs\n\n{table(report_runs.HEADER, cells)}\n")
        sections += report_runs.sections({row.key: results.get((row.part, row.id), {}) for row in runs})
    loop = [row for row in rows if row.part == "loop"]
    if loop:
        cells = [_cells(row, results, len(LOOP_HEADER), _loop_line) for row in loop]
        sections.append(f"## Training loop, x4, batch 16\n\n{table(LOOP_HEADER, cells)}\n\n{NOTES['loop']}\n")
        measured = [results.get(("loop", row.id), {}) for row in loop]
        sections += [_killed(result) for result in measured if result.get("first_s")]
        if commands := [f"- `{result['command']}`" for result in measured if result.get("command")]:
            sections.append("Commands:\n\n" + "\n".join(commands) + "\n")
    sections += [_tests(results.get(("tests", row.id), {})) for row in rows if row.part == "tests"]
    sections.append(_warnings(rows, results))
    return "\n".join(section for section in sections if section)


def _ordered(jobs: Iterable[Job]) -> list[Row]:
    rows = {(row.part, row.id): row for job in jobs for row in job.rows}
    return list(rows.values())


def _machine(machine: Mapping[str, Any], command: str, date: str) -> str:
    if not machine:
        return f"{date}, `{command}`. No worker has started yet.\n"
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items())
    card = f"{machine['gpu']}, {machine['memory_gib']} GiB, driver {machine.get('driver')}, CUDA {machine['cuda']}"
    lines = [
        f"- Card: {card if machine['gpu'] else 'none'}",
        f"- Host: {machine['host']}",
        f"- Versions: Python {machine['python']}, {versions}",
        f"- Date, commit: {date}, {machine['commit'] or 'not from a clone'}",
        f"- Command: `{command}`",
    ]
    return "\n".join(lines) + "\n"


def _cells(row: Row, results: Results, width: int, line: Callable[[Result], list[str]]) -> list[str]:
    """A row's cells: its values, or why there are none, or both if it was stopped on the way."""
    result = results.get((row.part, row.id), {"status": "not run"})
    values = line(result)
    if result["status"] == "ok":
        return [row.title, *values]
    reason = _reason(result)
    if any(value != "-" for value in values):
        return [f"{row.title} ({reason})", *values]
    return [row.title, reason, *["-"] * (width - 2)]


def _reason(result: Result) -> str:
    text = str(result.get("reason", "")).replace("|", "/")
    return f"{result['status']}: {text}" if text else str(result["status"])


def _number(result: Result, key: str, digits: int) -> str:
    value = result.get(key)
    return "-" if value is None else f"{value:.{digits}f}"


def _ratio(over: Any, under: Any) -> str:
    return f"{over / under:.2f}" if over and under else "-"


TRAIN_HEADER = [
    "", "ms per step", "images per s", "/ shipped", "/ its graph", "peak GiB", "/ shipped", "first step s", "ready s",
    "share of bf16 peak",
]  # fmt: skip


def _train_line(result: Result, peers: Mapping[str, Result]) -> list[str]:
    shipped, graph = peers.get("shipped", {}), peers.get("shipped_graph", {})
    rate, peak = result.get("images_per_s"), result.get("peak_gib")
    share = "-"
    if result.get("step_tflop") and result.get("card_tflops") and result.get("ms"):
        share = f"{result['step_tflop'] / (result['ms'] / 1e3) / result['card_tflops']:.1%}"
    return [
        _number(result, "ms", 1),
        _number(result, "images_per_s", 0),
        _ratio(rate, shipped.get("images_per_s")),
        _ratio(rate, graph.get("images_per_s")),
        _number(result, "peak_gib", 2),
        _ratio(peak, shipped.get("peak_gib")),
        _number(result, "first_s", 1),
        _number(result, "ready_s", 1),
        share,
    ]


INFERENCE_HEADER = [
    "", "ms per image", "/ shipped (rate)", "peak GiB", "/ shipped", "first image s", "largest difference", "PSNR dB"
]  # fmt: skip


def _inference_line(result: Result, peers: Mapping[str, Result]) -> list[str]:
    shipped = peers.get("shipped", {})
    psnr = "equal" if "psnr" in result and result["psnr"] is None else _number(result, "psnr", 1)
    return [
        _number(result, "ms", 1),
        _ratio(shipped.get("ms"), result.get("ms")),
        _number(result, "peak_gib", 2),
        _ratio(result.get("peak_gib"), shipped.get("peak_gib")),
        _number(result, "first_s", 1),
        _number(result, "max_levels", 2),
        psnr,
    ]


LOOP_HEADER = ["", "iterations", "ms per iteration", "images per s", "ms waited for data", "first log line after s"]


def _loop_line(result: Result) -> list[str]:
    iterations = str(result.get("iterations") or result.get("ended_at") or "-")
    first = _number(result, "first_s", 1)
    return [
        iterations,
        _number(result, "ms", 1),
        _number(result, "images_per_s", 0),
        _number(result, "data_ms", 1),
        first if first != "-" else _number(result, "first_line_s", 1),
    ]


def _killed(result: Result) -> str:
    text = f"The `_fast` file with a cold compile cache: first iteration after {result['first_s']:.1f} s."
    if result.get("killed_at"):
        text += f" Killed after iteration {result['killed_at']}."
    if result.get("resumed_at") is not None:
        text += (
            f" Resumed from iteration {result['resumed_at']}; first iteration after {result['resumed_first_s']:.1f} s."
        )
    return text + "\n"


def _tests(result: Result) -> str:
    lines = ["## Tests marked `gpu`\n"]
    if not result or result["status"] != "ok":
        lines.append(_reason(result or {"status": "not run"}) + "\n")
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(result.get("counts", {}).items()))
    if counts or result.get("summary"):
        lines.append(f"{counts or 'none run'}; pytest: {result.get('summary', 'not ended')}\n")
    for failure in result.get("failures", []):
        lines.append(f"### {failure['test']}\n\n```\n{failure['text']}\n```\n")
    return "\n".join(lines)


def _warnings(rows: Iterable[Row], results: Results) -> str:
    lines = []
    for row in rows:
        for text in results.get((row.part, row.id), {}).get("warnings", []):
            lines.append(f"- {row.part} {row.id}: {text}")
    return "## Warnings in the log\n\n" + "\n".join(lines) + "\n" if lines else ""
