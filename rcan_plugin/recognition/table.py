"""The table of an object recognition run: Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from rcan_plugin._files import written_beside
from rcan_plugin.compare.cache import versions
from rcan_plugin.recognition.paired import Difference
from rcan_plugin.recognition.run import Results, Row

_METRICS = ("top1", "top5")


def write(results: Results) -> list[Path]:
    """Write `recognition.md`, `.csv` and `.json` to the output folder. Returns the files."""
    folder = results.task.out
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"md": markdown(results), "csv": comma_separated(results), "json": as_json(results)}
    paths = []
    for suffix, text in texts.items():
        paths.append(folder / f"recognition.{suffix}")
        with written_beside(paths[-1]) as path:
            path.write_text(text, encoding="utf-8")
    return paths


def markdown(results: Results) -> str:
    """A table with a line for each method, and what it was measured on."""
    heads = ["Method", "Top-1 error, %", "- bicubic (95 % interval)", "p", "Top-5 error, %", "- bicubic (95 %)", "p"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *map(_cells, results.rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    remarks = "".join(f"\n\n{remark}" for remark in results.remarks)
    return f"# Object recognition\n\n{table}\n\n{_protocol(results)}{remarks}\n"


def plain(results: Results) -> str:
    """The table for a terminal."""
    rows = [
        ["", "top-1", "- bicubic", "p", "top-5", "- bicubic", "p"],
        *(_cells(row, escape=False) for row in results.rows),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]).rstrip() for cells in rows]
    return "\n".join([*lines, _protocol(results), *results.remarks])


def comma_separated(results: Results) -> str:
    """One line for each method, errors from 0 to 1 in full: for programs and spreadsheets."""
    fields = [field.name for field in dataclasses.fields(Difference)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", *(f"{key}_{name}" for key in _METRICS for name in ("error", *fields))])
    for row in results.rows:
        values: list[Any] = [row.method.name]
        for error, difference in _by_metric(row):
            values += [error, *(dataclasses.astuple(difference) if difference else [None] * len(fields))]
        writer.writerow(values)
    return text.getvalue()


def as_json(results: Results) -> str:
    """All results, with hashes of files and versions."""
    task = results.task
    content = {
        "format": 1,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {**versions(), **{name.lower(): metadata.version(name) for name in ("torchvision", "Pillow")}},
        "device": results.device,
        "images": results.images,
        "labels": str(task.labels),
        "classifier": {
            "name": task.classifier,
            "weights": task.classifier_weights.name,
            "sha256": results.classifier_sha256,
            "classes": results.classes,
        },
        "protocol": {"resize": task.view.resize, "crop": task.view.crop, "degradation": "BI", "scale": task.scale},
        "methods": [_entry(row) for row in results.rows],
        "remarks": results.remarks,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _entry(row: Row) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": row.method.name,
        "weights": row.method.weights and row.method.weights.name,
        "sha256": row.method.sha256,
    }
    for key, (error, difference) in zip(_METRICS, _by_metric(row), strict=True):
        entry[f"{key}_error"] = error
        entry[f"{key}_minus_bicubic"] = difference and dataclasses.asdict(difference)
    return entry


def _by_metric(row: Row) -> list[tuple[float, Difference | None]]:
    return [(row.top1, row.top1_difference), (row.top5, row.top5_difference)]


def _cells(row: Row, escape: bool = True) -> list[str]:
    name = row.method.name
    cells = [name.replace("|", "\\|").replace("_", "\\_").replace("*", "\\*") if escape else name]
    for error, difference in _by_metric(row):
        cells.append(f"{100 * error:.2f}")
        if difference is None:
            cells += ["", ""]
        else:
            value, low, high = (
                f"{100 * number:+.2f}" for number in (difference.value, difference.low, difference.high)
            )
            cells += [f"{value} ({low} to {high})", f"{difference.p:.2g}"]
    return cells


def _protocol(results: Results) -> str:
    task = results.task
    side = task.view.crop // task.scale
    return (
        f"{results.images} images, {task.view}, to {side}x{side} by BI x{task.scale}, enlarged to 8 bits; "
        f"{task.classifier} ({task.classifier_weights.name}). Differences: Newcombe's paired interval; p: McNemar's "
        "exact test."
    )
