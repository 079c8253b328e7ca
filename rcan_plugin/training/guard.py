"""The guard: decides which training steps are skipped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch

from rcan_plugin.training.ranks import several_ranks


class Guard:
    """Detects training steps to skip: non-finite loss or gradients, or a loss far above its running mean.

    The decision is made on the device, without waiting for it, and is the same on all ranks. The authors of RCAN skip
    batches of high loss too (`skip_threshold` in their `trainer.py`).

    Args:
        device: where the losses are.
        factor: a loss above `factor` times its running mean is rejected.
        stop_after: training ends after this many rejected steps in a row.
    """

    MEMORY = 0.99  # factor of the running mean, which covers about the last hundred steps

    def __init__(self, device: torch.device, factor: float, stop_after: int) -> None:
        self.factor, self.stop_after = factor, stop_after
        # Change these only in place: a CUDA graph uses their addresses.
        self.mean = torch.full((), math.inf, device=device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        self.in_a_row = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def rejects(self, loss: torch.Tensor, gradients: Iterable[torch.Tensor]) -> torch.Tensor:
        """Decide on one step and count it.

        Args:
            loss: the total loss, one value.
            gradients: of all parameters, unscaled.

        Returns:
            One value on the device, the same on all ranks: 1.0 if the step must be skipped, else 0.0.
        """
        loss = loss.detach().float()
        finite = torch.stack(torch._foreach_norm(list(gradients))).isfinite().all() & loss.isfinite()
        rejected = (~finite | (loss > self.factor * self.mean)).float()
        if several_ranks():
            torch.distributed.all_reduce(rejected, torch.distributed.ReduceOp.MAX)
        accepted = rejected == 0
        # The first accepted loss becomes the mean; until then the mean is inf, which accepts every finite loss.
        updated_mean = torch.where(self.mean.isinf(), loss, self.MEMORY * self.mean + (1 - self.MEMORY) * loss)
        self.mean.copy_(torch.where(accepted, updated_mean, self.mean))
        self.skipped += ~accepted
        self.in_a_row.add_(1).mul_(rejected.to(self.in_a_row.dtype))
        return rejected

    def streak(self) -> int:
        """Number of steps rejected in a row up to now; on a GPU this waits for the device."""
        return int(self.in_a_row)

    def is_stuck(self, current_iter: int) -> bool:
        """Whether `stop_after` or more steps in a row were rejected.

        Args:
            current_iter: the iteration of the last decision. On a GPU the count is only read at every `stop_after`th
                iteration, because reading it waits for the device.
        """
        if self.in_a_row.device.type != "cpu" and current_iter % self.stop_after:
            return False
        return self.streak() >= self.stop_after

    def state_dict(self) -> dict[str, float]:
        """The mean and the count of all rejected steps as plain numbers, for a training state."""
        return {"mean": self.mean.item(), "skipped": self.skipped.item()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore what `state_dict` returned. The count of rejected steps in a row begins at 0."""
        for name in ("mean", "skipped"):
            getattr(self, name).fill_(state[name])


class StuckError(RuntimeError):
    """The guard rejected too many steps in a row; the message says how to continue."""
