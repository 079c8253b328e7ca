"""Programs that `run` forks do what they do in a new Python."""

import signal
import socket
import sys

import pytest

TELL = """
import json, os, signal, sys
print(__name__, __file__ if "__file__" in globals() else None, __spec__ and __spec__.name)
print(sys.argv, sys.orig_argv[1:], sys.path, os.getcwd(), sys.stdin.read())
print(sorted({**os.environ}.items()), [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGCHLD)])
print(sys.modules["__main__"].__dict__ is globals(), "torch" in sys.modules, "basicsr" in sys.modules)
print(sorted(set(globals()) - {"__annotations__"}), os.getsid(0) == os.getpid())
"""

TORCH = """
from torch.utils.data import DataLoader
import torch.nn.functional
print(torch.__spec__.origin, [type(finder).__name__ for finder in sys.meta_path if hasattr(finder, "name")])
"""

END = """
import atexit
atexit.register(print, "at exit")
print("to stderr", file=sys.stderr)
def f():
    raise ValueError("no")
f()
"""

ENDS = {
    "a chain": ("try:\n    1 / 0\nexcept Exception:\n    raise OSError('no')", 1),
    "nothing": ("", 0),
    "a code": ("sys.exit(7)", 7),
    "a text": ("sys.exit('a text')", 1),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT)\nimport time; time.sleep(9)", -signal.SIGINT),
    "a thread": ("import threading as t, time; t.Thread(target=lambda: time.sleep(0.2) or print('later')).start()", 0),
}


@pytest.mark.parametrize("way", ["-c", "-m", "script"])
def test_forked_and_fresh_programs_see_and_say_the_same(way, run, tmp_path):
    """The script's folder is a link. One of the programs imports torch, which takes long in a new Python."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    program = TELL + TORCH * (way == "-c") + END
    (tmp_path / "real/program.py").write_text(program)
    command = {"-c": ("-c", program), "-m": ("-m", "real.program"), "script": ("link/program.py",)}[way]
    env = {"PYTHONPATH": "somewhere:/else", "A": "b"}
    forked, new = (run(*command, "-x", "a b", env=env, code=1, fresh=fresh) for fresh in (False, True))
    assert forked.stdout == new.stdout and forked.stderr == new.stderr
    assert forked.stdout.endswith("at exit\n") and "ValueError: no" in forked.stderr


@pytest.mark.parametrize("end", ENDS)
def test_forked_and_fresh_programs_end_the_same(end, run):
    program, code = ENDS[end]
    program = f"import atexit, os, signal, sys\natexit.register(print, 'at exit')\n{program}"
    forked, new = (run("-c", program, code=code, fresh=fresh) for fresh in (False, True))
    assert forked.stdout == new.stdout and forked.stderr == new.stderr and "at exit\n" in new.stdout


@pytest.mark.parametrize("option", ["-I", "-X"])
def test_what_a_fork_cannot_do_a_new_python_does(option, run, tmp_path):
    more = {"-I": ("-I",), "-X": ("-X", "dev")}[option]
    flags = eval(run(*more, "-c", "import sys; print(sys.flags.isolated, sys.flags.dev_mode)").stdout.replace(" ", ","))
    assert flags == (int(option == "-I"), option == "-X")
    (tmp_path / "sitecustomize.py").write_text("print('site')")
    assert run("-c", "pass", env={"PYTHONPATH": str(tmp_path)}).stdout == "site\n"
    assert run("-c", "import sys; print(sys.flags.optimize)", env={"PYTHONOPTIMIZE": "2"}).stdout == "2\n"


def test_programs_of_programs_are_forked_too(forks, tmp_path):
    """Those that a `nested` one starts; a session of their own, and a signal that ends them."""
    code = (
        "import os, signal, subprocess, sys\n"
        "inner = 'import os, sys; print(os.getsid(0) == os.getpid(), \"scipy\" in sys.modules, flush=True); input()'\n"
        "with subprocess.Popen([sys.executable, '-u', '-c', inner], stdin=subprocess.PIPE, stdout=subprocess.PIPE,\n"
        "                      text=True, start_new_session=True) as process:\n"
        "    print(process.stdout.readline().strip(), process.poll())\n"
        "    os.killpg(process.pid, signal.SIGTERM)\n"
        "    print(process.wait(9))\n"
    )
    run = forks.process(tmp_path, sys.executable, "-c", code, popen=forks.programs.popen(nested=True))
    assert run.ends() == "True True None\n-15\n"


def test_a_client_that_ends_while_it_sends_a_request_is_forgotten(forks, tmp_path):
    """A program that is killed while it starts another one."""
    for sent in (b"", b" ", b' {"arguments": ["-c", "pa'):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(forks.programs.address)
            if sent:
                socket.send_fds(client, [sent], [0, 1, 2])
    run = forks.process(tmp_path, sys.executable, "-c", "print('here')", popen=forks.programs.popen())
    assert run.ends(timeout=60) == "here\n"
