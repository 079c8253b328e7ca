"""Measure everything that needs a GPU, in one command without internet: tests, training, inference, the training loop.

    python benchmarks/gpu.py                                  # 8 minutes on a machine with one GPU
    python benchmarks/gpu.py --only train inference --minutes 5
    python benchmarks/gpu.py --only runs --out results/card   # real training runs; a second call resumes them
    python benchmarks/gpu.py --dry-run                        # tiny networks, also without a GPU, to test the command

Needs torch, torchvision, BasicSR, addict, lmdb, yapf and this project (`pack.py` packs them for a machine without
network); with spandrel, traiNNer-redux's network is measured too. Rows are measured in worker processes with a time
limit for each row. Results are written at once: OUT/PART.jsonl, and the report OUT/gpu.md, which without --out is
benchmarks/gpu.md (the JSON lines then go to results/gpu). If the command is stopped, the report has what was measured.

Exit code: 0; 1 if a row failed or a file cannot be written; 2 if there is no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import ROOT, command_line
from benchmarks.gpu_parts import report
from benchmarks.gpu_parts.rows import ALL_PARTS, PARTS, Job, Row, jobs
from rcan_plugin._files import naming, report_uncaught, written_beside

START_LIMIT = 90.0
"""Seconds that a worker may take until its first row, for imports and the data of the loop."""

OUT_OF_TIME = "out of time"

LEAST = 12.0
"""A row is not begun with less than these seconds left."""


class NoGpuError(Exception):
    """There is no GPU."""


class Benchmark:
    """One run.

    Args:
        out: folder of the JSON lines and of the workers' output.
        report_file: the Markdown report.
        seconds: time for all.
    """

    def __init__(self, plan: Sequence[Job], out: Path, report_file: Path, seconds: float, dry_run: bool) -> None:
        self.plan, self.out, self.report_file, self.dry_run = plan, out, report_file, dry_run
        self.seconds, self.began = seconds, time.monotonic()
        self.date = datetime.datetime.now().isoformat(" ", "minutes")
        self.machine: dict[str, Any] = {}
        self.results: dict[tuple[str, str], dict[str, Any]] = {}
        self.worker: subprocess.Popen[bytes] | None = None
        for part in {job.part for job in plan}:
            (out / f"{part}.jsonl").unlink(missing_ok=True)

    @property
    def left(self) -> float:
        """Seconds left for all."""
        return self.began + self.seconds - time.monotonic()

    def run(self) -> None:
        """Measure all jobs, then what did not fit into a job's share, and write the report all along."""
        for use_shares in (True, False):
            for job in self.plan:
                rows = [row for row in job.rows if self._unfinished(row)]
                if rows:
                    share = job.share * self.seconds if use_shares else self.left
                    self._run_job(job.part, rows, min(share, self.left))
                    self.write_report()

    def _unfinished(self, row: Row) -> bool:
        return (row.part, row.id) not in self.results or self.results[row.part, row.id].get("reason") == OUT_OF_TIME

    def _run_job(self, part: str, rows: list[Row], seconds: float) -> None:
        end = time.monotonic() + seconds
        while rows:
            if end - time.monotonic() < LEAST:
                for row in rows:
                    if self._status(row) != "stopped":  # in an earlier try, whose values stay
                        self._set(part, row.id, "not run", reason=OUT_OF_TIME)
                return
            rows = self._run_worker(part, rows, end)

    def _run_worker(self, part: str, rows: list[Row], end: float) -> list[Row]:
        """Measure rows in one process. Returns the rows that are left if the process ends or is stopped."""
        results_file = self.out / f"{part}.jsonl"
        position = results_file.stat().st_size if results_file.exists() else 0
        with tempfile.TemporaryDirectory(prefix="rcan_gpu_", ignore_cleanup_errors=True) as folder:
            command = [sys.executable, "-m", "benchmarks.gpu_parts.worker", part, "--results", str(results_file)]
            command += ["--seconds", f"{end - time.monotonic():.1f}", *(["--dry-run"] if self.dry_run else [])]
            command += ["--rows", *(row.id for row in rows)]
            if not self.machine:
                command.append("--describe")
            # A cold compile cache for every worker.
            environment = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
                "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
                "TRITON_CACHE_DIR": f"{folder}/triton",
                "TMPDIR": folder,
            }
            if self.dry_run:
                environment["OMP_NUM_THREADS"] = "1"  # more threads do not help tiny networks
            with (self.out / "workers.log").open("ab") as log:
                self.worker = subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
            try:
                stopped = self._watch(rows, results_file, position, end)
            finally:
                self.stop_worker()
        left = [row for row in rows if self._status(row) in ("", "started", "partial", "not run")]
        current = next((row for row in left if self._status(row) in ("started", "partial")), None)
        if current is None and not stopped and left:
            current = left[0]  # the worker ended before its first row
        if current is not None:
            reason = stopped or f"its process ended with exit code {self.worker.returncode}"
            self._set(part, current.id, "stopped" if stopped else "failed", reason=reason)
            left.remove(current)
        elif stopped:
            self._set(part, left[0].id, "stopped", reason=stopped)
            del left[0]
        return left

    def _watch(self, rows: list[Row], results_file: Path, position: int, end: float) -> str:
        """Read results until the worker ends. Returns why it must be stopped, or an empty text."""
        limits = {row.id: row.limit for row in rows}
        current, limit, deadline = "", START_LIMIT, time.monotonic() + START_LIMIT
        assert self.worker is not None
        while True:
            ended = self.worker.poll() is not None
            position, lines = _read_lines(results_file, position)
            for line in lines:
                if line["status"] == "machine":
                    self.machine = line["machine"]
                    if not self.machine["gpu"] and not self.dry_run:
                        raise NoGpuError
                    continue
                if line["status"] == "started":
                    current, limit = line["row"], limits[line["row"]]
                    deadline = time.monotonic() + limit
                self._set(line["part"], line["row"], line["status"], **{k: v for k, v in line.items() if k not in KEYS})
                if line["status"] not in ("started", "partial"):
                    self._show(line)
                if line["status"] != "started":
                    self.write_report()
            if ended:
                return ""
            now = time.monotonic()
            if now > end and current:
                return OUT_OF_TIME
            if now > min(deadline, end):
                return f"not ended after {limit:.0f} s" if current else "the worker did not start in time"
            time.sleep(0.1)

    def _status(self, row: Row) -> str:
        return str(self.results.get((row.part, row.id), {}).get("status", ""))

    def _set(self, part: str, row: str, status: str, **values: Any) -> None:
        """Note a row's state. What is known of the row from before is kept, unless it starts anew."""
        known = {} if status == "started" else self.results.get((part, row), {})
        self.results[part, row] = {**known, **values, "status": status}
        if status in ("stopped", "not run") or (status == "failed" and "warnings" not in values):
            line = {"part": part, "row": row, "status": status, **values}
            path = self.out / f"{part}.jsonl"
            with naming(path), path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if status != "not run":
                self._show(line)

    def _show(self, line: dict[str, Any]) -> None:
        shown = ("ms", "images_per_s", "peak_gib", "first_s", "minutes", "set5")
        value = line.get("reason") or ", ".join(f"{key} {line[key]:.2f}" for key in shown if line.get(key) is not None)
        elapsed = time.monotonic() - self.began
        print(f"[{elapsed:5.0f} s] {line['part']} {line['row']}: {line['status']} {value}", flush=True)

    def stop_worker(self) -> None:
        """End the worker and its children: SIGTERM, and after five seconds SIGKILL."""
        if self.worker is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.worker.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.worker.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.worker.wait(5)

    def write_report(self) -> None:
        """Write the report of what is known now."""
        text = report.write(self.machine, command_line(), self.date, self.dry_run, self.plan, self.results)
        with written_beside(self.report_file) as beside:
            beside.write_text(text, encoding="utf-8")


