"""Programs that `run` forks do what they do in a new Python."""

import signal
import sys

import pytest

TELL = """
import json, os, signal, sys
print(__name__, __file__ if "__file__" in globals() else None, __spec__ and __spec__.name)
print(sys.argv, sys.orig_argv[1:], sys.path, os.getcwd(), sys.stdin.read())
print(sorted({**os.environ}.items()), [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGCHLD)])
print(sys.modules["__main__"].__dict__ is globals(), "torch" in sys.modules, "basicsr" in sys.modules)
print(sorted(set(globals()) - {"__annotations__"}), os.getsid(0) == os.getpid())
import torch
import torch.nn.functional
from torch.utils.data import DataLoader
print(torch.__spec__.origin, [type(finder).__name__ for finder in sys.meta_path if hasattr(finder, "name")])
import atexit
atexit.register(print, "at exit")
print("to stderr", file=sys.stderr)
"""

ENDS = {
    "an error": ("def f():\n    raise ValueError('no')\nf()", 1),
    "a chain": ("try:\n    1 / 0\nexcept Exception:\n    raise OSError('no')", 1),
    "nothing": ("", 0),
    "a code": ("sys.exit(7)", 7),
    "a text": ("sys.exit('a text')", 1),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT)\nimport time; time.sleep(9)", -signal.SIGINT),
    "a thread": ("import threading, time\nthreading.Thread(target=lambda: time.sleep(0.2) or print('later')).start()", 0),
}


@pytest.mark.parametrize("way", ["-c", "-m", "script"])
def test_forked_and_fresh_programs_see_and_say_the_same(way, run, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    programs = [(TELL + end, code) for end, code in ENDS.values()]
    if way == "-m":  # one is enough to see how a module is found
        programs = programs[:1]
    for number, (program, code) in enumerate(programs if way == "-c" else programs[:1]):
        (tmp_path / f"real/program{number}.py").write_text(program)
        command = {"-c": ("-c", program), "-m": ("-m", f"real.program{number}"), "script": (f"link/program{number}.py",)}
        env = {"PYTHONPATH": "somewhere:/else", "A": "b", "TORCH_DEVICE_BACKEND_AUTOLOAD": "01"[number % 2]}
        done = [
            run(*command[way], "-x", "1", "a b", env=env, code=code, fresh=fresh) for fresh in (False, True)
        ]
        assert done[0].stdout == done[1].stdout and done[0].stderr == done[1].stderr
