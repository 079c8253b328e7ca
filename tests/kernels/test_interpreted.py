"""Runs `interpreted.py` in a process of its own: Triton reads `TRITON_INTERPRET` once, when kernels are imported."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT, Run

pytest.importorskip("triton")


def test_kernels_in_the_interpreter(run: Run) -> None:
    command = ("-m", "pytest", "-x", "-p", "no:cacheprovider", "tests/kernels/interpreted.py")
    done = run(*command, cwd=ROOT, env={"TRITON_INTERPRET": "1", "PYTEST_ADDOPTS": "", "PYTEST_XDIST_WORKER": None})
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
