"""The guard: decides which training steps are skipped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch


class Guard:
    """Tells the steps that must not be taken: the loss or a gradient is not finite, or the loss is far out of range.

    All is decided on the device, without waiting for it, and agreed by all ranks. (The authors of RCAN skip such
    batches too: `skip_threshold` in their `trainer.py`.)

    Args:
        device: where the losses are.
        factor: a loss above so many times its running mean is out of range.
        stop_after: so many steps in a row that are not taken end the training.
    """

    MEMORY = 0.99  # of the running mean: about the last hundred steps

    def __init__(self, device: torch.device, factor: float, stop_after: int) -> None:
        self.factor, self.stop_after = factor, stop_after
        self.mean = torch.full((), math.inf, device=device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        self.in_a_row = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def refuses(self, loss: torch.Tensor, gradients: Iterable[torch.Tensor]) -> torch.Tensor:
        """1.0 where the step must not be taken, else 0.0; on the device, the same on all ranks."""
        loss = loss.detach().float()
        finite = torch.stack(torch._foreach_norm(list(gradients))).isfinite().all() & loss.isfinite()
        bad = (~finite | (loss > self.factor * self.mean)).float()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(bad, torch.distributed.ReduceOp.MAX)
        good = bad == 0
        # The first good loss is the mean; the inf before it lets every finite loss pass.
        following = torch.where(self.mean.isinf(), loss, self.MEMORY * self.mean + (1 - self.MEMORY) * loss)
        self.mean = torch.where(good, following, self.mean)
        self.skipped += ~good
        self.in_a_row = torch.where(good, 0, self.in_a_row + 1)
        return bad

    def stop(self, current_iter: int, names: Iterable[str]) -> None:
        """End the training when too many steps in a row were not taken.

        Args:
            current_iter: the step that was just decided on. On a GPU only every `stop_after`th asks, since asking means
                waiting.
            names: of the images of its batch.

        Raises:
            RuntimeError: `stop_after` steps in a row, or more, were not taken.
        """
        if self.in_a_row.device.type != "cpu" and current_iter % self.stop_after:
            return
        in_a_row = int(self.in_a_row)
        if in_a_row >= self.stop_after:
            raise RuntimeError(
                f"iteration {current_iter}: {in_a_row} steps in a row were not taken, since the loss or its gradients "
                f"are not finite or far out of range. The last batch: {', '.join(names)}. Lower the learning rate "
                "(train: optim_g: lr), or clip (train: grad_clip), and go on from the last checkpoint with "
                "--auto_resume."
            )

    def state_dict(self) -> dict[str, float]:
        """Plain numbers, for a training state."""
        return {"mean": self.mean.item(), "skipped": self.skipped.item(), "in_a_row": self.in_a_row.item()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """What `state_dict` gave."""
        for name, value in state.items():
            getattr(self, name).fill_(value)
