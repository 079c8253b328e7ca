"""Passes strips of rows from the thread that computes them to the one that writes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

import numpy as np


class StoppedError(Exception):
    """The other side of the pipe has stopped before the end."""


class Pipe:
    """A queue of arrays with a limit in bytes. `put` waits for the reader, which iterates over the pipe.

    Args:
        limit: bytes that may wait. A larger array is accepted when the queue is empty.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: deque[np.ndarray] = deque()
        self.size = 0
        self.ended = self.stopped = False
        self.changed = threading.Condition()

    def put(self, strip: np.ndarray) -> None:
        """Add an array.

        Raises:
            StoppedError: the reader has stopped.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.stopped or not self.size or self.size + strip.nbytes <= self.limit)
            if self.stopped:
                raise StoppedError
            self.waiting.append(strip)
            self.size += strip.nbytes
            self.changed.notify_all()

    def end(self) -> None:
        """Mark the end: no array follows."""
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def stop(self) -> None:
        """Make the other side raise `StoppedError` at once; no effect on a reader that has received everything."""
        with self.changed:
            self.stopped = True
            self.waiting.clear()
            self.changed.notify_all()

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.ended or self.stopped)
                if self.stopped:
                    raise StoppedError
                if not self.waiting:
                    return
                strip = self.waiting.popleft()
                self.size -= strip.nbytes
                self.changed.notify_all()
            yield strip