KEYS = ("part", "row", "status")
HELP = f"{', '.join(PARTS)}; runs, which takes all of the time"


def _read_lines(path: Path, position: int) -> tuple[int, list[dict[str, Any]]]:
    """The complete JSON lines after a position, and the position after them."""
    if not path.exists():
        return position, []
    file: IO[bytes]
    with path.open("rb") as file:
        file.seek(position)
        content = file.read()
    complete = content[: content.rfind(b"\n") + 1]
    return position + len(complete), [json.loads(line) for line in complete.splitlines()]


def _minutes(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (minutes := float(text)) < math.inf:
            return minutes
    raise argparse.ArgumentTypeError(f"{text!r}; expected a positive number")


def main() -> int:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=_minutes, default=8.0, help="time for all (default 8)")
    parser.add_argument("--only", nargs="+", choices=ALL_PARTS, default=PARTS, metavar="PART", help=HELP)
    parser.add_argument("--dry-run", action="store_true", help="tiny networks; the figures are no measurements")
    parser.add_argument("--out", type=Path, help="folder of JSON lines, workers' output and report")
    args = parser.parse_args()
    out = args.out or (Path(tempfile.mkdtemp(prefix="rcan_gpu_dry_run_")) if args.dry_run else ROOT / "results/gpu")
    out.mkdir(parents=True, exist_ok=True)
    report_file = out / "gpu.md" if args.out or args.dry_run else ROOT / "benchmarks/gpu.md"
    (out / "workers.log").unlink(missing_ok=True)
    plan = jobs(args.only, args.dry_run)
    benchmark = Benchmark(plan, out.resolve(), report_file.resolve(), args.minutes * 60, args.dry_run)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        benchmark.run()
    except NoGpuError:
        print("There is no GPU that torch can use. `--dry-run` tries the command without one.", file=sys.stderr)
        return 2
    finally:
        benchmark.stop_worker()
        if benchmark.machine.get("gpu") or args.dry_run:
            benchmark.write_report()
    print(f"Report: {report_file}", flush=True)
    return int(any(result["status"] == "failed" for result in benchmark.results.values()))


if __name__ == "__main__":
    report_uncaught()
    sys.exit(main())
