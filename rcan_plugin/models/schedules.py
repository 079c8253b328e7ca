"""Learning rates that BasicSR lacks."""

from __future__ import annotations

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class WarmupCosineLR(LRScheduler):
    """From 0 up to the optimiser's rate in `warmup` iterations, then down to `eta_min` along half a cosine.

    "SGDR: Stochastic Gradient Descent with Warm Restarts" (ICLR 2017), equation 5, without restarts; the warm-up is
    linear, as in "Accurate, Large Minibatch SGD" (2017), section 2.2.

    Args:
        optimizer: whose rates are set.
        total: iterations from the start to `eta_min`.
        warmup: iterations of warm-up, less than `total`.
        eta_min: the last rate.

    Raises:
        ValueError: `warmup` is not from 0 to less than `total`.
    """

    def __init__(
        self, optimizer: Optimizer, total: int, warmup: int = 0, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if not 0 <= warmup < total:
            raise ValueError(f"train: scheduler: warmup is {warmup}; expected 0 or more, and less than total, {total}.")
        self.total, self.warmup, self.eta_min = total, warmup, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The rates of the iteration after `last_epoch` steps."""
        done = self.last_epoch + 1  # BasicSR's first iteration has taken no step
        if done <= self.warmup:
            return [rate * done / self.warmup for rate in self.base_lrs]
        part = min(1.0, (done - self.warmup - 1) / max(1, self.total - self.warmup - 1))
        return [self.eta_min + (rate - self.eta_min) * (1 + math.cos(math.pi * part)) / 2 for rate in self.base_lrs]
