"""Learning rates on the device, so that a recorded optimizer step follows a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class DeviceRates:
    """Copies of an optimizer's learning rates in tensors that a recorded step reads.

    The optimizer's groups keep plain numbers, which schedulers, warm-up, logs and saved states use. `update` copies
    them to the device before a replay; `installed` replaces them by the tensors while a step runs or is recorded.

    Args:
        optimizer: the optimizer.
        device: device of its parameters.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self.optimizer = optimizer
        self.tensors = [torch.zeros((), device=device) for _ in optimizer.param_groups]
        self.values: list[float | None] = [None] * len(self.tensors)

    def update(self) -> None:
        """Copy rates that have changed to the device, without waiting for it."""
        for number, (group, tensor) in enumerate(zip(self.optimizer.param_groups, self.tensors, strict=True)):
            rate = float(group["lr"])
            if rate != self.values[number]:
                self.values[number] = rate
                tensor.fill_(rate)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """In this context the optimizer reads its rates from the device, and is marked as capturable."""
        groups = self.optimizer.param_groups
        before: list[dict[str, Any]] = [
            {key: group[key] for key in ("lr", "capturable") if key in group} for group in groups
        ]
        for group, tensor in zip(groups, self.tensors, strict=True):
            group["lr"] = tensor
            if "capturable" in group:
                group["capturable"] = True
        try:
            yield
        finally:
            for group, values in zip(groups, before, strict=True):
                group.update(values)


def move_step_counts(optimizer: torch.optim.Optimizer, to_parameters: bool) -> None:
    """Move an optimizer's step counts to its parameters' device, where a recorded step needs them, or to the CPU.

    Fused optimizers, and those that an option file made capturable, always have them on the device; their counts are
    not moved.
    """
    for group in optimizer.param_groups:
        if group.get("fused") or (group.get("capturable") and not to_parameters):
            continue
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if isinstance(state.get("step"), torch.Tensor):
                state["step"] = state["step"].to(parameter.device if to_parameters else "cpu")
