"""Where BasicSR's loop ends, by its own sampler and its own count of epochs."""

import itertools
import math

import pytest
from basicsr.data.data_sampler import EnlargedSampler
from torch.utils.data import BatchSampler

from rcan_plugin.training.epochs import Epochs


def run_loop(epochs: Epochs, total: int, epoch: int = 0, iteration: int = 0) -> int:
    """Count the iterations of `basicsr.train.train_pipeline`; its code, without the training."""
    sampler = EnlargedSampler(range(epochs.images), epochs.ranks, 0, epochs.ratio)
    batches = list(BatchSampler(sampler, epochs.batch * epochs.gpus, drop_last=True))
    num_iter_per_epoch = math.ceil(epochs.images * epochs.ratio / (epochs.batch * epochs.ranks))
    assert epochs.iterations == len(batches)
    for _ in range(epoch, math.ceil(total / num_iter_per_epoch) + 1):
        for _ in batches:
            if iteration == total:
                return iteration
            iteration += 1
    return iteration


CASES = [
    Epochs(images, ratio, batch, ranks, gpus)
    for images, ratio, batch, (ranks, gpus) in itertools.product(
        [3, 31, 32], [0.5, 1, 2.5, 7], [1, 4, 16], [(1, 1), (3, 1), (1, 2)]
    )
]


@pytest.mark.parametrize("start", [(0, 0), (2, 7), (40, 90)])
def test_the_last_iteration(start):
    ends = [epochs.last_iteration(100, *start) for epochs in CASES]
    assert ends == [run_loop(epochs, 100, *start) for epochs in CASES]
    assert len(set(ends)) > 1


def test_the_case_that_was_reported():
    epochs = Epochs(images=31, ratio=1, batch=16)
    assert epochs.last_iteration(100) == 51
    assert epochs.sufficient_ratio(100) == 6
    assert [run_loop(Epochs(31, ratio, 16), 100) for ratio in range(1, 7)] == [51, 78, 90, 98, 99, 100]


def test_the_smallest_ratio_that_suffices():
    for epochs in CASES:
        found = epochs.sufficient_ratio(100)
        if epochs.gpus > 1 and found is None:
            continue  # BasicSR counts too few epochs, whatever the ratio
        assert found is not None
        ends = [run_loop(Epochs(epochs.images, ratio, epochs.batch, epochs.ranks, epochs.gpus), 100)
                for ratio in range(1, found + 1)]  # fmt: skip
        assert ends[-1] == 100 and 100 not in ends[:-1]


def test_after_images_were_added():
    """Of 20 images in batches of 2, ten epochs were trained; with 80, BasicSR counts three epochs in all."""
    epochs = Epochs(images=80, ratio=1, batch=2)
    assert epochs.last_iteration(120, epoch=10, iteration=100) == 100
    assert epochs.sufficient_ratio(120, epoch=10, iteration=100) == 0.27
    start = {"total": 120, "epoch": 10, "iteration": 100}
    assert [run_loop(Epochs(80, ratio, 2), **start) for ratio in (0.27, 0.28, 0.4)] == [120, 111, 100]
