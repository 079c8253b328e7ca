"""`benchmarks/gpu.py --only runs`: a dry run that is killed and goes on; curves, schedules and goals."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
import yaml

from benchmarks.gpu_parts import curves, part_runs, report_runs
from benchmarks.gpu_parts.results import NotAvailableError
from benchmarks.gpu_parts.rows import RUNS
from tests.conftest import ROOT
from tests.forks import Forks, Run

CARD = ROOT / "benchmarks/training/card"


def test_a_killed_dry_run_continues_with_its_schedule(tmp_path: Path, forks: Forks) -> None:
    plan = tmp_path / "runs/card_RCAN_x2.json"
    plan.parent.mkdir()
    plan.write_text('{"total": 120, "every": 30, "print": 10}')

    def start() -> Run:
        environment = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--only", "runs", "--dry-run", "--out", tmp_path]
        return forks.process(tmp_path, *command, env=environment, popen=forks.trainings.popen(nested=True))

    first, log, report = start(), tmp_path / "runs/card_RCAN_x2.txt", tmp_path / "gpu.md"
    deadline = time.monotonic() + 300
    while "| 30 | " not in (report.read_text() if report.exists() else ""):  # the first validation
        assert time.monotonic() < deadline and first.process.poll() is None, first.text
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGTERM)
    first.ends(143)
    stopped = re.search(r"saved at iteration (\d+)", log.read_text())
    assert stopped, log.read_text()[-2000:]

    said = start().ends(timeout=400)
    assert f"Resuming training from epoch: 0, iter: {stopped[1]}." in log.read_text(), said
    assert json.loads(plan.read_text())["total"] == 120
    results = {}
    for line in (tmp_path / "runs.jsonl").read_text().splitlines():
        result = json.loads(line)
        results[result["row"]] = result
    assert {row: result["status"] for row, result in results.items() if row} == {f"card/{key}": "ok" for key in RUNS}
    ours, stock, light = (results[f"card/{key}"] for key in ("ours", "stock", "light"))
    assert [point["iteration"] for point in ours["points"] if point["iteration"] % 30 == 0] == [30, 60, 90, 120]
    assert stock["points"][-1]["minutes"] >= ours["minutes"] > 0
    assert light["iterations"] == light["total"] == part_runs.TINY_TOTAL
    text = report.read_text()
    assert "| 120 of 120 |" in text and "dB above stock at the same minute: " in text
    assert "### Light RCAN x4 over time" in text and "RCAN_x2_stock.yml --force_yml" in text


LOG = """\
2026-11-27 10:00:00,000 INFO: Start training from epoch: 0, iter: 0
2026-11-27 10:00:30,000 INFO: [RCAN..][epoch:  0, iter:      10, lr:(1.0e-04,)] l_pix: 1.0
2026-11-27 10:01:00,000 INFO: [RCAN..][epoch:  0, iter:   1,010, lr:(1.0e-04,)] l_pix: 1.0
2026-11-27 10:01:00,010 INFO: Saving models and training states.
2026-11-27 10:01:04,000 INFO: Validation Set5
\t # psnr: 35.0000\tBest: 35.0000 @ 1010 iter

2026-11-27 10:01:10,000 INFO: Validation Set14
\t # psnr: 31.0000\tBest: 31.0000 @ 1010 iter

