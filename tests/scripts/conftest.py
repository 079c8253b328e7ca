"""Set-up tests: stubs for the slow steps. Nothing is installed, and no network is needed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

import setup_steps

VERSION = "{}.{}".format(*sys.version_info)


def stub(path: Path, script: str) -> Path:
    """Write a shell script in place of a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a `.venv` that counts as complete."""
    (tmp_path / "setup.py").write_text("needs = ['torch']\n")
    stub(tmp_path / ".venv/bin/python", f"echo {VERSION}")
    (setup_steps.site_packages(tmp_path / ".venv") / "basicsr").mkdir(parents=True)
    setup_steps.write_stamp(tmp_path)
    return tmp_path
