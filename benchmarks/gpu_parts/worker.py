"""A worker process of `gpu.py`: measures rows of one part and appends a JSON line per result.

    python -m benchmarks.gpu_parts.worker PART --rows ID ... --results FILE [--seconds S] [--dry-run] [--describe]

Before each row it writes `{"row": ID, "status": "started"}`, so that the program that started it can limit each row's
time, and assign a crash to a row.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Protocol

from benchmarks.common import ROOT, version
from benchmarks.gpu_parts.results import NotAvailableError, Results


class Part(Protocol):
    """The interface of the modules `part_*`."""

    def measure(self, row: str, dry_run: bool, progress: Results) -> dict[str, Any]:
        """Measure one row. If the process is stopped meanwhile, the values passed to `progress` count."""


class Warnings(logging.Handler):
    """Collects what BasicSR's and our loggers warn of, once each."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())[:300]
        if text not in self.texts:
            self.texts.append(text)


def machine() -> dict[str, Any]:
    """Card, host and versions."""
    import torch

    gpu = torch.cuda.is_available()
    found: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1) if gpu else None,
        "cuda": torch.version.cuda,
        "host": f"{platform.system()} {platform.release()}, {os.cpu_count()} CPU cores",
        "python": platform.python_version(),
        "versions": {
            name: version(name)
            for name in ("torch", "torchvision", "triton", "basicsr", "spandrel", "numpy", "lmdb", "rcan_plugin")
        },
        "commit": _commit(),
    }
    if gpu:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            found["driver"] = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            found["driver"] = ""
    return found


def _commit() -> str:
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def main() -> int:
    """Measure the rows that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part")
    parser.add_argument("--rows", nargs="+", required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--describe", action="store_true", help="describe the machine first")
    parser.add_argument("--seconds", type=float, default=480.0, help="time for the rows")
    args = parser.parse_args()
    # `gpu.py` ends a worker by SIGTERM; this way it ends what it started and removes its files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = Results(args.results, args.part, args.seconds)
    part: Part = __import__(f"benchmarks.gpu_parts.part_{args.part}", fromlist=["measure"])
    if args.describe:
        results.write("machine", machine=machine())
    logger = logging.getLogger("basicsr")
    for row in args.rows:
        results.row = row
        results.write("started")
        warnings, began = Warnings(), time.monotonic()
        logger.addHandler(warnings)
        try:
            status, values = "ok", part.measure(row, args.dry_run, results)
        except NotAvailableError as error:
            status, values = "not available", {"reason": str(error)}
        except Exception as error:
            traceback.print_exc()
            text = " ".join(str(error).split())[:300]
            status, values = "failed", {"reason": f"{type(error).__name__}: {text}"}
        logger.removeHandler(warnings)
        results.write(status, **values, warnings=warnings.texts, took_s=round(time.monotonic() - began, 1))
        if status == "failed" and "CUDA error" in values["reason"]:
            return 1  # the CUDA context is lost: a new process measures the rest
    return 0


if __name__ == "__main__":
    sys.exit(main())
