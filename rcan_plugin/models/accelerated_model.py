"""`AcceleratedSRModel`: BasicSR's SRModel with faster training, less memory and safe checkpoints, for any network."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from basicsr.utils import get_root_logger

from rcan_plugin.losses import LOSSES
from rcan_plugin.models.settings import BLOCKS, PRECISIONS, Settings
from rcan_plugin.models.validation import ValidatingModel
from rcan_plugin.training import graphs, optimizers
from rcan_plugin.training.average import Average
from rcan_plugin.training.captured import CapturedStep
from rcan_plugin.training.compiling import compile_blocks, repeated_blocks
from rcan_plugin.training.freezing import Freezer
from rcan_plugin.training.guard import Guard
from rcan_plugin.training.ranks import share_weights
from rcan_plugin.training.schedules import WarmupCosineLR
from rcan_plugin.training.step import TrainingStep


class AcceleratedSRModel(ValidatingModel):
    """SRModel with additional features, all off by default.

    Under `train`:
        amp: `bf16` or `fp16`: precision of the forward pass and of the activations; weights stay float32. RCAN's
            activations exceed 255 and overflow in fp16.
        channels_last: true stores activations channels last.
        compile: `blocks` compiles the network's repeated blocks, such as RCAN's RCAB, once for all of them; true, or a
            mode of `torch.compile` (`reduce-overhead`, `max-autotune`, ...), compiles the whole network, which takes
            minutes for RCAN. Checkpoints have the keys of the plain network.
        cuda_graph: true records the whole training step as a CUDA graph for each shape of batches, after three normal
            steps, and replays it: the host no longer limits the speed. It needs an optimizer with `capturable`; Adam
            and AdamW become fused. A step that cannot be recorded runs without a graph, after a warning. With several
            ranks, this model exchanges the gradients instead of DDP. On a CPU nothing is recorded.
        grad_accum: N cuts each batch into N parts that are processed one after the other: the same gradients in an Nth
            of the memory. (BatchNorm, in DRRN and MemNet, normalises parts instead of batches.)
        freeze: {parts: [PART, ...], until: N}: parameters with a PART in their name keep their values in iterations 1
            to N, for example to start x3 and x4 from the trunk of x2. These iterations take less time.
        grad_clip: {norm: N}, {value: N}, {adjustable: theta} or {adjustable_norm: theta}, see `training.clipping.clip`.
        guard: {factor: F, stop_after: N}: skips a step whose loss or gradients are not finite, or whose loss is above F
            times its running mean; training ends after N skipped steps in a row. While steps are skipped no checkpoint
            is written. With Adam or AdamW and `fused: true` the host does not wait for the GPU.
        optim_g: any optimizer of `torch.optim` by its name, with its own arguments, such as `fused: true`; with
            `layer_rates: {PART: FACTOR}`, parameters with PART in their name learn at FACTOR times the rate.
        scheduler: BasicSR's, or {type: WarmupCosineLR, total, warmup, eta_min}.
        ema_decay: as in BasicSR; buffers are copied.
    Under `val`:
        self_ensemble: true averages eight flips and rotations (RCAN+).
        amp: `bf16` or `fp16`: precision of the network, in a copy of its weights.
        compile: `blocks`, as above, on a GPU.
        cuda_graph: true records a CUDA graph for each image shape that recurs, such as tiles, on a GPU.
        tile: {size, overlap} in LR pixels, for images that do not fit in memory, or {protocol: official_chop}.
        pictures: N images of each data set are written to TensorBoard: bicubic, SR, HR.
        metrics: as in BasicSR; crop_border may be `scale`, the scale of the validated data set.
    Under `logger`:
        keep_last: N keeps the newest N checkpoints, with a guard at least two. The weights of the best validation are
            kept as `net_g_best.pth`.

    If a network returns several outputs in training, the final one last, this plugin's losses compare all of them with
    the HR images, other losses only the last. A network with an attribute `scales` is called with the scale of the data
    as a second argument.

    `log_dict` holds the losses of the last step on the device, of this rank only; `get_current_log` returns numbers.

    Raises:
        ValueError: an option is out of range; several GPUs without a launcher; `compile: blocks` for a network that has
            no repeated blocks.
    """

    guard: Guard | None = None
    average: Average | None = None  # built at the first update
    freezer: Freezer | None = None
    first_step = True

    def __init__(self, opt: dict[str, Any]) -> None:
        self.settings = check(opt)
        self.log_dict: dict[str, torch.Tensor] = {}
        super().__init__(opt)
        if not self.is_train:
            self.net_g.eval()
        if self.settings.val_compile:
            repeated_blocks(self.get_bare_model(self.net_g))  # raise an error now, not at the first validation
        if self.device.type != "cuda":
            asked = {"train: cuda_graph": self.settings.cuda_graph and self.is_train}
            asked |= {"val: cuda_graph": self.settings.val_cuda_graph, "val: compile": self.settings.val_compile}
            if keys := [key for key, value in asked.items() if value]:
                get_root_logger().info(f"{', '.join(keys)}: no effect without a GPU.")
        if isinstance(self.settings.tile, tuple):
            get_root_logger().info(
                "Validation in tiles: with channel attention, the results differ from those of the whole image."
            )

    def model_to_device(self, net: torch.nn.Module) -> torch.nn.Module:
        """Move a network to the device, in the memory format and compiled as configured, and wrap it for DDP."""
        if self.settings.channels_last:
            net = net.to(memory_format=torch.channels_last)
        settings = self.settings
        if self.is_train and settings.compile:
            # In place and before DDP wraps the network, so that the keys do not change.
            what = "the whole network"
            if settings.compile == BLOCKS:
                what = compile_blocks(net, training=True, dynamic=False)
            else:
                net.compile(mode=settings.compile)
            get_root_logger().info(f"Compiling {what} in the first step.")
        # DDP waits for the gradients of all parameters that were trained when it was built.
        exchanged_here = settings.cuda_graph or settings.freeze
        if not (self.is_train and exchanged_here and self.opt["dist"]):
            return super().model_to_device(net)
        net = net.to(self.device)
        share_weights(net)
        return net

    def init_training_settings(self) -> None:
        """Build the average, losses, optimizer and schedulers (BasicSR), and the training step."""
        train = self.opt["train"]
        # BasicSR removes keys from these.
        self.rates = deepcopy({key: train.get(key) for key in ("optim_g", "scheduler", "warmup_iter")})
        super().init_training_settings()
        settings = self.settings
        if self.ema_decay > 0 and settings.channels_last:
            self.net_g_ema.to(memory_format=torch.channels_last)  # in one format, weights are averaged by few kernels
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.amp == "fp16")
        if settings.amp == "fp16":
            get_root_logger().warning("amp: fp16 overflows in RCAN, whose activations exceed 255; bf16 does not.")
        # After the optimizer, which holds all parameters.
        self.freezer = Freezer(self.get_bare_model(self.net_g), settings.freeze) if settings.freeze else None
        self.guard = Guard(self.device, *settings.guard) if settings.guard else None
        self.step = TrainingStep(
            self.net_g,
            self.optimizer_g,
            self.losses_of,
            self.scaler,
            precision=PRECISIONS[settings.amp] if settings.amp else None,
            grad_accum=settings.grad_accum,
            guard=self.guard,
            clipping=settings.grad_clip,
            update_average=(lambda: self.model_ema(self.ema_decay)) if self.ema_decay > 0 else None,
        )
        self.run_step: Callable[..., dict[str, torch.Tensor]] = self.step
        recorder = graphs.recorder_for(self.device) if settings.cuda_graph else None
        if recorder is not None:
            changing = hasattr(self.cri_pix, "current_iter")
            refusal = f"{type(self.cri_pix).__name__} changes with the iteration" if changing else None
            self.run_step = CapturedStep(self.step, recorder, refusal)

    def get_optimizer(self, optim_type: str, params: Any, lr: float, **kwargs: Any) -> torch.optim.Optimizer:
        """Build any optimizer of `torch.optim`, with separate rates for parts of the network (`optimizers.build`)."""
        names = {parameter: name for name, parameter in self.get_bare_model(self.net_g).named_parameters()}
        named = {names[parameter]: parameter for parameter in params}
        fusable = optim_type in ("Adam", "AdamW") and not (kwargs.get("foreach") or kwargs.get("differentiable"))
        if self.settings.cuda_graph and self.device.type == "cuda" and fusable:
            kwargs.setdefault("fused", True)
        return optimizers.build(named, {"type": optim_type, "lr": lr, **kwargs})

    def setup_schedulers(self) -> None:
        """Build BasicSR's schedulers, or `WarmupCosineLR`."""
        scheduler = self.opt["train"]["scheduler"]
        if scheduler["type"] != WarmupCosineLR.__name__:
            super().setup_schedulers()
            return
        scheduler.pop("type")
        self.schedulers += [WarmupCosineLR(optimizer, **scheduler) for optimizer in self.optimizers]

    def feed_data(self, data: dict[str, Any]) -> None:
        """Copy a batch to the device, in the configured memory format, without waiting if it is in pinned memory."""
        lq: torch.Tensor = data["lq"].to(self.device, non_blocking=True)
        self.lq = lq.contiguous(memory_format=self.settings.memory_format)
        if "gt" in data:
            self.gt: torch.Tensor = data["gt"].to(self.device, non_blocking=True)
        self.names: list[str] = list(data.get("gt_path") or data.get("lq_path") or [])
        self.scale = int(data["scale"][0]) if "scale" in data else self.opt.get("scale")  # one for the whole batch

    def optimize_parameters(self, current_iter: int) -> None:
        """Run one training step on the batch of `feed_data`.

        Raises:
            RuntimeError: out of memory, with remedies.
            StuckError: too many skipped steps in a row.
        """
        self.restore_random_states()
        if hasattr(self.cri_pix, "current_iter"):
            self.cri_pix.current_iter = current_iter
        if self.freezer is not None and self.freezer.at(current_iter):
            self._log_frozen_parts()
        started = time.monotonic()
        try:
            self.log_dict = self.run_step(self.lq, self.gt, *self._scale_for(self.net_g, self.scale))
        except torch.OutOfMemoryError as error:
            raise RuntimeError(self._out_of_memory()) from error
        if self.first_step and self.settings.compile:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            get_root_logger().info(f"First step, with compilation: {time.monotonic() - started:.1f} s.")
        self.first_step = False
        if self.runner is not None:
            self.runner.weights_changed()
        self.stop_if_stuck(current_iter, self.names)

    def _log_frozen_parts(self) -> None:
        assert self.freezer is not None
        if isinstance(self.run_step, CapturedStep):
            self.run_step.forget()
        count = len(self.freezer.parameters)
        until = f"keep their values until iteration {self.freezer.until}" if self.freezer.frozen else "are trained now"
        get_root_logger().info(f"train: freeze: {count} tensors of the network {until}.")

    def losses_of(self, output: Any, gt: torch.Tensor) -> dict[str, torch.Tensor]:
        """SRModel's losses by their names in the log; their sum is minimized."""
        losses = {}
        final = (output if isinstance(output, torch.Tensor) else output[-1]).float()
        if self.cri_pix:
            losses["l_pix"] = self.cri_pix(output if isinstance(self.cri_pix, LOSSES) else final, gt)
        if self.cri_perceptual:
            for name, loss in zip(("l_percep", "l_style"), self.cri_perceptual(final, gt), strict=True):
                if loss is not None:
                    losses[name] = loss
        return losses

    def model_ema(self, decay: float = 0.999) -> None:
        """Update the averaged weights (BasicSR's interface)."""
        if self.average is None or self.average.averaged is not self.net_g_ema:
            self.average = Average(self.net_g_ema, self.get_bare_model(self.net_g))
        self.average.update(decay)

    def get_current_log(self) -> OrderedDict[str, float]:
        """The losses of the last step as numbers. Only this waits for the device, so call it only to print them."""
        log = self.reduce_loss_dict(OrderedDict(self.log_dict))
        if self.guard:
            log["skipped"] = int(self.guard.skipped)
        return log

    def _out_of_memory(self) -> str:
        batch, _, height, width = self.lq.shape
        grad_accum = self.settings.grad_accum
        remedies = ["a smaller batch_size_per_gpu or gt_size"]
        if more := next((parts for parts in range(grad_accum + 1, batch + 1) if batch % parts == 0), None):
            remedies.append(f"train: grad_accum: {more}")
        if self.settings.amp is None:
            remedies.append("train: amp: bf16")
        if not self.opt["network_g"].get("use_checkpoint"):
            remedies.append("network_g: use_checkpoint: true (RCANArch, SwinIR)")
        return (
            f"out of memory on {self.device}: batch {batch} (grad_accum {grad_accum}), LR patch {height}x{width}, "
            f"{self.settings.amp or 'float32'}. To reduce it: {'; '.join(remedies)}."
        )


def check(opt: Mapping[str, Any]) -> Settings:
    """Read and check the model's options before anything is built.

    Raises:
        ValueError: an option is out of range; several GPUs without a launcher.
    """
    settings = Settings.read(opt)
    train = opt.get("train") or {}
    if "optim_g" in train:
        optimizers.check(train["optim_g"])
    scheduler = train.get("scheduler") or {}
    if scheduler.get("type") == WarmupCosineLR.__name__:
        WarmupCosineLR.check(**{key: value for key, value in scheduler.items() if key != "type"})
    if opt["num_gpu"] > 1 and not opt["dist"]:
        program = "train" if opt["is_train"] else "test"
        raise ValueError(
            f"num_gpu is {opt['num_gpu']} without a launcher. BasicSR would use DataParallel, which is slow and "
            f"multiplies the batch. Run `torchrun --nproc_per_node {opt['num_gpu']} basicsr/{program}.py -opt FILE "
            "--launcher pytorch`, or use one GPU with CUDA_VISIBLE_DEVICES=0."
        )
    return settings
