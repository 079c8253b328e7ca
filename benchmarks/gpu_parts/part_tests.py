"""Runs the tests marked `gpu` with pytest. In a dry run they are collected only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT
from benchmarks.gpu_parts.results import NotAvailableError, Results

OUTCOMES = "RCAN_BENCHMARK_OUTCOMES"
"""Environment variable: the file to which `pytest_outcomes` appends a line per test."""


def measure(row: str, dry_run: bool, progress: Results) -> dict[str, Any]:
    """Counts by outcome, and the text of failures; a partial result is written every time a test ends."""
    files = [str(file) for file in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in file.read_text()]
    if not files:
        raise NotAvailableError("no test is marked gpu")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "--tb=short", "-p", "no:cacheprovider"]
    command += ["-p", "benchmarks.gpu_parts.pytest_outcomes", *files]
    if dry_run:
        command.append("--collect-only")
    with tempfile.TemporaryDirectory() as folder:
        outcomes = Path(folder) / "outcomes"
        outcomes.touch()
        environment = {**os.environ, OUTCOMES: str(outcomes)}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            lines, seen = [], 0
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line.strip())
                tests = _read(outcomes)
                if len(tests) > seen:
                    seen = len(tests)
                    progress.write("partial", **_summary(tests))
            code = process.wait()
        tests = _read(outcomes)
    last = next((line for line in reversed(lines) if line), "")
    return {**_summary(tests), "summary": last.strip("= "), "exit_code": code}


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def _summary(tests: list[dict[str, Any]]) -> dict[str, Any]:
    counts = Counter(test["outcome"] for test in tests)
    bad = [test for test in tests if test["outcome"] in ("failed", "error")]
    slow = sorted(tests, key=lambda test: -test["seconds"])[:3]
    return {
        "counts": dict(counts),
        "failures": [{"test": test["test"], "text": test["text"]} for test in bad],
        "slowest": [f"{test['test']} {test['seconds']:.1f} s" for test in slow],
    }
