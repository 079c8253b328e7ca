"""Runs Python programs in forks of one process that has imported what takes seconds to import.

As a program: `python -m tests.fork_server OWNER MODULE ...`, with a listening socket as standard input. It imports the
modules, and for each connection runs the program that the client describes (`tests.forks.Popen`): command line, folder,
environment and the three standard streams. The client gets the process number, and at the end the exit status. The
server ends when the process OWNER has ended.

A fork differs from a new Python as little as possible: `sys.argv`, `sys.path`, `__main__`, signal handlers and the way
it ends are those of `python SCRIPT`, `python -m MODULE` and `python -c CODE`. If the server has not loaded the plugin,
the next `import torch` runs torch's entry points as the first import does.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from tests import forks

LOOK_FOR_OWNER_S = 5.0


class TorchAgain(MetaPathFinder, Loader):
    """Imports torch as if for the first time: the modules that are loaded already, then the entry points."""

    def __init__(self) -> None:
        self.modules = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "torch"}
        self.spec = self.modules["torch"].__spec__

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname == "torch" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.modules["torch"]

    def exec_module(self, module: ModuleType) -> None:
        sys.meta_path.remove(self)
        sys.modules.update(self.modules)
        module.__spec__, module.__loader__ = self.spec, self.spec and self.spec.loader
        if module._is_device_backend_autoload_enabled():
            module._import_device_backends()


def serve(listener: socket.socket, owner: int) -> tuple[dict[str, Any], list[int]]:
    """Answer requests. Returns in the forked process of each program: the request, and its standard streams."""
    running: dict[int, socket.socket] = {}
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # it wakes `select`
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the owner
    while True:
        ready, _, _ = select.select([listener, ended], [], [], LOOK_FOR_OWNER_S)
        if ended in ready:
            os.read(ended, 4096)
            tell_ends(running)
        if listener in ready:
            connection, _ = listener.accept()
            request, handles = receive(connection)
            if request is None:
                connection.close()
            elif (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                if request["session"]:
                    os.setsid()
                try:
                    connection.sendall(f"{os.getpid()}\n".encode())
                except OSError:  # the client has ended
                    os._exit(1)
                for one in (listener, connection, *running.values()):
                    one.close()
                os.close(ended)
                os.close(wake)
                return request, handles
            else:
                running[pid] = connection
            for handle in handles:
                os.close(handle)
        if not ready and not exists(owner):
            os._exit(0)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """A request, None if the client ended while it sent it, and its standard streams."""
    message, handles, *_ = socket.recv_fds(connection, 2**20, 3)
    while not message.endswith(b"\n"):
        more = connection.recv(2**20)
        if not more:
            return None, handles
        message += more
    return json.loads(message), handles


def tell_ends(running: dict[int, socket.socket]) -> None:
    """Send the status of each program that has ended to its client."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as connection, contextlib.suppress(OSError):  # the client may have ended
            connection.sendall(str(status).encode())


def run(request: Mapping[str, Any], handles: Sequence[int], base_path: Sequence[str]) -> None:
    """Become the program. Does not return."""
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["nested"]:
        subprocess.Popen = forks.through(request["address"], request["settings"], nested=True)  # type: ignore[misc]
    arguments = list(request["arguments"])
    sys.orig_argv = [sys.executable, *arguments]
    if arguments[0] == "-u":
        del arguments[0]
        os.environ["PYTHONUNBUFFERED"] = "1"
    if os.environ.get("PYTHONUNBUFFERED"):
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    more = os.environ.get("PYTHONPATH")
    sys.path[:] = [*map(os.path.abspath, more.split(os.pathsep) if more else ()), *base_path]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    if sys.dont_write_bytecode:  # not beside the sources then: each module is compiled once for all programs
        sys.dont_write_bytecode, sys.pycache_prefix = False, f"{Path(request['address']).parent}/bytecode"
    if "rcan_plugin" not in sys.modules:
        sys.meta_path.insert(0, TorchAgain())
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__.update(__builtins__=__builtins__)
    code = 0
    try:
        execute(arguments, main)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.last_value = error  # Python keeps it too, and with it all objects of its frames
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    end_process(code)


def execute(arguments: Sequence[str], main: ModuleType) -> None:
    """Execute `-c CODE`, `-m MODULE` or `SCRIPT`, each with its arguments, in the module `main`."""
    what, *more = arguments
    if what == "-c":
        sys.argv[:] = ["-c", *more[1:]]
        sys.path.insert(0, "")
        exec(compile(more[0], "<string>", "exec"), main.__dict__)
    elif what == "-m":
        sys.argv[:] = ["-m", *more[1:]]
        sys.path.insert(0, str(Path.cwd()))
        runpy._run_module_as_main(more[0])  # type: ignore[attr-defined]
    else:
        sys.argv[:] = arguments
        path = os.path.abspath(what)  # noqa: PTH100  (Path.resolve would follow links)
        sys.path.insert(0, str(Path(path).resolve().parent))
        main.__dict__.update(__file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path))
        exec(compile(Path(path).read_bytes(), path, "exec"), main.__dict__)


def end_process(code: int) -> None:
    """End as Python does, but without freeing memory, which in a fork takes longer than most programs."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or 120
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


def main(owner: int, modules: Sequence[str]) -> None:
    """The server."""
    listener = socket.socket(fileno=os.dup(0))
    base_path = sys.path[1:]
    gc.disable()
    for name in modules:
        importlib.import_module(name)
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False  # torch would unregister its operators, which takes half the time of a short program
    gc.freeze()
    gc.enable()
    run(*serve(listener, owner), base_path)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
