"""Learning rate schedules that BasicSR lacks."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from rcan_plugin._checks import is_number, is_whole


class WarmupCosineLR(LRScheduler):
    """Linear warm-up from 0 to the optimizer's rate, then half a cosine down to `eta_min`.

    "SGDR: Stochastic Gradient Descent with Warm Restarts" (ICLR 2017), equation 5, without restarts; the warm-up is
    that of "Accurate, Large Minibatch SGD" (2017), section 2.2.

    Args:
        optimizer: the optimizer whose rates are set.
        total: iterations from the start to `eta_min`.
        warmup: iterations of warm-up, less than `total`.
        eta_min: the last rate.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self, optimizer: Optimizer, total: int, warmup: int = 0, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.check(total, warmup, eta_min)
        self.total, self.warmup, self.eta_min = total, warmup, eta_min
        super().__init__(optimizer, last_epoch)

    @staticmethod
    def check(total: Any = None, warmup: Any = 0, eta_min: Any = 0.0, **unknown: Any) -> None:
        """Check the settings of an option file before there is an optimizer.

        Raises:
            ValueError: a setting is out of range, missing or unknown.
        """
        if unknown:
            raise ValueError(f"train: scheduler has {', '.join(unknown)}; expected only total, warmup and eta_min.")
        if not is_whole(total):
            raise ValueError(f"train: scheduler: total is {total!r}; expected a whole number of iterations.")
        if not is_whole(warmup, least=0) or warmup >= total:
            raise ValueError(
                f"train: scheduler: warmup is {warmup!r}; expected a whole number of 0 or more, less than total "
                f"{total}."
            )
        if not is_number(eta_min, (int, float)) or eta_min < 0:
            raise ValueError(f"train: scheduler: eta_min is {eta_min!r}; expected a rate such as 1.0e-7, or 0.")

    def get_lr(self) -> list[float | Tensor]:
        """The rates of the iteration that follows `last_epoch` steps."""
        iteration = self.last_epoch + 1  # BasicSR takes no scheduler step before its first iteration
        if iteration <= self.warmup:
            return [rate * iteration / self.warmup for rate in self.base_lrs]
        progress = min(1.0, (iteration - self.warmup - 1) / max(1, self.total - self.warmup - 1))
        cosine = (1 + math.cos(math.pi * progress)) / 2
        return [self.eta_min + (rate - self.eta_min) * cosine for rate in self.base_lrs]
