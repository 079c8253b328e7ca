"""Runs a function in a separate process, which may crash, and which ends when this process ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from tqdm import tqdm

P = ParamSpec("P")
R = TypeVar("R")


class CrashedError(RuntimeError):
    """The process died before the function returned."""


def call_in_own_process(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function of a module in a new process and return its result. Its errors are raised here.

    The new process ends with this one, also after SIGKILL. It ignores Ctrl-C, which this process handles.

    Raises:
        CrashedError: the process died while the function ran.
        RuntimeError: no process could be started.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, function, args, kwargs), daemon=True)
    try:
        with _without_ctrl_c():  # a new process inherits the mask
            process.start()
        sender.close()  # so that the receiver notices the other's end
        try:
            receiver.recv()
        except EOFError:
            raise RuntimeError("a separate process could not be started: see above.") from None
        try:
            result, error = receiver.recv()
        except EOFError:
            raise CrashedError(f"the process that ran {function.__name__} crashed") from None
    finally:
        receiver.close()
        if process.pid is not None:
            process.kill()
            process.join()
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]


def _serve(
    sender: multiprocessing.connection.Connection, function: Callable[..., object], args: tuple, kwargs: dict
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # By default tqdm uses a lock shared by processes; if this process is killed, Python warns that it is leaked.
    tqdm.set_lock(threading.RLock())
    with contextlib.suppress(BrokenPipeError):  # the parent has ended
        sender.send("started")
        try:
            answer = function(*args, **kwargs), None
        except Exception as error:
            answer = None, error  # type: ignore[assignment]
        sender.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
