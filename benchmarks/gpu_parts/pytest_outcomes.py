"""A pytest plugin that appends a JSON line to a file when a test ends, so that a stopped run leaves its results."""

from __future__ import annotations

import json
import os
from typing import Any

MOST_CHARACTERS = 1200
"""Of a failure's text; its end is kept."""


def pytest_runtest_logreport(report: Any) -> None:
    """Called by pytest for each phase of a test: set-up, call, tear-down."""
    if report.when != "call" and report.outcome == "passed":
        return
    outcome = "error" if report.when != "call" and report.outcome == "failed" else report.outcome
    text = report.longreprtext[-MOST_CHARACTERS:] if report.outcome == "failed" else ""
    line = {"test": report.nodeid, "outcome": outcome, "seconds": report.duration, "text": text}
    with open(os.environ["RCAN_BENCHMARK_OUTCOMES"], "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write(json.dumps(line) + "\n")
