"""Strips on their way to the thread that writes them."""

import threading

import numpy as np
import pytest

from rcan_plugin.upscaling.pipe import ClosedError, Pipe


def strips(*sizes: int) -> list[np.ndarray]:
    return [np.full(size, number, np.uint8) for number, size in enumerate(sizes)]


def put_all(pipe: Pipe, arrays: list[np.ndarray]) -> threading.Thread:
    def work() -> None:
        for array in arrays:
            pipe.put(array)
        pipe.end()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_arrays_arrive_in_order_and_only_so_many_bytes_wait():
    pipe = Pipe(limit=10)
    sent = strips(4, 6, 1, 30, 2)
    thread = put_all(pipe, sent)
    received = iter(pipe)
    waiting = []
    while True:
        thread.join(0.02)  # it waits for room, or has ended
        waiting.append(pipe.size)
        if (strip := next(received, None)) is None:
            break
        assert strip is sent.pop(0)
    assert waiting == [10, 7, 1, 30, 2, 0] and not sent


def test_an_error_reaches_the_reader_at_once():
    pipe = Pipe(limit=100)
    pipe.put(*strips(3))
    error = KeyboardInterrupt()
    pipe.end(error)
    with pytest.raises(KeyboardInterrupt):
        next(iter(pipe))


def test_who_puts_learns_that_the_reader_has_stopped():
    pipe = Pipe(limit=3)
    pipe.put(*strips(3))
    threading.Timer(0.02, pipe.abandon).start()
    with pytest.raises(ClosedError):
        pipe.put(*strips(1))
    assert not pipe.waiting
