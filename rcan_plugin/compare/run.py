"""Compares methods on test sets: `compare(option_file)`."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcan_plugin._files import require_writable
from rcan_plugin.compare import data, explain, metrics, page, plots, report, tables
from rcan_plugin.compare.cache import Cache, outputs_key, versions, write_text
from rcan_plugin.compare.data import LowResolution, SetAtScale
from rcan_plugin.compare.entrants import Entrant
from rcan_plugin.compare.plan import Plan, make_plan
from rcan_plugin.compare.published import published
from rcan_plugin.compare.spec import Spec, read_spec
from rcan_plugin.compare.work import Task, Worker
from rcan_plugin.options.mistakes import Mistake, Mistakes

RESULTS = "results.json"
MADE = ("table.md", "table.csv", "table.tex", "index.html")
"""Files made from `results.json`. (Plots, which need matplotlib, are not listed.)"""


@dataclass(frozen=True)
class Report:
    """A report on disk.

    Attributes:
        folder: folder of `results.json`, pictures, tables, plots and the page.
        results: content of `results.json`.
        is_new: false if the same results existed before.
    """

    folder: Path
    results: Mapping[str, Any]
    is_new: bool = True


def compare(
    spec: Plan | Spec | str | os.PathLike[str] | Mapping[str, Any],
    *,
    available: bool = False,
    say: Callable[[str], object] = lambda line: None,
    before_work: Callable[[], object] = lambda: None,
) -> Report:
    """Compare methods on test sets and write the report.

    Results are written to the folder `cache` of the report at once, so that a stopped comparison can be resumed. What
    has not changed (content of images and weights, options, versions) is not computed again.

    Args:
        spec: an option file, its content, a `Spec`, or a `Plan`.
        available: leave out weights, pictures and test sets that are not on this machine.
        say: called with lines about what is left out.
        before_work: called if there is work, before BasicSR is imported: `rcan_plugin.register`, if the plugin is not
            loaded at `import torch`.

    Raises:
        Mistakes: all wrong options, and everything that is missing or does not fit; raised before any work.
        ValueError: an image cannot be read, or a network's result is not finite or of the wrong size.
        OSError: files cannot be read or written.
    """
    plan = spec if isinstance(spec, Plan) else make_plan(spec if isinstance(spec, Spec) else read_spec(spec), available)
    spec = plan.spec
    device = choose_device(spec)
    require_writable("out", spec.out)
    for line in plan.left_out:
        say(f"left out: {line}")
    comparison = _Comparison(plan, device, before_work)
    results = comparison.results()
    is_new = _write_results(spec.out / RESULTS, results)
    key, table = outputs_key(results), comparison.cache.table("outputs")
    made = all((spec.out / name).exists() for name in MADE)
    if comparison.worker.did_work or not made or table.get("key") != key:
        say("writing tables, plots and the page")
        for write in (tables.write, plots.write, page.write):
            write(spec.out)
        table.put("key", key)
    return Report(spec.out, results, is_new)


class _Comparison:
    def __init__(self, plan: Plan, device: str, before_work: Callable[[], object]) -> None:
        self.plan, self.spec, self.device = plan, plan.spec, device
        self.cache = Cache(plan.spec.out / "cache", [])
        self.worker = Worker(plan, self.cache, self.device, before_work)

    def results(self) -> dict[str, Any]:
        """Measure what is not in the cache, and return the content of `results.json`."""
        described = {name: self._describe(name) for name in self.spec.metrics}
        rows = list(self.plan.rows())
        tasks = {
            (entrant.key + entrant.method.id, test_set.id): self._tasks(entrant, test_set) for entrant, test_set in rows
        }
        sets = {test_set.id: test_set for _, test_set in rows}
        low = {test_set.id: self._low_resolution(test_set) for test_set in sets.values()}
        costs: dict[str, dict[str, Any]] = {}
        self.worker.check([task for of_row in tasks.values() for task in of_row])
        for scale in self.plan.sets:
            of_scale = [
                task for (_, set_id), of_row in tasks.items() for task in of_row if task.test_set.scale == scale
            ]
            self.worker.do(of_scale)
            costs |= self._costs([e for e in self.plan.entrants[scale] if e.method.kind == "network"])
        entries = []
        for entrant, test_set in rows:
            of_row = tasks[entrant.key + entrant.method.id, test_set.id]
            entries.append(self._row(entrant, test_set, of_row, low[test_set.id]))
        report.mark_protocols(entries, {method.id: method.kind for method in self.spec.methods})
        used = {(entrant.method.id, entrant.scale): entrant for entrant, _ in rows}
        return {
            "format": report.FORMAT,
            "title": self.spec.title,
            "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "versions": versions() | {"python": platform.python_version()},
            "device": self._device_text(),
            "methods": report.method_entries(used.values(), costs),
            "sets": [report.set_entry(test_set, low[test_set.id]) for test_set in sets.values()],
            "rows": entries,
            "metrics": described,
            "left_out": self.plan.left_out,
        }

    def _describe(self, name: str) -> dict[str, Any]:
        table = self.cache.table("metrics")
        if (known := table.get(name)) is None:
            known = metrics.describe(name)
            table.put(name, known)
        description: dict[str, Any] = known
        return description

    def _tasks(self, entrant: Entrant, test_set: SetAtScale) -> list[Task]:
        figure = published(entrant.method.published, test_set.name, _papers_kind(test_set), test_set.scale)
        others = self.spec.explain and figure is not None and "psnr" in self.spec.metrics
        return [
            Task(entrant, test_set, image, self.spec.metrics, others, self.spec.pictures) for image in test_set.images
        ]

    def _row(self, entrant: Entrant, test_set: SetAtScale, tasks: Sequence[Task], low: LowResolution) -> dict[str, Any]:
        protocol = self.worker.protocol(test_set.scale)
        entry = report.row(entrant, test_set, protocol, {task.image.name: self.worker.values(task) for task in tasks})
        entry["marks"] += low.marks
        figure = published(entrant.method.published, test_set.name, _papers_kind(test_set, low), test_set.scale)
        difference = report.add_published(entry, figure)
        if difference is not None and figure is not None and self.spec.explain:
            entry["explanation"] = explain.explanation(self.worker, tasks, low, figure.psnr, difference)
        return entry

    def _low_resolution(self, test_set: SetAtScale) -> LowResolution:
        if test_set.recipe is not None:
            return data.low_resolution(test_set)
        table = self.cache.table("identified")
        if (known := table.get(test_set.key)) is None:
            known = data.as_json(data.low_resolution(test_set))
            table.put(test_set.key, known)
        return data.from_json(known)

    def _costs(self, entrants: Sequence[Entrant]) -> dict[str, dict[str, Any]]:
        """Parameters, multiply-adds, latency and memory of the networks of a scale, measured together."""
        table = self.cache.table("costs", [e.key for e in entrants], self.spec.latency, self.device, os.cpu_count())
        if entrants and any(table.get(entrant.key) is None for entrant in entrants):
            from rcan_plugin.compare import costs

            upscalers = {entrant.key: self.worker.network(entrant) for entrant in entrants}
            found = {
                key: {"network": type(upscaler.net).__name__, **costs.counts(upscaler)}
                for key, upscaler in upscalers.items()
            }
            if self.spec.latency:
                for key, measured in costs.latencies(upscalers, self.device):
                    found[key] |= measured
            for key, known in found.items():
                table.put(key, known)
        return {entrant.key: table.get(entrant.key) for entrant in entrants}

    def _device_text(self) -> str:
        table = self.cache.table("device", self.device, os.cpu_count())
        if table.get("text") is None:
            from rcan_plugin.compare import costs

            table.put("text", costs.describe_device(self.device))
        return str(table.get("text"))


def _papers_kind(test_set: SetAtScale, low: LowResolution | None = None) -> str | None:
    """The degradation whose published figures a set is compared with; BI if the LR images are not those of a paper."""
    if test_set.recipe is not None:
        return test_set.recipe.degradation.kind
    return "BI" if low is None else low.kind or "BI"


def choose_device(spec: Spec) -> str:
    """Return the device: for `auto`, `cuda` if there is a usable GPU, otherwise `cpu`.

    For `auto` and `cpu`, torch is not imported on a machine without a GPU.

    Raises:
        Mistakes: torch does not know the device, or this machine lacks it.
    """
    if spec.device == "cpu":
        return spec.device
    if spec.device != "auto":
        from rcan_plugin.inference import precision

        try:
            return str(precision.choose_device(spec.device))
        except ValueError as error:
            raise Mistakes([Mistake(("device",), str(error).removeprefix("device "))], spec.lines) from None
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg")):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _write_results(path: Path, results: dict[str, Any]) -> bool:
    """Write `results.json` unless it holds the same results already. Returns whether it was written."""
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        old = None
    new = json.loads(json.dumps(results))
    if isinstance(old, dict) and {**old, "created": ""} == {**new, "created": ""}:
        return False
    write_text(path, json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return True
