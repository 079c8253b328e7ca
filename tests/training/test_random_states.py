"""The random states of a training state."""

import random

import numpy as np
import torch

from rcan_plugin.training.random_states import read_random_states, set_random_states
from tests.comparison import same


class OnGpu:
    """What BasicSR's own launcher makes of a tensor of a state: one that is on the GPU."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def cpu(self) -> torch.Tensor:
        return self.tensor


def test_random_states_come_back_from_the_gpu():
    python, numpy, cpu, cuda = read_random_states()
    moved = {**numpy, "state": {**numpy["state"], "key": OnGpu(numpy["state"]["key"])}}
    expected = random.random(), np.random.rand(), torch.rand(3)  # noqa: NPY002
    set_random_states([python, moved, OnGpu(cpu), cuda])
    assert same((random.random(), np.random.rand(), torch.rand(3)), expected)  # noqa: NPY002
