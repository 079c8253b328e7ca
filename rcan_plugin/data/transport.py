"""Sends uint8 images from DataLoader workers and makes floats of them in the main process (4x less shared memory)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data._utils.collate import default_collate_fn_map

from rcan_plugin.data.tensors import to_floats, to_planes


class PackedUint8:
    """A uint8 tensor in a worker. Unpickling it in the main process gives a float32 tensor, range 0 to 1.

    A loader spends most of its time on the shared memory that holds its workers' results.

    Args:
        values: uint8, of any shape.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    @classmethod
    def pack(cls, image: np.ndarray) -> PackedUint8:
        """Pack a uint8 image, H x W x C, B, G, R or gray; it arrives as C x H x W, R, G, B or gray."""
        return cls(torch.from_numpy(to_planes(image, np.empty((image.shape[2], *image.shape[:2]), np.uint8))))

    def __reduce__(self) -> tuple[Callable[..., torch.Tensor], tuple[torch.Tensor]]:
        return _unpacked, (self.values,)


def _unpacked(values: torch.Tensor) -> torch.Tensor:
    return to_floats(values.numpy())


def _collate(batch: list[PackedUint8], *, collate_fn_map: Any = None) -> PackedUint8:
    return PackedUint8(torch.stack([image.values for image in batch]))


default_collate_fn_map[PackedUint8] = _collate
