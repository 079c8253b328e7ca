"""Strips on their way to the thread that writes them."""

import threading

import numpy as np
import pytest

from rcan_plugin.upscaling.pipe import Pipe, StoppedError


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
    thread = put_all(pipe, [*sent])
    received = iter(pipe)
    waiting = []
    while True:
        thread.join(0.02)  # it waits for room, or has ended
        waiting.append(pipe.size)
        if (strip := next(received, None)) is None:
            break
        assert strip is sent.pop(0)
    assert waiting == [10, 7, 1, 30, 2, 0] and not sent


def test_each_side_learns_that_the_other_has_stopped():
    pipe = Pipe(limit=3)
    pipe.put(*strips(3))
    threading.Timer(0.02, pipe.stop).start()
    with pytest.raises(StoppedError):
        pipe.put(*strips(1))
    with pytest.raises(StoppedError):
        next(iter(pipe))
    assert not pipe.waiting
    waiting = Pipe(limit=3)
    threading.Timer(0.02, waiting.stop).start()
    with pytest.raises(StoppedError):
        next(iter(waiting))
