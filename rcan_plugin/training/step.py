"""One training step: computes the gradients of a batch, runs the guarded optimizer step, updates the average."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from rcan_plugin.training.clipping import clip
from rcan_plugin.training.guard import Guard
from rcan_plugin.training.ranks import average_gradients, several_ranks

LossesOf = Callable[[Any, Tensor], dict[str, Tensor]]
"""Maps the network's output (one or several images) and the HR batch to losses by name; their sum is minimized."""


class TrainingStep:
    """A training step of a network: `step(lq, gt)`.

    With fused Adam the host does not wait for the GPU, also with a guard.

    Args:
        net: the network. It is called with the LR batch and the further arguments of the step. With several ranks,
            `DistributedDataParallel` exchanges the gradients; if the network is not wrapped in it, the step does.
        optimizer: optimizer of its parameters.
        losses_of: computes the losses, see `LossesOf`.
        scaler: scales the loss for fp16; disabled otherwise.
        precision: of the forward pass (autocast); None for float32.
        grad_accum: number of parts that a batch is cut into; their gradients are accumulated.
        guard: decides which steps are skipped; None runs all.
        clipping: (kind, theta) as `read_clipping` returns it.
        update_average: called after the optimizer step; None without EMA.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        losses_of: LossesOf,
        scaler: torch.amp.GradScaler,
        *,
        precision: torch.dtype | None = None,
        grad_accum: int = 1,
        guard: Guard | None = None,
        clipping: tuple[str, float] | None = None,
        update_average: Callable[[], None] | None = None,
    ) -> None:
        self.net, self.optimizer, self.losses_of, self.scaler = net, optimizer, losses_of, scaler
        self.precision, self.grad_accum = precision, grad_accum
        self.guard, self.clipping, self.update_average = guard, clipping, update_average
        norms = (module for module in net.modules() if isinstance(module, _BatchNorm))
        self.cache_casts = True  # autocast keeps the converted weights during the forward pass
        self.running_means = [buffer for norm in norms for buffer in norm.buffers()]

    def __call__(self, lq: Tensor, gt: Tensor, *arguments: Any) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            lq: LR images, N x C x H x W.
            gt: HR images, N x C' x sH x sW.
            arguments: passed to the network after the LR images.

        Returns:
            The losses by name, on the device, without gradients.
        """
        means_before = self.copy_running_means()
        losses = self.backward(lq, gt, *arguments)
        self.update(losses, means_before)
        return losses

    def copy_running_means(self) -> list[Tensor]:
        """Copies of BatchNorm's buffers, from which a rejected step restores them; none without a guard."""
        return [mean.clone() for mean in self.running_means] if self.guard else []

    def backward(self, lq: Tensor, gt: Tensor, *arguments: Any) -> dict[str, Tensor]:
        """Compute the gradients of a batch, part by part; they replace earlier gradients.

        Returns:
            The losses by name: means over the batch.
        """
        self.optimizer.zero_grad()
        parts = list(zip(lq.chunk(self.grad_accum), gt.chunk(self.grad_accum), strict=True))
        sums: dict[str, Tensor] = {}
        for number, (lq_part, gt_part) in enumerate(parts, start=1):
            with self._gradient_exchange(number == len(parts)):
                with torch.autocast(lq.device.type, self.precision, self.precision is not None, self.cache_casts):
                    output = self.net(lq_part, *arguments)
                losses = self.losses_of(output, gt_part)
                share = len(lq_part) / len(lq)  # the last part may be smaller
                total = torch.stack(list(losses.values())).sum() * share
                self.scaler.scale(total).backward()
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0) + loss.detach() * share
        return sums

    def _gradient_exchange(self, last: bool) -> AbstractContextManager[Any]:
        """Ranks exchange gradients once a step, after the last part."""
        if last or not isinstance(self.net, DistributedDataParallel):
            return nullcontext()
        return self.net.no_sync()

    def update(self, losses: dict[str, Tensor], means_before: list[Tensor]) -> None:
        """Run the optimizer step unless the guard rejects it, and update the average of the weights.

        Args:
            losses: what `backward` returned.
            means_before: what `copy_running_means` returned before the forward pass.
        """
        if several_ranks() and not isinstance(self.net, DistributedDataParallel):
            average_gradients(gradients_of(self.optimizer))
        rejected = self._optimizer_step(torch.stack(list(losses.values())).sum())
        if rejected is not None:
            for mean, before in zip(self.running_means, means_before, strict=True):
                mean.copy_(torch.where(rejected > 0, before, mean))
        if self.update_average is not None:
            self.update_average()

    def _optimizer_step(self, loss: Tensor) -> Tensor | None:
        """Run the optimizer step unless the guard rejects it.

        Returns:
            One value on the device: 1.0 if the step was skipped, 0.0 if it ran; None without a guard.
        """
        optimizer = self.optimizer
        if self.guard or self.clipping:
            self.scaler.unscale_(optimizer)
        rejected = self.guard.rejects(loss, gradients_of(optimizer)) if self.guard else None
        if self.clipping:
            clip(optimizer, *self.clipping)
        if rejected is None:
            self.scaler.step(optimizer)
        elif skips_on_device(optimizer):
            # The flag by which GradScaler makes a fused optimizer skip a step on the device, without waiting.
            optimizer.grad_scale, optimizer.found_inf = None, rejected  # type: ignore[attr-defined]
            try:
                optimizer.step()
            finally:
                del optimizer.grad_scale, optimizer.found_inf  # type: ignore[attr-defined]
        elif not rejected:
            optimizer.step()
        self.scaler.update()
        return rejected


def gradients_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The gradients of the last backward pass, in the order of the optimizer's parameters."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def skips_on_device(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer can skip a step by a flag on the device.

    Not fused SGD: if its first step is skipped, its momentum starts with uninitialized memory.
    """
    return isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)) and bool(optimizer.defaults["fused"])
