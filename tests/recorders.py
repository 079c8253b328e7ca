"""In place of CUDA graphs on a CPU: recording executes nothing, and a replay calls the recorded function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rcan_plugin.training import graphs


class FakeRecorder:
    """Counts what is warmed up, recorded and replayed.

    Args:
        error: raised when something is recorded, after the function has run half of its course.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.warm_ups = self.records = self.replays = self.recoveries = 0

    def warm_up(self, function: Callable[[], Any]) -> Any:
        self.warm_ups += 1
        return function()

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        self.records += 1
        if self.error:
            raise self.error

        def replay() -> None:
            self.replays += 1
            function()

        return replay

    def recover(self) -> None:
        self.recoveries += 1

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.warm_ups, self.records, self.replays


def use(recorder: FakeRecorder, monkeypatch: pytest.MonkeyPatch) -> FakeRecorder:
    """Let all models and runners that are built from now on record with it."""
    monkeypatch.setattr(graphs, "recorder_for", lambda device: recorder)
    monkeypatch.setattr("rcan_plugin.inference.runner.recorder_for", lambda device: recorder)
    return recorder
