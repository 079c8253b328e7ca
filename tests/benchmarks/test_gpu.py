"""`benchmarks/gpu.py`: the dry run of all parts; time limits, crashes and the report, with workers of the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu_parts import report
from benchmarks.gpu_parts.rows import PARTS, Job, Row, jobs
from tests.forks import Forks

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks/gpu.py"


def test_a_dry_run_goes_through_all_parts(tmp_path: Path, forks: Forks) -> None:
    before = (ROOT / "benchmarks/gpu.md").exists()
    environment = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(SCRIPT), "--dry-run", "--out", str(tmp_path)]
    said = forks.process(tmp_path, *command, env=environment, popen=forks.programs.popen(nested=True)).ends(timeout=400)
    log = (tmp_path / "workers.log").read_text()[-3000:]
    assert "Report: " in said, f"{said}\n{log}"
    statuses: dict[tuple[str, str], dict[str, object]] = {}
    for part in PARTS:
        for line in (tmp_path / f"{part}.jsonl").read_text().splitlines():
            result = json.loads(line)
            statuses[part, result["row"]] = result
    rows = [row for job in jobs() for row in job.rows]
    assert {(row.part, row.id) for row in rows} <= statuses.keys()
    for row in rows:
        result = statuses[row.part, row.id]
        assert result["status"] == "ok" or (result["status"] == "not available" and result["reason"]), result
    for part, row_id in (("train", "x4/shipped"), ("train", "x4/eager"), ("train", "swinir/eager"),
                         ("inference", "960x540x2/fp32"), ("loop", "x4/stock")):  # fmt: skip
        milliseconds = statuses[part, row_id]["ms"]
        assert isinstance(milliseconds, float) and milliseconds > 0
    kill = statuses["loop", "x4/kill"]
    assert 1 <= kill["resumed_at"] <= kill["killed_at"] == kill["ended_at"] - 1 and kill["killed_at"] >= 2
    assert "needs a GPU" in str(statuses["train", "x4/shipped_graph"]["reason"])
    text = (tmp_path / "gpu.md").read_text()
    assert text.startswith("# DRY RUN") and "No figure below is a measurement" in text
    assert all(row.title in text for row in rows if row.part != "tests")
    assert (ROOT / "benchmarks/gpu.md").exists() == before
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) <= 8


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "ten"])
def test_a_time_that_is_none_is_refused(
    minutes: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--minutes", minutes])
    with pytest.raises(SystemExit):
        gpu.main()
    assert f"argument --minutes: {minutes!r}; expected a positive number" in capsys.readouterr().err


def test_without_a_gpu_it_prints_a_message_and_writes_no_report(tmp_path: Path, forks: Forks) -> None:
    environment = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(SCRIPT), "--only", "tests", "--out", str(tmp_path)]
    said = forks.process(tmp_path, *command, env=environment, popen=forks.programs.popen(nested=True)).ends(2)
    assert "--dry-run" in said
    assert not (tmp_path / "gpu.md").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_message(tmp_path: Path, forks: Forks) -> None:
    (tmp_path / "gpu.md.part").symlink_to("/dev/full")
    arguments = ["--only", "tests", "--dry-run", "--minutes", "0.001", "--out", str(tmp_path)]
    command = [sys.executable, str(SCRIPT), *arguments]
    environment = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    said = forks.process(tmp_path, *command, env=environment, popen=forks.programs.popen(nested=True)).ends(1)
    assert said.splitlines()[-1].startswith(f"{tmp_path}/gpu.md: no space left on device") and "Traceback" not in said


WORKER = """
import sys, time
from pathlib import Path
from benchmarks.gpu_parts.results import Results
results = Results(Path(sys.argv[1]), "train")
results.write("machine", machine={"gpu": "Card", "memory_gib": 80.0, "cuda": "13.0", "host": "host",
                                  "python": "3.12", "versions": {"torch": "2.11"}, "commit": "abc"})
for row in sys.argv[2:]:
    results.row = row
    results.write("started")
    action = row.split("/")[1]
    if action == "crash":
        sys.exit(7)
    if action == "hang":
        results.write("partial", first_s=1.5)
        time.sleep(60)
    results.write("ok", ms=10.0, images_per_s=1600.0, warnings=["a warning"])
