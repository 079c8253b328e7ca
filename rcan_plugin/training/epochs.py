"""Computes where BasicSR's training loop ends: its loader drops incomplete batches, its count of epochs does not."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Epochs:
    """The length of BasicSR's epochs.

    Attributes:
        images: number of images in the training set.
        ratio: `dataset_enlarge_ratio`.
        batch: `batch_size_per_gpu`.
        ranks: number of processes that train together.
        gpus: GPUs of one process; BasicSR multiplies the batch by it, but ignores it when it counts iterations.
    """

    images: int
    ratio: float
    batch: int
    ranks: int = 1
    gpus: int = 1

    @property
    def iterations(self) -> int:
        """Iterations of an epoch: full batches of a rank's share of the samples.

        >>> Epochs(images=31, ratio=1, batch=16).iterations
        1
        """
        return math.ceil(self.images * self.ratio / self.ranks) // (self.batch * self.gpus)

    def last_iteration(self, total: int, epoch: int = 0, iteration: int = 0) -> int:
        """The iteration at which BasicSR's loop ends: at most `total`.

        Args:
            total: `total_iter`.
            epoch, iteration: of the training state that it resumes from.

        >>> Epochs(images=31, ratio=1, batch=16).last_iteration(100)
        51
        """
        counted = math.ceil(self.images * self.ratio / (self.batch * self.ranks))
        epochs = math.ceil(total / counted) + 1 - epoch
        return min(total, iteration + max(0, epochs) * self.iterations)

    def sufficient_ratio(self, total: int, epoch: int = 0, iteration: int = 0) -> float | None:
        """The smallest whole `dataset_enlarge_ratio` with which BasicSR's loop ends at `total`.

        For a resumed run whose epochs have become longer, no whole ratio may suffice: then return the largest ratio
        below 1, in hundredths, or None if that does not suffice either. Arguments are those of `last_iteration`.

        >>> Epochs(images=31, ratio=1, batch=16).sufficient_ratio(100)
        6
        """
        whole = range(1, self.batch * self.gpus * self.ranks + 1)  # with the largest, every batch is full
        below = (hundredths / 100 for hundredths in range(99, 0, -1))
        for ratio in itertools.chain(whole, below):
            if replace(self, ratio=ratio).last_iteration(total, epoch, iteration) >= total:
                return ratio
        return None
