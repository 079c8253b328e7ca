"""8-bit images on their way from a DataLoader's worker: a quarter of the bytes of the floats that they become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data._utils.collate import default_collate_fn_map


class Levels:
    """8-bit values in a worker; what arrives in the main process is a float tensor of 0 to 1, as if made there.

    Most of the time that a loader takes goes into shared memory for what it hands over, which this makes smaller.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    def __reduce__(self) -> tuple[Callable[..., torch.Tensor], tuple[torch.Tensor]]:
        return to_floats, (self.values,)


def to_floats(values: torch.Tensor) -> torch.Tensor:
    """uint8 to float32, 0 to 1: exactly v / 255."""
    return values.float().div_(255)


def _collate(batch: list[Levels], *, collate_fn_map: Any = None) -> Levels:
    return Levels(torch.stack([one.values for one in batch]))


default_collate_fn_map[Levels] = _collate
