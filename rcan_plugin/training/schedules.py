"""Learning rates that BasicSR lacks."""

from __future__ import annotations

import math
from typing import Any

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
        ValueError: as `check` says.
    """

    def __init__(
        self, optimizer: Optimizer, total: int, warmup: int = 0, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.check(total, warmup, eta_min)
        self.total, self.warmup, self.eta_min = total, warmup, eta_min
        super().__init__(optimizer, last_epoch)

    @staticmethod
    def check(total: Any = None, warmup: Any = 0, eta_min: Any = 0.0, **unknown: Any) -> None:
        """The settings alone, before there is an optimiser.

        Raises:
            ValueError: a setting that is out of range, missing or not known.
        """
        if unknown:
            raise ValueError(f"train: scheduler has {', '.join(unknown)}; expected total, warmup and eta_min alone.")
        if not isinstance(total, int) or total < 1:
            raise ValueError(f"train: scheduler: total is {total!r}; expected a whole number of iterations.")
        if not isinstance(warmup, int) or not 0 <= warmup < total:
            raise ValueError(
                f"train: scheduler: warmup is {warmup!r}; expected 0 or more, and less than total {total}."
            )
        if not isinstance(eta_min, (int, float)) or eta_min < 0:
            raise ValueError(f"train: scheduler: eta_min is {eta_min!r}; expected a rate such as 1.0e-7, or 0.")

    def get_lr(self) -> list[float | Tensor]:
        """The rates of the iteration after `last_epoch` steps."""
        done = self.last_epoch + 1  # BasicSR's first iteration has taken no step
        if done <= self.warmup:
            return [rate * done / self.warmup for rate in self.base_lrs]
        part = min(1.0, (done - self.warmup - 1) / max(1, self.total - self.warmup - 1))
        return [self.eta_min + (rate - self.eta_min) * (1 + math.cos(math.pi * part)) / 2 for rate in self.base_lrs]
