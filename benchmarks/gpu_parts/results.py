"""How workers hand over results: JSON lines, and errors that say why a row has none."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any


class NotAvailableError(Exception):
    """The row cannot be measured with what is installed; the text says why."""


class NeedsGpuError(NotAvailableError):
    """The row measures something that only a GPU does."""


def need_gpu(what: str) -> None:
    """Raises NeedsGpuError: there is no GPU for `what`."""
    import torch

    if not torch.cuda.is_available():
        raise NeedsGpuError(f"needs a GPU ({what})")


class Results:
    """Appends JSON lines to a file that others read meanwhile.

    Args:
        path: the file.
        part: of all lines.
        seconds: until the process is stopped.
    """

    def __init__(self, path: Path, part: str, seconds: float = math.inf) -> None:
        self.path, self.part, self.row = path, part, ""
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the process is stopped."""
        return self._end - time.monotonic()

    def write(self, status: str, **values: Any) -> None:
        """One line, complete on disk when this returns."""
        line = json.dumps({"part": self.part, "row": self.row, "status": status, **values})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
