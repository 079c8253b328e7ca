"""The run over the pictures: what is written, failures, interruptions, memory; with a network that repeats pixels."""

import errno
import os
import re
import signal
import threading

import numpy as np
import pytest

from rcan_plugin.upscaling import run as module
from rcan_plugin.upscaling.plan import Job
from rcan_plugin.upscaling.run import Run
from tests.upscaling.pictures_on_disk import Repeating, doubled, files_in, make, pixels_of


@pytest.fixture
def jobs(tmp_path):
    """Four pictures, `in/0.png` to `in/3.png`, into `out`."""
    for number in range(4):
        make(tmp_path / f"in/{number}.png", 3 + number, 5, seed=number)
    return [Job(tmp_path / f"in/{number}.png", tmp_path / f"out/sub/{number}.png") for number in range(4)]


def ran(jobs, upscaler=None, **options) -> Run:
    run = Run(upscaler or Repeating(), **options)
    run(jobs, {})
    return run


def test_results_have_the_right_pixels(jobs, tmp_path):
    outcome = ran(jobs).outcome
    assert outcome.written == [job.output for job in jobs] and not outcome.failures and not outcome.stopped
    for job in jobs:
        np.testing.assert_array_equal(pixels_of(job.output), doubled(pixels_of(job.source)))
    assert files_in(tmp_path / "out") == [f"sub/{number}.png" for number in range(4)]
    assert ran([]).outcome.written == []


def test_the_bar_counts_pixels_and_pictures(jobs, capsys):
    sizes = {job.source: (3 + number) * 5 for number, job in enumerate(jobs)}
    jobs[1].source.write_bytes(b"damaged")
    del sizes[jobs[2].source]  # known when it is read
    Run(Repeating())(jobs, sizes)
    lines = re.split(r"[\r\n]+", capsys.readouterr().err.strip())
    assert lines[0].startswith("0 of 4 images:   0%") and "/65.0" in lines[0]
    assert lines[-1].startswith("4 of 4 images: 100%") and "90.0/90.0" in lines[-1]


def test_one_bad_picture_does_not_end_the_run(jobs, tmp_path):
    jobs[1].source.write_bytes(jobs[1].source.read_bytes()[:60])
    jobs[2].source.unlink()
    gone = tmp_path / "in/pipe.png"
    os.mkfifo(gone)
    outcome = ran([Job(gone, tmp_path / "out/pipe.png"), *jobs]).outcome
    assert list(outcome.failures) == [gone, jobs[1].source, jobs[2].source]
    assert outcome.failures[gone] == "is now a FIFO (named pipe)"
    assert outcome.failures[jobs[2].source] == "no longer exists"
    assert files_in(tmp_path / "out") == ["sub/0.png", "sub/3.png"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            ValueError("the result is not finite: choose --precision fp32."),
            "the result is not finite: choose --precision",
        ),
        (RuntimeError("CUDA error:\nmore"), "CUDA error: more"),
        (MemoryError(), "there is not enough memory for it: choose a smaller --tile"),
        (MemoryError("choose tile 64"), "choose tile 64"),
        (FloatingPointError("the result is black"), "the result is black"),
        (KeyError("odd"), "KeyError: 'odd'"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception) else "",
)
def test_a_network_that_fails_on_a_picture(error, reason, jobs, tmp_path):
    def fail(number):
        if number == 1:
            raise error

    outcome = ran(jobs, Repeating(fail)).outcome
    assert list(outcome.failures) == [jobs[1].source] and outcome.failures[jobs[1].source].startswith(reason)
    assert files_in(tmp_path / "out") == ["sub/0.png", "sub/2.png", "sub/3.png"]


def test_a_network_that_fails_after_some_rows_leaves_nothing(jobs, tmp_path):
    class Failing(Repeating):
        def rows(self, image):
            for number, strip in enumerate(super().rows(image)):
                if self.count == 2 and number == 2:
                    raise ValueError("not finite")
                yield strip

    old = make(jobs[1].output)
    outcome = ran([Job(job.source, job.output, replaces=True) for job in jobs], Failing()).outcome
    assert outcome.failures == {jobs[1].source: "not finite"}
    np.testing.assert_array_equal(pixels_of(jobs[1].output), old)
    assert files_in(tmp_path / "out") == [f"sub/{number}.png" for number in range(4)]


