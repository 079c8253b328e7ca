"""Runs preparations by orders read from stdin, one JSON line each, and stops them as the order says.

A program for test_nothing_lost.py: `python run_by_orders.py RESULT_FILE`. Each order has a process of its own.
"""

import collections
import contextlib
import errno
import io
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import lmdb

from rcan_plugin.degradations import Degradation
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.images.sources import find_images
from rcan_plugin.preparation import prepare as preparation
from rcan_plugin.preparation import verify, writer

steps, order, opened = 0, {}, collections.Counter()


def step(kind):
    # Before each change on disk: an LMDB's commit, and a file or folder made, renamed or removed.
    global steps
    if not order.get("counted") or order.get("only", kind) != kind:
        return
    steps += 1
    how = order.get("how")
    if how == "full" and steps >= order["at"] and kind in ("made", "commit"):
        raise OSError(errno.ENOSPC, "No space left on device") if kind == "made" else lmdb.Error("No space left")
    if steps == order.get("at"):
        if how == "interrupted":
            raise KeyboardInterrupt
        if how in ("killed", "stopped"):
            os.kill(os.getpid(), {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}[how])


def audit(event, arguments):
    if event == "open" and str(arguments[0]).startswith(order["hr"]):
        opened[Path(arguments[0]).name] += 1
    elif event == "os.mkdir" or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        step("made")
    elif event in ("os.rename", "os.remove", "os.rmdir"):
        step("other")


class Environment:
    def __init__(self, *arguments, **more):
        self.real = lmdb.open(*arguments, **more)

    def __getattr__(self, name):
        return getattr(self.real, name)

    def begin(self, **more):
        return Transaction(self.real.begin(**more))


class Transaction:
    def __init__(self, real):
        self.real = real

    def __getattr__(self, name):
        return getattr(self.real, name)

    def commit(self):
        step("commit")
        self.real.commit()


def run():
    writer.lmdb = SimpleNamespace(open=Environment, Error=lmdb.Error)
    writer.COMMIT_BYTES = order["commit_bytes"]
    recipes = [Recipe(Degradation(kind)) for kind in order["kinds"]]
    job = preparation.Job(Path(order["out"]), recipes, order["scales"], skip_bad=True)
    hr, lr = find_images(order["hr"]), {int(scale): find_images(place) for scale, place in order["lr"].items()}
    error, began, order["counted"] = None, time.monotonic(), True
    sys.addaudithook(audit)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            preparation.prepare(job, hr, lr)
        except BaseException as raised:
            error = [type(raised).__name__, str(raised)]
    order["counted"] = False
    took = time.monotonic() - began
    return {"steps": steps, "opened": opened, "error": error, "said": said.getvalue(), "took": took}


def main(result):
    global order
    sys.dont_write_bytecode = True
    verify.call_in_own_process = lambda function, *arguments: function(
        *arguments
    )  # each order has its own process already
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  (open until the program ends)
    for line in sys.stdin:
        order = json.loads(line)
        pid = order.get("continue") or os.fork()
        if not pid:
            done = {path: verify.verify(path) for path in order["verify"]} if "verify" in order else run()
            result.write_text(json.dumps(done))
            os._exit(0)
        if "continue" in order:
            os.kill(pid, signal.SIGCONT)
        if "after" in order:
            time.sleep(order["after"])
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, os.WUNTRACED)
        # One that was killed as it said so may have left half of it.
        said = json.loads(result.read_text()) if result.exists() and not os.WIFSIGNALED(status) else {}
        result.unlink(missing_ok=True)
        print(json.dumps({**said, "pid": pid, "killed": os.WIFSIGNALED(status)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
