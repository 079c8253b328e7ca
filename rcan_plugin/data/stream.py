"""The run's stream of samples: which image comes when, and the random choices that belong to each place in it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sized

import torch
from torch.utils.data import Sampler

NUMBERS_PER_SAMPLE = 4  # whole numbers from 0 to 2**62 that a sample may use


class SampleIndex(int):
    """An index into a data set that brings the random numbers of its place in the stream.

    Attributes:
        random_numbers: `NUMBERS_PER_SAMPLE` whole numbers from 0 up to 2**62.
        shared: one more, the same for all samples of a step, on all ranks.
    """

    random_numbers: tuple[int, ...]
    shared: int

    def __new__(cls, index: int, random_numbers: tuple[int, ...], shared: int = 0) -> SampleIndex:
        """An index with its numbers."""
        place = super().__new__(cls, index)
        place.random_numbers, place.shared = random_numbers, shared
        return place

    def __reduce__(self) -> tuple[type[SampleIndex], tuple[int, tuple[int, ...], int]]:
        return SampleIndex, (int(self), self.random_numbers, self.shared)


def random_numbers_of(index: int) -> tuple[int, ...]:
    """The random numbers of a sample: those of its place, or for a plain index new ones from torch's generator."""
    if isinstance(index, SampleIndex):
        return index.random_numbers
    return tuple(torch.randint(2**62, (NUMBERS_PER_SAMPLE,)).tolist())


class StreamSampler(Sampler[int]):
    """BasicSR's `EnlargedSampler`, in the same order, whose indices are `SampleIndex`s; it can go on from the middle.

    The random numbers depend on the seed and on the place in the whole run's stream, not on workers and ranks: two
    ranks with batches of 8 draw the samples of one rank with batches of 16.

    Args:
        dataset: has a length.
        num_replicas, rank: how many ranks share the stream, and which this is.
        ratio: how often each image comes in an epoch.
        seed: the run's.
        batch: samples of a rank in a step.
    """

    def __init__(
        self, dataset: Sized, num_replicas: int, rank: int, ratio: float = 1, seed: int = 0, batch: int = 1
    ) -> None:
        self.dataset, self.num_replicas, self.rank, self.seed = dataset, num_replicas, rank, seed
        self.step = batch * num_replicas
        self.num_samples = math.ceil(len(dataset) * ratio / num_replicas)
        self.epoch = 0
        self.resume_at = (0, 0)
        """An epoch, and how many of this rank's samples in it an earlier run had: they are left out."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        total = self.num_samples * self.num_replicas
        generator = torch.Generator()
        generator.manual_seed(self.epoch)
        order = torch.randperm(total, generator=generator).tolist()
        # Said of one epoch and not of the next iterator: BasicSR makes one that it throws away before it begins.
        skip = self.resume_at[1] if self.epoch == self.resume_at[0] else 0
        for offset in range(self.rank + skip * self.num_replicas, total, self.num_replicas):
            random_numbers = random_numbers_at(self.seed, self.epoch * total + offset)
            shared = random_numbers_at(self.seed, f"step {self.epoch} {offset // self.step}")[0]
            yield SampleIndex(order[offset] % len(self.dataset), random_numbers, shared)


def random_numbers_at(seed: int, position: int | str) -> tuple[int, ...]:
    """`NUMBERS_PER_SAMPLE` numbers from 0 up to 2**62 that depend on a seed and a place alone."""
    digest = hashlib.blake2b(f"{seed}/{position}".encode(), digest_size=8 * NUMBERS_PER_SAMPLE).digest()
    return tuple(int.from_bytes(digest[i : i + 8], "little") >> 2 for i in range(0, len(digest), 8))
