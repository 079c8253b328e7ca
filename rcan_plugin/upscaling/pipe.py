"""Passes strips of rows from the thread that computes them to the one that writes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

import numpy as np


class ClosedError(Exception):
    """Nobody reads the pipe any more."""


class Pipe:
    """A queue of arrays with a limit in bytes: `put` waits for the reader, who iterates over the pipe.

    Args:
        limit: bytes that may wait. An array that is larger is taken when no other waits.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: deque[np.ndarray] = deque()
        self.size = 0
        self.ended = self.abandoned = False
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def put(self, strip: np.ndarray) -> None:
        """Add an array.

        Raises:
            ClosedError: the reader has stopped.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.abandoned or not self.size or self.size + strip.nbytes <= self.limit)
            if self.abandoned:
                raise ClosedError
            self.waiting.append(strip)
            self.size += strip.nbytes
            self.changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """No array follows. An error is raised in the reader, at once."""
        with self.changed:
            self.ended, self.error = True, error
            self.changed.notify_all()

    def abandon(self) -> None:
        """The reader has stopped."""
        with self.changed:
            self.abandoned = True
            self.waiting.clear()
            self.changed.notify_all()

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.ended)
                if self.error is not None:
                    raise self.error
                if not self.waiting:
                    return
                strip = self.waiting.popleft()
                self.size -= strip.nbytes
                self.changed.notify_all()
            yield strip
