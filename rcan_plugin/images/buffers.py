"""Memory that is used again, for what lives no longer than one sample: fresh memory is cold and takes longer."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

_own = threading.local()


def buffer(use: str, shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    """An array of this thread's, with whatever the last use left in it; the same one for the same arguments.

    Args:
        use: what it is for: two arrays that are needed at the same time have two uses.
        shape, dtype: as of `np.empty`.
    """
    kept: dict[str, np.ndarray] = _own.__dict__
    array = kept.get(use)
    if array is None or array.shape != shape or array.dtype != dtype:
        array = kept[use] = np.empty(shape, dtype)
    return array
