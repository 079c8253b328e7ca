"""The order of training samples, and the random numbers that belong to each position in it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence, Sized
from typing import NamedTuple

import torch
from torch.utils.data import Sampler

RANGE = 2**62
DRAWS = 4
"""How many random numbers below `RANGE` a sample needs."""


class RandomNumbers(NamedTuple):
    """The random numbers of one sample, one for each choice; a choice among n takes the remainder modulo n.

    Attributes:
        top, left: the crop's position; from 0 up to `RANGE`.
        orientation: bit 0 flips left and right, bit 1 top and bottom, bit 2 transposes; from 0 to 7.
        noise: seed of the noise of a degradation; from 0 up to `RANGE`.
        scale: which of several scales; from 0 up to `RANGE` / 8.
    """

    top: int
    left: int
    orientation: int
    noise: int
    scale: int

    @classmethod
    def split(cls, draws: Sequence[int]) -> RandomNumbers:
        """Name `DRAWS` numbers below `RANGE`; the third gives two choices, of different bits."""
        top, left, third, noise = draws
        return cls(top, left, third & 7, noise, third >> 3)


class SampleIndex(int):
    """An index into a data set that carries the random numbers of its position in the stream.

    Attributes:
        random_numbers: the numbers of this sample.
        shared: one number from 0 up to `RANGE`, the same for all samples of a step, on all ranks.
    """

    random_numbers: RandomNumbers
    shared: int

    def __new__(cls, index: int, random_numbers: RandomNumbers, shared: int = 0) -> SampleIndex:
        """An index with its numbers."""
        sample_index = super().__new__(cls, index)
        sample_index.random_numbers, sample_index.shared = random_numbers, shared
        return sample_index

    def __reduce__(self) -> tuple[type[SampleIndex], tuple[int, RandomNumbers, int]]:
        return SampleIndex, (int(self), self.random_numbers, self.shared)


def random_numbers_of(index: int) -> RandomNumbers:
    """The numbers that a `SampleIndex` carries; for a plain index, new numbers from torch's generator."""
    if isinstance(index, SampleIndex):
        return index.random_numbers
    return RandomNumbers.split(torch.randint(RANGE, (DRAWS,)).tolist())


def draws_at(seed: int, position: int | str) -> tuple[int, ...]:
    """`DRAWS` numbers from 0 up to `RANGE` that depend only on the seed and the position (BLAKE2b)."""
    digest = hashlib.blake2b(f"{seed}/{position}".encode(), digest_size=8 * DRAWS).digest()
    return tuple(int.from_bytes(digest[i : i + 8], "little") >> 2 for i in range(0, len(digest), 8))


class StreamSampler(Sampler[int]):
    """Yields `SampleIndex`es in the order of BasicSR's `EnlargedSampler`; can start in the middle of an epoch.

    The random numbers depend on the seed and on the position in the whole run's stream, not on workers and ranks: two
    ranks with batches of 8 draw the samples of one rank with batches of 16.

    Args:
        dataset: has a length.
        num_replicas, rank: number of ranks that share the stream, and the rank of this process.
        ratio: how often each image occurs in an epoch.
        seed: seed of the run.
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
        """An epoch, and how many of this rank's samples in it to leave out, because an earlier run drew them."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, on which the order depends."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        total = self.num_samples * self.num_replicas
        generator = torch.Generator()
        generator.manual_seed(self.epoch)
        order = torch.randperm(total, generator=generator).tolist()
        # Kept for the epoch, not only for the next iterator: BasicSR makes and discards an iterator before training.
        skip = self.resume_at[1] if self.epoch == self.resume_at[0] else 0
        for offset in range(self.rank + skip * self.num_replicas, total, self.num_replicas):
            random_numbers = RandomNumbers.split(draws_at(self.seed, self.epoch * total + offset))
            shared = draws_at(self.seed, f"step {self.epoch} {offset // self.step}")[0]
            yield SampleIndex(order[offset] % len(self.dataset), random_numbers, shared)
