"""Records training steps as CUDA graphs, so that the GPU does not wait for the host to launch thousands of kernels."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rcan_plugin.training.graphs import Recorder, reason_of
from rcan_plugin.training.ranks import several_ranks
from rcan_plugin.training.rates import DeviceRates, move_step_counts
from rcan_plugin.training.step import TrainingStep, skips_on_device

log = logging.getLogger("basicsr")

WARM_UP_STEPS = 3
MAX_GRAPHS = 8


@dataclass
class _RecordedShape:
    """The recorded step for batches of one shape, with its fixed memory for inputs and outputs."""

    lq: Tensor
    gt: Tensor
    arguments: tuple[Any, ...]
    warm_up_steps: int = 0
    losses: dict[str, Tensor] = field(default_factory=dict)
    means_before: list[Tensor] = field(default_factory=list)
    gradients: list[tuple[torch.nn.Parameter, Tensor]] = field(default_factory=list)
    replay: Callable[[], None] | None = None


class CapturedStep:
    """A `TrainingStep` that is recorded once for each shape of batches and replayed after that.

    The first steps of a shape run as usual, on a side stream. Then the whole step is recorded: forward pass, losses,
    backward pass, guard, clipping, optimizer and average. With several ranks, only the forward and backward pass are
    recorded; the gradients are exchanged and the optimizer step runs after each replay. Learning rates are read from
    the device, so a schedule takes effect without recording again.

    If recording fails, a warning gives the reason and all further steps run as usual. Batches of more than `MAX_GRAPHS`
    different shapes run as usual too.

    Args:
        step: the training step; its network must not be wrapped in `DistributedDataParallel`.
        recorder: of the device.
        refusal: a reason not to record that is known in advance; None if there is none.
    """

    def __init__(self, step: TrainingStep, recorder: Recorder, refusal: str | None = None) -> None:
        self.step, self.recorder = step, recorder
        self.shapes: dict[Any, _RecordedShape] = {}
        self.enabled, self.warned_of_shapes = True, False
        parameter = step.optimizer.param_groups[0]["params"][0]
        self.rates = DeviceRates(step.optimizer, parameter.device)
        if reason := refusal or reason_not_to_record(step):
            self._disable(reason)

    def __call__(self, lq: Tensor, gt: Tensor, *arguments: Any) -> dict[str, Tensor]:
        """Train on one batch; arguments and result as those of `TrainingStep`.

        The result is overwritten by the next step of the same shape.
        """
        shape = self._shape_of(lq, gt, arguments) if self.enabled else None
        if shape is None:
            return self.step(lq, gt, *arguments)
        shape.lq.copy_(lq, non_blocking=True)
        shape.gt.copy_(gt, non_blocking=True)
        self.rates.update()
        if shape.replay is None:
            if shape.warm_up_steps < WARM_UP_STEPS:
                before = dict(self.step.net.named_buffers())
                losses = self._warm_up(shape)
                if replaced := _replaced(before, dict(self.step.net.named_buffers())):
                    self._disable(f"the network puts new tensors in the place of its buffer {replaced}")
                return losses
            if not self._record(shape):
                return self.step(lq, gt, *arguments)
            assert shape.replay is not None
        shape.replay()
        if several_ranks():
            for parameter, gradient in shape.gradients:  # those of this shape's graph
                parameter.grad = gradient
            with self.rates.installed():
                self.step.update(shape.losses, shape.means_before)
        return shape.losses

    def forget(self) -> None:
        """Discard the recordings, because other parameters are trained from now on; all shapes are recorded again."""
        self.step.optimizer.zero_grad(set_to_none=True)  # the gradients are in the graphs' memory
        self.shapes.clear()

    def _shape_of(self, lq: Tensor, gt: Tensor, arguments: tuple[Any, ...]) -> _RecordedShape | None:
        key = (lq.shape, lq.stride(), lq.dtype, gt.shape, gt.stride(), gt.dtype, arguments)
        if key not in self.shapes:
            if len(self.shapes) >= MAX_GRAPHS:
                if not self.warned_of_shapes:
                    log.warning(
                        "cuda_graph: %d shapes of batches are recorded, no more: LR %s and others run as usual.",
                        MAX_GRAPHS, tuple(lq.shape),
                    )  # fmt: skip
                    self.warned_of_shapes = True
                return None
            self.shapes[key] = _RecordedShape(torch.empty_like(lq), torch.empty_like(gt), arguments)
        return self.shapes[key]

    def _warm_up(self, shape: _RecordedShape) -> dict[str, Tensor]:
        """Run a normal step on the stream of the recording, with the fixed memory for inputs and outputs."""
        shape.warm_up_steps += 1
        move_step_counts(self.step.optimizer, to_parameters=True)
        # Otherwise torch warns that a capturable optimizer runs without a graph.
        self.step.optimizer._warned_capturable_if_run_uncaptured = True  # type: ignore[attr-defined]
        self.step.cache_casts = False
        with self.rates.installed():
            losses = self.recorder.warm_up(lambda: self.step(shape.lq, shape.gt, *shape.arguments))
        shape.losses = {name: torch.empty_like(loss) for name, loss in losses.items()}
        shape.means_before = [torch.empty_like(mean) for mean in self.step.copy_running_means()]
        return losses

    def _record(self, shape: _RecordedShape) -> bool:
        """Record the step; on failure, restore what the attempt changed and return False."""
        step = self.step

        def whole_step() -> None:
            with self.rates.installed():
                _copy(shape.losses, step(shape.lq, shape.gt, *shape.arguments))

        def forward_and_backward() -> None:
            for target, mean in zip(shape.means_before, step.copy_running_means(), strict=True):
                target.copy_(mean)
            _copy(shape.losses, step.backward(shape.lq, shape.gt, *shape.arguments))
            shape.gradients = _with_gradients(step.optimizer)

        # While recording, new gradients are allocated in the graph's memory.
        step.optimizer.zero_grad(set_to_none=True)
        try:
            shape.replay = self.recorder.record(forward_and_backward if several_ranks() else whole_step)
        except RuntimeError as error:
            step.optimizer.zero_grad(set_to_none=True)
            if step.scaler.is_enabled():
                step.scaler._per_optimizer_states.clear()  # otherwise it is marked as having unscaled the gradients
            self.recorder.recover()
            self._disable(reason_of(error))
            return False
        log.info("cuda_graph: the step for LR batches of %s is recorded.", tuple(shape.lq.shape))
        return True

    def _disable(self, reason: str) -> None:
        self.enabled = False
        self.shapes.clear()
        self.step.cache_casts = True
        move_step_counts(self.step.optimizer, to_parameters=False)
        log.warning("train: cuda_graph: the step cannot be recorded: %s. Training continues without.", reason)


def reason_not_to_record(step: TrainingStep) -> str | None:
    """Return the reason why a step cannot be recorded, if its parts show one; None if recording can be tried."""
    name = type(step.optimizer).__name__
    if "capturable" not in step.optimizer.defaults:
        return f"optim_g: {name} has no setting `capturable`; use Adam or AdamW"
    waits = [part for part, used in (("guard", step.guard), ("amp: fp16", step.scaler.is_enabled())) if used]
    if waits and not skips_on_device(step.optimizer):
        return f"{' and '.join(waits)} with optim_g: {name} waits for the device; use Adam or AdamW with fused: true"
    return None


def _replaced(before: dict[str, Tensor], after: dict[str, Tensor]) -> str | None:
    """Return the name of the first buffer that is another tensor now; a recording would still use the old tensor.

    New buffers do not count: some networks add buffers in their first forward pass.
    """
    return next((name for name, old in before.items() if after.get(name) is not old), None)


def _copy(targets: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        targets[name].copy_(value)


def _with_gradients(optimizer: torch.optim.Optimizer) -> list[tuple[torch.nn.Parameter, Tensor]]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
