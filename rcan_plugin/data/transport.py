"""8-bit images on their way from a DataLoader's worker: a quarter of the bytes of the floats that they become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data._utils.collate import default_collate_fn_map


class Levels:
    """8-bit values in a worker; what arrives in the main process is a float tensor of 0 to 1, as if made there.

    Most of the time that a loader takes goes into shared memory for what it hands over, which this makes smaller.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    def __reduce__(self) -> tuple[Callable[..., torch.Tensor], tuple[torch.Tensor]]:
        return _arrive, (self.values,)


def to_floats(values: np.ndarray) -> torch.Tensor:
    """Integers to floats from 0 to 1, exactly v / 255 or v / 65535; floats stay. `values` may be overwritten then.

    Args:
        values: uint8, uint16 or float32, of any shape.
    """
    if values.dtype == np.float32:
        return torch.from_numpy(values).clone()
    if values.dtype != np.uint8:
        return torch.from_numpy(values).float().div_(65535)
    # v / 256 + v / 256 / 255 is v / 255, for each of the 256 values rounded to the same float. A division takes longer.
    rows = values.reshape(-1, values.shape[-1])
    floats = cv2.addWeighted(rows, 1 / 256, rows, 1 / 256 / 255, 0, dtype=cv2.CV_32F)
    return torch.from_numpy(floats).view(values.shape)


def _arrive(values: torch.Tensor) -> torch.Tensor:
    return to_floats(values.numpy())


def _collate(batch: list[Levels], *, collate_fn_map: Any = None) -> Levels:
    return Levels(torch.stack([one.values for one in batch]))


default_collate_fn_map[Levels] = _collate
