"""Per-thread scratch buffers reused across samples. Newly allocated memory costs page faults."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

_thread = threading.local()


def buffer(use: str, shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    """Return this thread's array for `use`; the same array for the same arguments, with its last content.

    Args:
        use: name of the purpose. Two arrays that are needed at the same time need two names.
        shape, dtype: as of `np.empty`.
    """
    buffers: dict[str, np.ndarray] = _thread.__dict__
    array = buffers.get(use)
    if array is None or array.shape != shape or array.dtype != dtype:
        array = buffers[use] = np.empty(shape, dtype)
    return array
