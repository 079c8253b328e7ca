"""The states of all random number generators, saved in a training state and restored from it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def read_random_states() -> list[Any]:
    """The states of Python's, NumPy's and torch's generators (CPU and current GPU).

    They are plain numbers and tensors, so that a file with them loads with `weights_only=True`.
    """
    numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002  (BasicSR seeds this one)
    numpy["state"]["key"] = torch.from_numpy(numpy["state"]["key"].astype(np.int64))
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return [random.getstate(), numpy, torch.get_rng_state(), cuda]


def set_random_states(states: list[Any]) -> None:
    """Restore what `read_random_states` returned."""
    python, numpy, cpu, cuda = states
    random.setstate((python[0], tuple(python[1]), python[2]))
    keys = numpy["state"]["key"].cpu().numpy().astype(np.uint32)  # BasicSR loads all tensors of a state to the GPU
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": keys}})  # noqa: NPY002
    torch.set_rng_state(cpu.cpu())
    if cuda is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda.cpu())