2026-11-27 10:01:40,000 INFO: [RCAN..][epoch:  0, iter:   2,010, lr:(1.0e-04,)] l_pix: 1.0
2026-11-27 10:01:42,000 INFO: Validation Set5
\t # psnr: 36.0000\tBest: 36.0000 @ 2010 iter
"""
RESUMED = """\
2026-11-27 11:00:00,000 INFO: Resuming training from epoch: 0, iter: 1010.
2026-11-27 11:00:05,000 INFO: Start training from epoch: 0, iter: 1010
2026-11-27 11:00:35,000 INFO: [RCAN..][epoch:  0, iter:   2,010, lr:(1.0e-04,)] l_pix: 1.0
2026-11-27 11:00:36,000 INFO: Validation Set5
\t # psnr: 36.5000\tBest: 36.5000 @ 2010 iter
"""


def test_validations_and_pauses_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "train_20261127_100000.log").write_text(LOG)
    curve = curves.read(tmp_path)
    assert curve.points == [
        curves.Point(1.0, 1010, {"Set5": 35.0, "Set14": 31.0}), curves.Point(1.5, 2010, {"Set5": 36.0})
    ]  # fmt: skip
    assert (curve.minutes, curve.iteration, curve.seconds_per_iteration) == (1.5, 2010, 0.03)
    assert curve.validation_seconds == 2.0 + 6.0

    (tmp_path / "train_20261127_110000.log").write_text(RESUMED)
    curve = curves.read(tmp_path)
    assert curve.points[1:] == [curves.Point(2.0, 2010, {"Set5": 36.5})]  # the repeated minute counts
    assert curve.minutes == 2.0


def test_psnr_at_a_minute_is_interpolated_between_validations() -> None:
    points = [curves.Point(1.0, 50, {"Set5": 30.0}), curves.Point(3.0, 100, {"Set5": 34.0})]
    assert [curves.at(points, minute, "Set5") for minute in (0.5, 1.0, 1.5, 3.0, 3.1)] == [None, 30.0, 31.0, 34.0, None]
    assert curves.at(points, 1.5, "Set14") is None
    assert curves.at(points[:1], 1.0, "Set5") == 30.0


def test_a_schedule_ends_in_time() -> None:
    measured = curves.Curve(seconds_per_iteration=0.03, validations={"Set5": 0.5, "Set14": 1.5})
    # 180 s - 2 * 25 s - 8 * 2 s = 114 s: 3,800 iterations, of which 47 * 80 are whole lines of the log.
    assert part_runs.schedule(180, 25, measured) == {"total": 3760, "every": 470, "print": 47}
    with pytest.raises(NotAvailableError, match="50 s were left, too short"):
        part_runs.schedule(50, 25, measured)
    with pytest.raises(NotAvailableError, match="too short"):
        part_runs.schedule(180, 25, curves.Curve())


def test_goals_of_the_report() -> None:
    def values(**psnr: float) -> dict[str, object]:
        return {"points": [{"minutes": float(m[1:]), "iteration": 9, "psnr": {"Set5": v}} for m, v in psnr.items()]}

    text = "\n".join(report_runs.sections({"ours": values(m1=36.0, m2=37.6), "stock": values(m1=35.0, m3=37.0)}))
    assert "| 2.00 | 9 | 37.60 | 36.00 | +1.60 | - | - |" in text
    assert "37.53 dB at x2: reached; ours has 37.60 dB (+0.07) after 2.00 minutes" in text
    assert "at the same minute: reached; +1.60 dB after 2.00 minutes" in text
    text = "\n".join(report_runs.sections({"ours": values(m1=36.0), "stock": {}}))
    assert "not reached; ours has 36.00 dB (-1.53)" in text and "not known" in text
    assert report_runs.sections({"ours": {}, "stock": {}, "light": {}}) == []


def test_without_data_it_names_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_runs, "ROOT", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"T490/HR.lmdb does not exist: benchmarks/training/card/README.md"):
        part_runs.Run("RCAN_x2", tmp_path / "runs", False, None)  # type: ignore[arg-type]


def test_both_files_of_x2_have_the_same_data_and_measure_alike() -> None:
    ours, stock = (yaml.safe_load((CARD / f"{name}.yml").read_text()) for name in ("RCAN_x2", "RCAN_x2_stock"))
    assert ours["datasets"]["train"].pop("pin_memory")
    assert ours["datasets"] == stock["datasets"]
    assert ours["val"]["metrics"] == stock["val"]["metrics"]
    assert (stock["model_type"], stock["network_g"]["type"]) == ("SRModel", "RCAN")
    same = ("num_feat", "num_group", "num_block", "squeeze_factor", "upscale", "img_range", "rgb_mean")
    assert all(ours["network_g"][key] == stock["network_g"][key] for key in same)
