"""Programs in forked processes: seconds faster than new Pythons. `fork_server.py` is the other side."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent

THIRD_PARTY = (
    "torch._dynamo", "torch.distributed.nn", "torch.utils.tensorboard", "torchvision", "cv2", "lmdb", "scipy.stats",
    "skimage", "requests", "setuptools", "tqdm", "yaml",
)  # fmt: skip
"""Most of the time of `import basicsr`, of an optimizer's first step and of DistributedDataParallel. None of them
imports BasicSR or the plugin."""

READ_AT_START = ("PYTHON", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "LD_", "TRITON_INTERPRET")
HONOURED = ("PYTHONPATH", "PYTHONUNBUFFERED")
"""Variables that Python and the packages read once, but for those that a fork can honour as well."""

MAIN = "import rcan_plugin.cli.train; rcan_plugin.cli.train.main()"

TIMEOUT = 300  # seconds, of any run; the longest takes some 20 on idle cores


def start_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a fork cannot honour."""
    return {key: value for key, value in environment.items() if key.startswith(READ_AT_START) and key not in HONOURED}


def usual_environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """This process's environment without warnings, changed; None removes a variable."""
    changed = {**os.environ, "PYTHONWARNINGS": "ignore", **(changes or {})}
    return {name: value for name, value in changed.items() if value is not None}


class Popen(subprocess.Popen):
    """As `subprocess.Popen`; commands of this Python are run by a server of `fork_server.py` where it can.

    It cannot if Python gets other options than `-u`, `-c` and `-m`, or `start_settings` differ, or there is a
    `sitecustomize.py`. `through` gives the class of a server.
    """

    address: str
    settings: Mapping[str, str]
    nested: bool
    connection: socket.socket | None = None

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest):  # type: ignore[override]
        command = [args] if isinstance(args, str | os.PathLike) else list(args)
        environment = dict(os.environ if env is None else env)
        folder = Path(cwd or Path.cwd()).absolute()
        shell, handles, session = rest[2], rest[3:9], rest[14]
        if shell or preexec_fn or not self.can_fork(command, folder, environment):
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest)
            return
        request = {
            "arguments": [os.fspath(one) for one in command[1:]], "folder": str(folder), "environment": environment,
            "session": bool(session), "nested": self.nested, "address": self.address, "settings": self.settings,
        }  # fmt: skip
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(self.address)
        p2cread, _, _, c2pwrite, _, errwrite = handles
        streams = [given if given != -1 else number for number, given in enumerate((p2cread, c2pwrite, errwrite))]
        socket.send_fds(self.connection, [b" "], streams)
        self.connection.sendall(json.dumps(request).encode() + b"\n")
        self.pid = int(self._line())
        self._child_created = True
        self._close_pipe_fds(*handles)

    def can_fork(self, command, folder: Path, environment: Mapping[str, str]) -> bool:
        """Whether a fork of the server does what a new Python would."""
        if str(command[0]) != sys.executable or len(command) < 2:
            return False
        options = [str(one) for one in command[1:3]]
        what = options[1] if options[0] == "-u" else options[0]
        paths = environment.get("PYTHONPATH", "").split(os.pathsep)
        return (
            (what in ("-c", "-m") or not what.startswith("-"))
            and start_settings(environment) == self.settings
            and not any((folder / path / "sitecustomize.py").exists() for path in paths)
        )

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            piece = self.connection.recv(1)
            assert piece, "the server ended"
            line += piece
        return line

    def _ended(self, timeout: float | None) -> bool:
        """Note the exit status if it comes within some seconds."""
        if not select.select([self.connection], [], [], timeout)[0]:
            return False
        status = self.connection.recv(64)
        self.connection.close()
        self._handle_exitstatus(int(status) if status else signal.SIGKILL)
        return True

    def _internal_poll(self, *args, **more):
        if self.connection is None:
            return super()._internal_poll(*args, **more)
        if self.returncode is None:
            self._ended(0)
        return self.returncode

    def _wait(self, timeout):
        if self.connection is None:
            return super()._wait(timeout)
        if self.returncode is None and not self._ended(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode


def through(address: str, settings: Mapping[str, str], nested: bool = False) -> type[Popen]:
    """`Popen` of one server.

    Args:
        address: of the server.
        settings: `start_settings` that the server was started with.
        nested: the programs start their own programs in the same way.
    """
    return type("Popen", (Popen,), {"address": address, "settings": settings, "nested": nested})


class Server:
    """A running server.

    Args:
        modules: what it imports.
        popen: starts it: by default as a new Python.
        environment: what differs from this process's environment.
    """

    def __init__(
        self, *modules: str, environment: Mapping[str, str | None], popen: type[subprocess.Popen] = subprocess.Popen
    ) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="forks")
        self.address = f"{self.folder.name}/socket"
        own = usual_environment({"PYTHONPATH": None, "PYTHONUNBUFFERED": None, **environment})
        self.settings = start_settings(own)
        command = [sys.executable, "-m", "tests.fork_server", str(os.getpid()), *modules]
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen(64)
            self.process = popen(command, cwd=ROOT, env=own, stdin=listener)

    def popen(self, nested: bool = False) -> type[Popen]:
        """The class that starts programs by this server."""
        return through(self.address, self.settings, nested)

    def end(self) -> None:
        """End it. Programs that it started go on."""
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


class Run:
    """A started run; its output goes to `log`."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process, self.pid, self.log = process, process.pid, log

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

    def ends(self, code: int = 0, timeout: float = TIMEOUT) -> str:
        """Wait for its end, check its exit code, and return its output."""
        exit_code = self.process.wait(timeout)
        self.kill()
        assert exit_code == code, f"exit code {exit_code}\n{self.text}"
        return self.text


class Forks:
    """The servers, each started when it is first needed, and the runs, all of which end with it."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.servers: list[Server] = []

    @functools.cached_property
    def programs(self) -> Server:
        """Has imported neither BasicSR nor the plugin."""
        self.servers.append(Server(*THIRD_PARTY, environment={"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}))
        return self.servers[-1]

    @functools.cached_property
    def trainings(self) -> Server:
        """Has imported `rcan_plugin.cli.train`; BasicSR knows the plugin."""
        modules = ("basicsr.train", "rcan_plugin.cli.train")
        self.servers.append(Server(*modules, environment={}, popen=self.programs.popen()))
        return self.servers[-1]

    def start(
        self, folder: Path, *arguments: str, hook: str = "", env: Mapping[str, str] | None = None, program: str = ""
    ) -> Run:
        """Start `rcan_plugin.cli.train`, or the program at a path, in a folder, with the plugin imported already.

        Args:
            folder: current folder of the run.
            arguments: of the command line.
            hook: Python code executed before it.
            env: added to the environment.
            program: path of the other program.
        """
        main = f"import runpy; runpy.run_path({program!r}, run_name='__main__')" if program else MAIN
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-c", f"{hook}\n{main}\n", *arguments]
        return self.process(folder, *command, env={"PYTHONPATH": paths, **(env or {})}, popen=self.trainings.popen())

    def process(
        self,
        folder: Path,
        *command: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        popen: type[subprocess.Popen] = subprocess.Popen,
    ) -> Run:
        """Start any program, in a process group of its own; by default without a server."""
        log = folder / f"log{len(self.runs)}.txt"
        with log.open("w") as out:
            child = popen(
                command, cwd=folder, env=usual_environment(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        self.runs.append(Run(child, log))
        return self.runs[-1]

    def end(self) -> None:
        """Kill all runs and the servers."""
        for run in self.runs:
            run.kill()
        for server in reversed(self.servers):
            server.end()