def test_ctrl_c_leaves_nothing_half(jobs, tmp_path):
    def interrupt(number):
        if number == 2:
            raise KeyboardInterrupt

    run = Run(Repeating(interrupt))
    with pytest.raises(KeyboardInterrupt):
        run(jobs, {})
    assert files_in(tmp_path / "out") == ["sub/0.png", "sub/1.png"]
    assert run.outcome.written == [jobs[0].output, jobs[1].output]
    np.testing.assert_array_equal(pixels_of(jobs[1].output), doubled(pixels_of(jobs[1].source)))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


def test_ctrl_c_while_the_network_waits_for_the_disk(jobs, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "WAITING_BYTES", 100)
    go, interrupted = threading.Event(), threading.Event()

    def slow(path, rows, *arguments, **options):
        go.wait(5)
        original_write(path, rows, *arguments, **options)

    def interrupt():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        threading.Timer(0.1, go.set).start()
        interrupted.set()

    original_write = module.write_rows
    monkeypatch.setattr(module, "write_rows", slow)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.1, interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            Run(Repeating())(jobs, {})
    finally:
        signal.signal(signal.SIGINT, handler)
    assert interrupted.is_set() and files_in(tmp_path / "out") == []


def test_what_appears_during_the_run_is_kept(jobs):
    kept = make(jobs[0].output)
    outcome = ran(jobs).outcome
    assert "was not there when the run began, and is kept" in outcome.failures[jobs[0].source]
    np.testing.assert_array_equal(pixels_of(jobs[0].output), kept)
    replaced = ran([Job(jobs[0].source, jobs[0].output, replaces=True)]).outcome
    assert replaced.written == [jobs[0].output]
    np.testing.assert_array_equal(pixels_of(jobs[0].output), doubled(pixels_of(jobs[0].source)))


def test_a_full_disk_ends_the_run(jobs, monkeypatch):
    def full(path, rows, *arguments, **options):
        next(iter(rows))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(module, "WAITING_BYTES", 100)  # the network waits for the writer, and learns that it failed
    monkeypatch.setattr(module, "write_rows", full)
    outcome = ran(jobs).outcome
    assert "no space left on device: free some space" in outcome.stopped
    assert len(outcome.failures) == 2 and not outcome.written  # the second had begun


def test_a_large_result_is_streamed_and_few_pictures_are_in_memory(jobs, monkeypatch, tmp_path):
    """The writer waits; the network goes on until the pipe is full, and the next picture alone is read."""
    monkeypatch.setattr(module, "WAITING_BYTES", 100)  # three rows of pixels, of 2 x 10 x 3 bytes
    rows_done, read, go = [], [], threading.Event()

    class Counting(Repeating):
        def rows(self, image):
            for strip in super().rows(image):
                yield strip
                rows_done.append(self.count)

    def reading(path, **options):
        read.append(path.name)
        return original_read(path, **options)

    def slow(path, rows, *arguments, **options):
        go.wait(5)
        original_write(path, rows, *arguments, **options)

    original_read, original_write = module.read, module.write_rows
    monkeypatch.setattr(module, "read", reading)
    monkeypatch.setattr(module, "write_rows", slow)
    seen = {}

    def look():
        seen.update(rows=list(rows_done), read=list(read))
        go.set()

    threading.Timer(0.2, look).start()
    outcome = ran(jobs, Counting()).outcome
    assert seen == {"rows": [1], "read": ["0.png", "1.png"]}
    assert outcome.written == [job.output for job in jobs]
    for job in jobs:
        np.testing.assert_array_equal(pixels_of(job.output), doubled(pixels_of(job.source)))


def test_options_and_remarks(jobs, tmp_path):
    said = []
    job = Job(jobs[0].source, tmp_path / "out/0.jpg")
    ran([job], quality=100, say=said.append)
    rough = Job(jobs[0].source, tmp_path / "out/rough.jpg")
    ran([rough], quality=10, say=said.append)
    truth = doubled(pixels_of(jobs[0].source)).astype(float)
    errors = [np.abs(pixels_of(one.output) - truth).mean() for one in (job, rough)]
    assert errors[0] < errors[1] / 2
    outcome = ran(jobs, max_pixels=16, say=said.append).outcome
    assert list(outcome.written) == [jobs[0].output] and len(outcome.failures) == 3
