"""Signals and errors: a run saves and stops after its step, or at once at a second signal, and leaves no process."""

import os
import signal
import time

import pytest

from tests.runs import (
    NETWORK,
    ended_as,
    start_at,
    states,
    stopped,
    training,
)


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 2), (signal.SIGINT, 1)])
def test_a_signal_to_the_whole_group(number, workers, forks, tmp_path):
    """As a terminal and torchrun send it: to the workers as well, and no process is left."""
    settings = {"network": "RCANArch", "times": 4000}  # so that the workers live as long as the run
    folder = training(tmp_path, workers=workers, save=1000, total_iter=100_000, **settings)
    run = forks.start(folder, "-opt", "tiny.yml")
    run.until(f"iter:{3:8,d},")
    run.kill(number)
    said = run.ends(128 + number)
    at = stopped(said, number)
    assert at >= 3 and said.count("Stopping after the current step") == 1
    with pytest.raises(ProcessLookupError):  # nobody is left
        os.killpg(run.pid, 0)

    last = f"train:total_iter={at + 8}"
    said = forks.start(folder, "-opt", "tiny.yml", "--auto_resume", "--force_yml", last).ends()
    assert start_at(at, per_epoch=6000) in said
    other = training(tmp_path / "unbroken", save=at + 8, **settings)
    forks.start(other, "-opt", "tiny.yml", "--force_yml", last).ends()
    ended_as(other, folder, at + 8)


# What a worker does as it starts, in the run's folder.
STOP = "os.path.exists('second') and os.killpg(0, signal.SIGTERM)"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_signal_while_a_worker_starts(method, forks, tmp_path):
    """To the whole group: under spawn as Python starts, under fork when torch has put its own handlers in place."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(
        f"import os, signal, sys\nif '--multiprocessing-fork' in sys.orig_argv: {STOP}\n"
    )
    hook = (
        "import os, signal, torch, rcan_plugin.cli.train as train; look = train.Run._agreed_signal\n"
        f"os.environ['PYTHONPATH'] = {str(tmp_path / 'site')!r}\n"
        f"torch.set_num_threads = lambda number: {STOP}\n"
        "def second(self, at):\n"
        "    if at == 6:\n"
        "        open('second', 'w').close()\n"
        f"        torch.multiprocessing.set_start_method({method!r}, force=True)\n"
        "    return look(self, at)\n"
        "train.Run._agreed_signal = second\n"
    )
    folder = training(tmp_path, network="RCANArch", workers=1, save=1000)
    said = forks.start(folder, "-opt", "tiny.yml", hook=hook).ends(143)
    assert stopped(said, signal.SIGTERM) == 7 and "DataLoader worker" not in said


@pytest.mark.parametrize("iteration", [5, 6])  # six is an epoch's end
def test_a_signal_that_comes_twice_at_once(iteration, forks, unbroken, tmp_path):
    """torchrun passes on what its processes got already."""
    hook = (
        "import os, rcan_plugin.cli.train as train, signal; save = train.Run._agreed_signal\n"
        "def signalled(self, at):\n"
        f"    if at == {iteration}: os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return save(self, at)\n"
        "train.Run._agreed_signal = signalled"
    )
    folder = training(tmp_path, save=1000)
    said = forks.start(folder, "-opt", "tiny.yml", hook=NETWORK + hook).ends(143)
    assert stopped(said, signal.SIGTERM) == iteration
    forks.start(folder, "-opt", "tiny.yml", "--auto_resume", hook=NETWORK).ends()
    ended_as(unbroken, folder)


SLOW = "from tests.hooks import slow_steps; slow_steps.install()\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(number, forks, tmp_path):
    run = forks.start(training(tmp_path, workers=1), "-opt", "tiny.yml", hook=NETWORK + SLOW)
    run.until("a slow step")
    os.kill(run.pid, number)
    run.until("Stopping after the current step; a second signal stops at once.")
    time.sleep(0.3)
    os.kill(run.pid, number)
    assert "Traceback" not in run.ends(-number)
    assert not list(states(tmp_path).iterdir())


def test_a_signal_before_training_stops_at_once(forks, tmp_path):
    hook = (
        "import basicsr.train, time\nbasicsr.train.get_env_info = lambda: print('early', flush=True) or time.sleep(50)"
    )
    run = forks.start(training(tmp_path), "-opt", "tiny.yml", hook=NETWORK + hook)
    run.until("early")
    os.kill(run.pid, signal.SIGTERM)
    assert "Traceback" not in run.ends(128 + signal.SIGTERM)


def test_an_error_ends_a_run_with_workers(forks, tmp_path):
    """Workers leave SIGTERM to the main process, and Python ends its children by it."""
    hook = "from rcan_plugin.training.guard import Guard\nGuard.rejects = lambda *_: 1 / 0"
    said = forks.start(training(tmp_path, workers=2), "-opt", "tiny.yml", hook=NETWORK + hook).ends(1)
    assert "ZeroDivisionError" in said and "DataLoader worker" not in said