"""


@pytest.fixture
def run_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a benchmark whose workers are `WORKER`; rows named `crash` and `hang` do so."""
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    start = subprocess.Popen

    def popen(command: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        end = len(command) - ("--describe" in command)
        rows = command[command.index("--rows") + 1 : end]
        file = command[command.index("--results") + 1]
        return start([sys.executable, str(worker), file, *rows], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(gpu.subprocess, "Popen", popen)

    def run(keys: Sequence[str], seconds: float = 60, limit: float = 30) -> gpu.Benchmark:
        rows = tuple(Row("train", f"x4/{key}", f"title of {key}", limit) for key in keys)
        benchmark = gpu.Benchmark([Job("train", rows, 1.0)], tmp_path, tmp_path / "gpu.md", seconds, False)
        benchmark.run()
        return benchmark

    return run


def test_a_crash_costs_one_row(run_workers, tmp_path: Path) -> None:
    benchmark = run_workers(["shipped", "crash", "eager"])
    statuses = {row: result["status"] for (_, row), result in benchmark.results.items()}
    assert statuses == {"x4/shipped": "ok", "x4/crash": "failed", "x4/eager": "ok"}
    assert "exit code 7" in (tmp_path / "gpu.md").read_text()


def test_a_row_over_its_limit_is_stopped_and_keeps_what_it_had(run_workers, tmp_path: Path) -> None:
    benchmark = run_workers(["hang", "eager"], limit=4)
    assert benchmark.results["train", "x4/hang"]["status"] == "stopped"
    assert benchmark.results["train", "x4/hang"]["first_s"] == 1.5
    assert benchmark.results["train", "x4/eager"]["status"] == "ok"
    line = next(line for line in (tmp_path / "gpu.md").read_text().splitlines() if "title of hang" in line)
    assert "not ended after 4 s" in line and "1.5" in line


def test_what_does_not_fit_into_the_time_is_not_run(run_workers, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "LEAST", 4.0)
    benchmark = run_workers(["shipped", "hang", "eager"], seconds=8)
    assert benchmark.results["train", "x4/shipped"]["status"] == "ok"
    assert benchmark.results["train", "x4/hang"]["status"] == "stopped"
    assert benchmark.results["train", "x4/eager"] == {"status": "not run", "reason": "out of time"}
    assert "| title of eager | not run: out of time |" in (tmp_path / "gpu.md").read_text()


def test_ended_by_sigterm_the_report_has_what_was_measured(tmp_path: Path, forks: Forks) -> None:
    environment = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(SCRIPT), "--dry-run", "--only", "tests", "--out", str(tmp_path)]
    run = forks.process(tmp_path, *command, env=environment, popen=forks.programs.popen(nested=True))
    deadline = time.monotonic() + 300
    while not (tmp_path / "tests.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGTERM)
    run.ends(143)
    assert (tmp_path / "gpu.md").read_text().startswith("# DRY RUN")


def test_ratios_and_shares_of_the_report() -> None:
    plan = [job for job in jobs(["train"]) if job.rows[0].id.startswith("x4/")]
    shipped = {
        "status": "ok",
        "ms": 240.0,
        "images_per_s": 66.7,
        "peak_gib": 8.0,
        "step_tflop": 3.1,
        "card_tflops": 770,
    }
    graph = {**shipped, "ms": 100.0, "images_per_s": 160.0}
    ours = {
        "status": "ok",
        "ms": 40.0,
        "images_per_s": 400.0,
        "peak_gib": 3.2,
        "step_tflop": 3.08,
        "card_tflops": 770.0,
    }
    results = {
        ("train", "x4/shipped"): shipped,
        ("train", "x4/shipped_graph"): graph,
        ("train", "x4/fused_graph"): ours,
    }
    text = report.write({}, "command", "date", False, plan, results)
    line = next(line for line in text.splitlines() if "fused kernels, in a graph |" in line)
    assert line.split(" | ")[1:] == ["40.0", "400", "6.00", "2.50", "3.20", "0.40", "-", "-", "10.0% |"]


def test_jobs_begin_with_the_most_important_rows() -> None:
    order = [(row.part, row.key) for job in jobs() for row in job.rows]
    assert order[:5] == [("train", key) for key in ("shipped", "shipped_graph", "graph", "eager", "fused_graph")]
    assert list(dict.fromkeys(part for part, _ in order)) == ["train", "inference", "loop", "tests"]
    dry = jobs(dry_run=True)
    assert len(dry) == len(PARTS)
    assert sorted((row.part, row.id) for job in dry for row in job.rows) == sorted(
        (row.part, row.id) for job in jobs() for row in job.rows
    )
