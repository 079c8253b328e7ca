"""What happens between the gradients and the optimiser's step: clipping, and the steps that are not taken."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

CLIPPINGS = ("norm", "value", "adjustable", "adjustable_norm")


def read_clipping(option: Any) -> tuple[str, float] | None:
    """`{norm: 1.0}`, `{adjustable: 0.01}` ... as (kind, number); None stays None.

    Raises:
        ValueError: anything else.
    """
    if option is None:
        return None
    if isinstance(option, Mapping) and len(option) == 1:
        ((kind, number),) = option.items()
        if kind in CLIPPINGS and is_number(number, (int, float)) and 0 < number < math.inf:
            return kind, float(number)
    raise ValueError(
        f"train: grad_clip is {option!r}; expected one of " + ", ".join(f"{{{kind}: N}}" for kind in CLIPPINGS) + "."
    )


def is_number(value: Any, kinds: type | tuple[type, ...]) -> bool:
    """Whether it is one of these; `true` is none, though Python counts it among the whole numbers."""
    return isinstance(value, kinds) and not isinstance(value, bool)


def clip(optimizer: torch.optim.Optimizer, kind: str, number: float) -> None:
    """Clip gradients in place.

    Args:
        optimizer: whose parameters' gradients.
        kind: `norm`: the norm of all of them together to `number`; `value`: each value to -number..number;
            `adjustable`: each value to -number / lr..number / lr, lr being the parameter's rate in this step: "Accurate
            Image Super-Resolution Using Very Deep Convolutional Networks" (CVPR 2016), adjustable gradient clipping;
            `adjustable_norm`: the norm of all of them together to number / lr, lr being the largest rate, as the
            patched Caffe of DRRN's authors does (README of their code).
        number: the bound, theta.
    """
    if kind in ("norm", "adjustable_norm"):
        rate = max(group["lr"] for group in optimizer.param_groups)
        bound = number / rate if kind == "adjustable_norm" and rate > 0 else number
        torch.nn.utils.clip_grad_norm_([one for group in optimizer.param_groups for one in group["params"]], bound)
        return
    for group in optimizer.param_groups:
        bound = number / group["lr"] if kind == "adjustable" and group["lr"] > 0 else number
        torch.nn.utils.clip_grad_value_(group["params"], bound)


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
