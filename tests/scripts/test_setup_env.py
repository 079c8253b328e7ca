"""The check of the Python and of the arguments before set-up, and `make setup`'s choice of a Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import setup_env

from tests.conftest import ROOT
from tests.scripts.conftest import stub


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_supported_pythons_are_accepted(minor: int) -> None:
    assert setup_env.refusal((3, minor, 1), "CPython", 64) == ""


@pytest.mark.parametrize(
    ("version", "implementation", "bits", "named"),
    [
        ((2, 7, 18), "CPython", 64, "CPython 2.7.18 (64 bits)"),
        ((3, 9, 18), "CPython", 64, "CPython 3.9.18 (64 bits)"),
        ((3, 14, 0), "CPython", 64, "CPython 3.14.0 (64 bits)"),
        ((3, 11, 9), "PyPy", 64, "PyPy 3.11.9 (64 bits)"),
        ((3, 11, 9), "CPython", 32, "CPython 3.11.9 (32 bits)"),
    ],
)
def test_a_refusal_names_the_python_and_the_remedy(
    version: tuple[int, ...], implementation: str, bits: int, named: str
) -> None:
    text = setup_env.refusal(version, implementation, bits)
    assert f"found:    {named} {sys.executable}" in text
    assert "expected: CPython 3.10, 3.11, 3.12 or 3.13 (64 bits)" in text
    assert "make setup PYTHON=python3.12" in text


@pytest.fixture(scope="module")
def others() -> list[str]:
    """Pythons on this machine that start and are not supported."""
    names = ["python2.7", *(f"python3.{minor}" for minor in (5, 6, 7, 8, 9, 14, 15))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    paths = {shutil.which(name) for name in names} | {
        str(path) for name in names for path in pyenv.glob(f"*/bin/{name}")
    }
    pythons = sorted(
        path for path in paths if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0
    )
    if not pythons:
        pytest.skip("no Python older than 3.10 or newer than 3.13 on this machine")
    return pythons


def test_unsupported_pythons_are_refused_without_a_traceback(others: list[str]) -> None:
    for python in others:
        done = subprocess.run([python, ROOT / "scripts/setup_env.py"], capture_output=True, text=True)
        assert done.returncode == 1, python
        assert done.stderr.startswith("set-up stopped, nothing was changed: this Python is not supported."), done.stderr
        assert done.stdout == ""


def test_help_and_unknown_arguments_install_nothing(tmp_path: Path) -> None:
    """Without `setup_steps.py`, so that going on would be an ImportError."""
    shutil.copy(ROOT / "scripts/setup_env.py", tmp_path)
    calls: list[tuple[str, int]] = [("--help", 0), ("-h", 0), ("--fits", 0), ("--fit", 2), ("--fits --force", 2)]
    for arguments, status in calls:
        command = [sys.executable, "setup_env.py", *arguments.split()]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == status, (arguments, done.stderr)
        assert ("usage: " in done.stdout) == ("h" in arguments and not status), arguments
        if status:
            assert "usage: " in done.stderr and f"nothing was changed: unknown: {arguments}\n" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["setup_env.py"]


def test_help_needs_no_supported_python(others: list[str]) -> None:
    for python in others:
        done = subprocess.run([python, ROOT / "scripts/setup_env.py", "--help"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), python
        assert done.stdout == setup_env.USAGE, python


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `make setup` in `folder` with the Pythons in its `bin`; its set-up only prints which of them runs it."""
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "scripts/setup_env.py", folder / "scripts")
    (folder / "scripts/setup_steps.py").write_text("import os\ndef main(): print('set up by', os.environ['NAME'])\n")
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/sh").symlink_to("/bin/sh")
    program = shutil.which("make")
    assert program
    environ = {"PATH": str(folder / "bin")}
    return subprocess.run([program, "setup", *arguments], cwd=folder, env=environ, capture_output=True, text=True)


def test_make_skips_pythons_that_do_not_start_or_are_unsupported(tmp_path: Path) -> None:
    stub(tmp_path / "bin/python3", "echo 'pyenv: python3: command not found' >&2; exit 127")
    stub(tmp_path / "bin/python3.13", "exit 1")
    stub(tmp_path / "bin/python3.12", f'NAME=python3.12 exec {sys.executable} "$@"')
    stub(tmp_path / "bin/python3.11", f'NAME=python3.11 exec {sys.executable} "$@"')
    done = make(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "set up by python3.12\n", "")


def test_make_prefers_the_python_of_an_existing_venv(tmp_path: Path) -> None:
    stub(tmp_path / "bin/python3", f'NAME=python3 exec {sys.executable} "$@"')
    stub(tmp_path / ".venv/bin/python", f'NAME=venv exec {sys.executable} "$@"')
    assert make(tmp_path).stdout == "set up by venv\n"


def test_make_says_that_no_python_starts(tmp_path: Path) -> None:
    done = make(tmp_path, "PYTHON=/nowhere/python3")
    assert done.returncode == 2
    assert "set-up stopped: no Python starts (tried: /nowhere/python3)." in done.stderr
    assert "make setup PYTHON=/path/to/python3.12" in done.stderr
