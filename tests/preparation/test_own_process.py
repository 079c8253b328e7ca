"""What a process of its own returns, and that it does not outlive the process that started it."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rcan_plugin.preparation.own_process import CrashedError, call_in_own_process

START = """
import runpy, sys
from rcan_plugin.preparation.own_process import call_in_own_process
call_in_own_process(runpy.run_path, sys.argv[1])
"""


def ended(pid: int) -> bool:
    """Whether a process is no more, or waits for its parent to look at its exit code."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_what_the_function_returns_or_raises():
    assert call_in_own_process(os.getpid) != os.getpid()
    assert call_in_own_process(math.log, 8, 2) == 3.0
    with pytest.raises(ValueError, match="math domain error"):
        call_in_own_process(math.sqrt, -1)


def test_a_crash_is_an_error():
    with pytest.raises(CrashedError, match="the process that ran _exit crashed"):
        call_in_own_process(os._exit, 0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to look for processes")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_parent(number, tmp_path):
    child = tmp_path / "child.py"
    child.write_text("import os, time; print(os.getpid(), flush=True); time.sleep(900)")
    code = (
        "import runpy, sys; from rcan_plugin.preparation import own_process; "
        "own_process.call_in_own_process(runpy.run_path, sys.argv[1])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, child], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert not ended(pid)
        parent.send_signal(number)
        parent.communicate(timeout=300)  # ends when nobody writes to its output any more
    deadline = time.monotonic() + 300
    while not ended(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
