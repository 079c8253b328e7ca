"""Cheap training runs: one Python process imports everything once and forks a child for each run.

Run as a program, it reads jobs from standard input, one line of JSON each, and answers each with a line.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TIMEOUT = 60  # seconds, of any run


class Run:
    """A started run; its output goes to `log`."""

    def __init__(self, pid: int, log: Path, code: Callable[[], int | None]) -> None:
        self.pid, self.log, self.code = pid, log, code

    @property
    def text(self) -> str:
        """Its output so far."""
        return self.log.read_text() if self.log.exists() else ""

    def until(self, text: str) -> None:
        """Wait until the output contains a text."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.text:
            assert time.monotonic() < deadline, f"{text!r} was never written\n{self.text}"
            time.sleep(0.002)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to it and all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def ends(self, code: int = 0) -> str:
        """Wait for its end, check its exit code, and return its output."""
        exit_code = self.code()
        self.kill()
        assert exit_code == code, f"exit code {exit_code}\n{self.text}"
        return self.text


class Forks:
    """Starts runs, and ends all of them at the end."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self.server = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(
        self, folder: Path, *arguments: str, hook: str = "", env: Mapping[str, str] | None = None, program: str = ""
    ) -> Run:
        """Start `rcan_plugin.cli.train`, or the program at a path, in a folder.

        Args:
            folder: current folder of the run.
            arguments: of the command line.
            hook: Python code executed before it.
            env: added to the environment.
            program: path of the other program.
        """
        log = folder / f"log{len(self.runs)}.txt"
        job = {"folder": str(folder), "arguments": arguments, "hook": hook, "env": dict(env or {})}
        pid = self._ask({**job, "program": program, "log": str(log)})
        run = Run(pid, log, lambda: self._ask({"wait": pid}))
        self.runs.append(run)
        return run

    def process(self, folder: Path, *command: str | os.PathLike[str], env: Mapping[str, str] | None = None) -> Run:
        """Start any program, without the server, in a process group of its own."""
        log = folder / f"log{len(self.runs)}.txt"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **(env or {})}
        with log.open("w") as out:
            child = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True
            )
        run = Run(child.pid, log, lambda: child.wait(TIMEOUT))
        self.runs.append(run)
        return run

    def _ask(self, job: Mapping[str, Any]) -> Any:
        assert self.server.stdin and self.server.stdout
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def end(self) -> None:
        """Kill all runs and the server."""
        for run in self.runs:
            run.kill()
        self.server.kill()
        self.server.wait()


def serve() -> dict[str, Any]:
    """Fork a child for each job; the function returns in the child."""
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            answer = wait(job["wait"])
        else:
            answer = os.fork()
            if answer == 0:
                os.setpgid(0, 0)
                return job
            with contextlib.suppress(OSError):
                os.setpgid(answer, answer)  # parent or child, whichever comes first
        print(json.dumps(answer), flush=True)
    os._exit(0)


def wait(pid: int) -> int | None:
    """The exit code of a child, or minus the number of the signal that ended it; None after a timeout."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def work(job: Mapping[str, Any]) -> None:
    """Run a job, in the forked child."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, handle in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(handle, number)
    os.chdir(job["folder"])
    os.environ.update(job["env"])
    sys.argv = ["train", *job["arguments"]]
    code = 0
    try:
        exec(job["hook"], {})
        if job["program"]:
            runpy.run_path(job["program"], run_name="__main__")
        else:
            rcan_plugin.cli.train.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        print(end.code, file=sys.stderr)
    except BaseException as error:
        traceback.print_exc()
        sys.last_value = error  # Python keeps it too, and with it all objects of its frames
        code = 1
    # As Python exits, but without freeing memory, which after a fork takes longer than the run.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import torch._dynamo  # the first step of an optimiser imports it
    import torch.distributed.nn  # noqa: F401  (and DistributedDataParallel this)

    import rcan_plugin

    rcan_plugin.register()
    import basicsr.train  # noqa: F401

    import rcan_plugin.cli.train

    gc.freeze()
    work(serve())
