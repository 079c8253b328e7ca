"""Messages for failed pip calls."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import setup_pip
from setup_pip import SetupError

from tests.scripts.conftest import stub

# The last lines of pip 26's error output on a machine without a name server.
NO_NAME = (
    "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NameResolutionError(\"Failed to "
    "resolve host: [Errno -3] Temporary failure in name resolution\")': /simple/pip/\n"
    "ERROR: Could not find a version that satisfies the requirement wheel (from versions: none)\n"
)


def test_no_network_is_distinguished_from_other_failures(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:9/simple")
    text = setup_pip.diagnosis(("install", "wheel"), NO_NAME, 10**12, root / "pip.log")
    assert text.startswith("pip could not reach the package index")
    assert "PIP_INDEX_URL=http://***@127.0.0.1:9/simple" in text  # without the password
    assert "it continues where this run stopped" in text

    text = setup_pip.diagnosis(("install", "wheel"), "ERROR: No matching distribution\n", 10**12, root / "pip.log")
    assert "pip failed. The call was:  pip install wheel\n  ERROR: No matching distribution\n" in text
    assert f"The whole log: {root / 'pip.log'}" in text


def test_a_full_disk_is_distinguished_from_other_failures(root: Path) -> None:
    errors = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
    assert setup_pip.diagnosis(("install",), errors, 10**12, root / "pip.log").startswith("the disk is full")
    assert setup_pip.diagnosis(("install",), "", 10**7, root / "pip.log").startswith("the disk is full (0.0 GB free")


def test_a_cut_off_download_names_both_causes(root: Path) -> None:
    errors = "x Download failed after 6 attempts because not enough bytes were received (284.4 MB/404.9 MB)\n"
    text = setup_pip.diagnosis(("install",), errors, 2 * 10**9, root / "pip.log")
    assert text.startswith("a download was cut off")
    assert f"or the disk was full (2.0 GB are free in {root} now" in text


def test_pip_itself_at_a_closed_port(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(root / ".venv/bin/python", f'exec {sys.executable} "$@"')
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(SetupError, match="pip could not reach the package index"):
        setup_pip.pip(root / ".venv", "install", "--dry-run", "--retries=1", "rcan-plugin-no-such-package")
    assert "127.0.0.1" in capsys.readouterr().err  # pip's own messages are shown
