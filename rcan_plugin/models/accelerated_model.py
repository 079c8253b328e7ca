"""`AcceleratedSRModel`: BasicSR's SRModel, faster, leaner and safer, for any network of the registry."""

from __future__ import annotations

import inspect
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.metrics import calculate_metric
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger, imwrite, tensor2img
from basicsr.utils.registry import METRIC_REGISTRY
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, default_collate
from tqdm import tqdm

from rcan_plugin.degradations import imresize
from rcan_plugin.inference.enlarge import official_chop, self_ensemble, tiled
from rcan_plugin.losses import LOSSES
from rcan_plugin.models.settings import PRECISIONS, Settings
from rcan_plugin.training import checkpoints, optimizers
from rcan_plugin.training.clipping import clip
from rcan_plugin.training.guard import Guard
from rcan_plugin.training.schedules import WarmupCosineLR

Batch = dict[str, Any]


class AcceleratedSRModel(SRModel):
    """SRModel with features that are off unless the option file asks for them.

    Under `train`:
        amp: `bf16` or `fp16`: precision of the forward pass and of the activations; weights stay float32. RCAN's
            values run to 255 and more and overflow in fp16.
        channels_last: true stores activations channels last.
        compile: true, or a mode of `torch.compile`: `reduce-overhead` (CUDA graphs), `max-autotune`, ... The network
            is compiled in place: its checkpoints are those of the plain network.
        grad_accum: N cuts each batch into N parts, one after the other: the same gradients in an Nth of the memory.
            (BatchNorm, in DRRN and MemNet, sees parts instead of batches.)
        grad_clip: {norm: N}, {value: N}, {adjustable: theta} or {adjustable_norm: theta}, see `steps.clip`.
        guard: {factor: F, stop_after: N}: a step whose loss or gradients are not finite, or whose loss is above F
            times its running mean, is not taken; after N such in a row training stops. On a GPU it costs no waiting
            with Adam or AdamW and `fused: true`.
        optim_g: any optimiser of `torch.optim` by its name, with its own settings, `fused: true` among them; with
            `layer_rates: {PART: FACTOR}` parameters with PART in their name learn at FACTOR times the rate.
        scheduler: BasicSR's, or {type: WarmupCosineLR, total, warmup, eta_min}.
        ema_decay: as in BasicSR; buffers are taken over.
    Under `val`:
        self_ensemble: true averages eight flips and rotations (RCAN+).
        tile: {size, overlap} in LR pixels, for images that do not fit, or {protocol: official_chop}.
        pictures: N images of each set go to TensorBoard: bicubic, SR, HR.
        A metric's crop_border may be `scale`, the validated set's own.
    Under `logger`:
        keep_last: N keeps the newest N checkpoints. Those of the best validation are kept as `net_g_best.pth`.

    A network that gives several outputs in training, the final one last, is supervised in all of them by this plugin's
    losses, in the last alone by others. A network with `scales` is called with the scale of the data.

    `log_dict` holds the losses of the last step on the device, this process's alone; `get_current_log` gives numbers.

    Raises:
        ValueError: an option that is out of range; several GPUs without a launcher.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        check(opt)
        self.settings = Settings.read(opt)
        self.log_dict: dict[str, torch.Tensor] = {}
        self.random_states: list[Any] | None = None
        self.saved = (0, 0)  # epoch and iteration of the last training state
        super().__init__(opt)
        if isinstance(self.settings.tile, tuple):
            get_root_logger().info("Validation in tiles: with channel attention a tile's result is not the whole's.")

    # Building

    def model_to_device(self, net: torch.nn.Module) -> torch.nn.Module:
        """BasicSR's, of a network laid out and compiled as the options say."""
        if self.settings.channels_last:
            net = net.to(memory_format=torch.channels_last)
        if self.is_train and self.settings.compile:
            net.compile(mode=self.settings.compile)  # in place, and before DDP wraps it: the keys stay
        return super().model_to_device(net)

    def init_training_settings(self) -> None:
        """BasicSR's, and what the features need."""
        train = self.opt["train"]
        # BasicSR takes parts out of these.
        self.rates = deepcopy({key: train.get(key) for key in ("optim_g", "scheduler", "warmup_iter")})
        super().init_training_settings()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.settings.amp == "fp16")
        if self.settings.amp == "fp16":
            get_root_logger().warning("amp: fp16 overflows in RCAN, whose values run to 255 and more: bf16 does not.")
        self.guard = Guard(self.device, *self.settings.guard) if self.settings.guard else None

    def get_optimizer(self, optim_type: str, params: Any, lr: float, **kwargs: Any) -> torch.optim.Optimizer:
        """Any optimiser of `torch.optim`, with rates of their own for parts of the network (see `optimizers.build`)."""
        names = {parameter: name for name, parameter in self.get_bare_model(self.net_g).named_parameters()}
        named = {names[parameter]: parameter for parameter in params}
        return optimizers.build(named, {"type": optim_type, "lr": lr, **kwargs})

    def setup_schedulers(self) -> None:
        """BasicSR's, and `WarmupCosineLR`."""
        scheduler = self.opt["train"]["scheduler"]
        if scheduler["type"] != WarmupCosineLR.__name__:
            super().setup_schedulers()
            return
        scheduler.pop("type")
        self.schedulers += [WarmupCosineLR(optimizer, **scheduler) for optimizer in self.optimizers]

    def load_network(
        self, net: torch.nn.Module, load_path: str, strict: bool = True, param_key: str | None = "params"
    ) -> None:
        """Weights in any layout: under BasicSR's keys, with EMA or without, or flat as the authors' are."""
        net = self.get_bare_model(net)
        content = checkpoints.load(load_path)
        key = next((key for key in (param_key, "params_ema", "params") if key is not None and key in content), None)
        weights = dict(content if key is None else content[key])
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
        get_root_logger().info(f"Loading {type(net).__name__} from {load_path}, key {key or 'none, it is flat'}.")
        self._print_different_keys_loading(net, weights, strict)
        net.load_state_dict(weights, strict=strict)

    # Training

    def feed_data(self, data: Batch) -> None:
        """BasicSR's, laid out as the options say, and without waiting for what is in pinned memory."""
        lq: torch.Tensor = data["lq"].to(self.device, non_blocking=True)
        self.lq = lq.contiguous(memory_format=self._memory_format)
        if "gt" in data:
            self.gt: torch.Tensor = data["gt"].to(self.device, non_blocking=True)
        self.names: list[str] = list(data.get("gt_path") or data.get("lq_path") or [])
        self.scale = int(data["scale"][0]) if "scale" in data else self.opt.get("scale")  # one for the whole batch

    @property
    def _memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.settings.channels_last else torch.contiguous_format

    def optimize_parameters(self, current_iter: int) -> None:
        """One step."""
        self._restore_random_states()
        self.optimizer_g.zero_grad()
        if hasattr(self.cri_pix, "current_iter"):
            self.cri_pix.current_iter = current_iter
        running = self._running_means() if self.guard else []
        before = [one.clone() for one in running]
        try:
            refused = self._step(self._backward())
        except torch.OutOfMemoryError as error:
            raise RuntimeError(self._out_of_memory()) from error
        if self.guard:
            for one, old in zip(running, before, strict=True):
                one.copy_(torch.where(refused > 0, old, one))
            self.guard.stop(current_iter, self.names)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def _backward(self) -> torch.Tensor:
        """Gradients of the batch, part by part; gives the loss."""
        parts = list(zip(self.lq.chunk(self.settings.grad_accum), self.gt.chunk(self.settings.grad_accum), strict=True))
        sums: dict[str, torch.Tensor] = {}
        for number, (lq, gt) in enumerate(parts, start=1):
            with self._synchronised(number == len(parts)):
                with torch.autocast(self.device.type, PRECISIONS.get(self.settings.amp or ""), bool(self.settings.amp)):
                    output = self.net_g(lq, *self._scale_for(self.net_g, self.scale))
                losses = self.losses_of(output, gt)
                share = len(lq) / len(self.lq)  # the last part may be smaller
                total = torch.stack(list(losses.values())).sum() * share
                self.scaler.scale(total).backward()
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0) + loss.detach() * share
        self.log_dict = sums
        return torch.stack(list(sums.values())).sum()

    def _synchronised(self, last: bool) -> AbstractContextManager[Any]:
        """Ranks exchange gradients once a step, with the last part."""
        if last or not isinstance(self.net_g, DistributedDataParallel):
            return nullcontext()
        return self.net_g.no_sync()

    def losses_of(self, output: Any, gt: torch.Tensor) -> dict[str, torch.Tensor]:
        """The losses of SRModel by their names in the log; their sum is what is trained on."""
        losses = {}
        final = (output if isinstance(output, torch.Tensor) else output[-1]).float()
        if self.cri_pix:
            losses["l_pix"] = self.cri_pix(output if isinstance(self.cri_pix, LOSSES) else final, gt)
        if self.cri_perceptual:
            for name, loss in zip(("l_percep", "l_style"), self.cri_perceptual(final, gt), strict=True):
                if loss is not None:
                    losses[name] = loss
        return losses

    def _running_means(self) -> list[torch.Tensor]:
        """What a forward pass changes, of a step that may not be taken."""
        norms = (module for module in self.net_g.modules() if isinstance(module, _BatchNorm))
        return [buffer for norm in norms for buffer in norm.buffers()]

    def _step(self, total: torch.Tensor) -> Any:
        """Take the step or not; gives the guard's word, if there is one."""
        optimizer = self.optimizer_g
        parameters = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
        if self.guard or self.settings.grad_clip:
            self.scaler.unscale_(optimizer)
        refused = self.guard.refuses(total, [one.grad for one in parameters]) if self.guard else None
        if self.settings.grad_clip:
            clip(optimizer, *self.settings.grad_clip)
        if refused is None:
            self.scaler.step(optimizer)
        elif isinstance(self.optimizer_g, (torch.optim.Adam, torch.optim.AdamW)) and optimizer.defaults["fused"]:
            # The way torch's GradScaler tells it a fused optimiser: decided on the device, nobody waits. (Not SGD: when
            # its first step is not taken, its momentum begins with whatever was in memory.)
            optimizer.grad_scale, optimizer.found_inf = None, refused
            optimizer.step()
            del optimizer.grad_scale, optimizer.found_inf
        elif not refused:
            optimizer.step()
        self.scaler.update()
        return refused

    def _out_of_memory(self) -> str:
        batch, _, height, width = self.lq.shape
        accumulated = self.settings.grad_accum
        remedies = ["a smaller batch_size_per_gpu or gt_size"]
        if more := next((parts for parts in range(accumulated + 1, batch + 1) if batch % parts == 0), None):
            remedies.append(f"train: grad_accum: {more}")
        if self.settings.amp is None:
            remedies.append("train: amp: bf16")
        if not self.opt["network_g"].get("use_checkpoint"):
            remedies.append("network_g: use_checkpoint: true (RCANArch, SwinIR)")
        return (
            f"out of memory on {self.device}: batch {batch} (grad_accum {accumulated}), LR patch {height}x{width}, "
            f"{self.settings.amp or 'float32'}. What lowers it: {'; '.join(remedies)}."
        )

    def model_ema(self, decay: float = 0.999) -> None:
        """BasicSR's, in a few calls; buffers are taken over as they are."""
        net, ema = self.get_bare_model(self.net_g), self.net_g_ema
        averaged = [one.data for one in ema.parameters()]
        torch._foreach_mul_(averaged, decay)
        torch._foreach_add_(averaged, [one.data for one in net.parameters()], alpha=1 - decay)
        for to, buffer in zip(ema.buffers(), net.buffers(), strict=True):
            to.copy_(buffer)

    def get_current_log(self) -> OrderedDict[str, float]:
        """The losses of the last step; asked for only where they are printed, so that no other step waits for them."""
        log = self.reduce_loss_dict(OrderedDict(self.log_dict))
        if self.guard:
            log["skipped"] = int(self.guard.skipped)
        return log

    def _scale_for(self, net: torch.nn.Module, scale: int | None) -> list[int]:
        """What a network with several scales is called with besides the image.

        Raises:
            ValueError: the data has no scale.
        """
        if not hasattr(self.get_bare_model(net), "scales"):
            return []
        if scale is None:
            raise ValueError(
                f"{type(self.get_bare_model(net)).__name__} needs the scale of the data: give each data set a scale, "
                "and that for training scales."
            )
        return [scale]

    # Validation

    @torch.no_grad()
    def validation(
        self, dataloader: DataLoader[Batch], current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> None:
        """Validate a set, each rank its share of the images; the figures are those that one rank gets."""
        dataset: Any = dataloader.dataset
        scale = dataset.opt.get("scale")
        rank, world = (self.opt["rank"], self.opt["world_size"]) if self.opt["dist"] else (0, 1)
        if world > 1:
            for buffer in (getattr(self, "net_g_ema", None) or self.get_bare_model(self.net_g)).buffers():
                torch.distributed.broadcast(buffer, 0)  # running means: the checkpoint's are those of rank 0
        indices = range(rank, len(dataset), world)
        found: dict[int, dict[str, float]] = {}
        for number, index in enumerate(tqdm(indices, dataset.opt["name"], disable=not self.opt["val"].get("pbar"))):
            data = default_collate([dataset[index]])
            name = Path(data["lq_path"][0]).stem
            images = self._images(data, scale, 1 if dataset.opt.get("pre_upsample") else scale)
            if save_img:
                imwrite(images["img"], self._path_of_result(dataset.opt["name"], name, current_iter))
            if tb_logger and "img2" in images and number < self.settings.pictures:
                strip = _strip(data["lq"], images)
                tb_logger.add_image(f"{dataset.opt['name']}/{name}", strip, current_iter, dataformats="HWC")
            found[index] = self._metrics(images, scale)
        if world > 1:
            gathered: list[Any] = [None] * world
            torch.distributed.all_gather_object(gathered, found)
            found = {index: values for share in gathered for index, values in share.items()}
        if any(found.values()):
            self._report(dataset.opt["name"], [found[index] for index in sorted(found)], current_iter, tb_logger)

    def _images(self, data: Batch, scale: int | None, factor: int | None) -> dict[str, np.ndarray]:
        """SR and HR as BasicSR's metrics take them; of a set of some scale, by which the network enlarges or not."""
        lq = data["lq"]
        if not isinstance(self.settings.tile, tuple):
            lq = lq.to(self.device)  # else each tile goes by itself
        images = {"img": tensor2img([self.upscale(lq, scale, factor)])}
        if "gt" in data:
            images["img2"] = tensor2img([data["gt"]])
        return images

    def upscale(self, lq: torch.Tensor, scale: int | None, factor: int | None = None) -> torch.Tensor:
        """The network's result, with EMA where there is one, in tiles and averaged over eight turns if so set.

        Args:
            lq: N x C x H x W.
            scale: of the data; only tiles and networks of several scales need to know it.
            factor: by which the result is larger, if that is not the scale, since the LR image is enlarged already.
        """
        net = getattr(self, "net_g_ema", None) or self.get_bare_model(self.net_g)
        was_training = net.training
        net.eval()

        def plain(image: torch.Tensor) -> torch.Tensor:
            # Not `net(image)`: a compiled network would be compiled anew for each size.
            return net.forward(image.contiguous(memory_format=self._memory_format), *self._scale_for(net, scale))

        def in_parts(image: torch.Tensor) -> torch.Tensor:
            if self.settings.tile == "official_chop":
                return official_chop(plain, image)
            if isinstance(self.settings.tile, tuple):
                # Of a set without a scale it says what is missing.
                times: Any = factor or scale
                return tiled(plain, image, times, *self.settings.tile, device=self.device)
            return plain(image)

        try:
            return self_ensemble(in_parts, lq) if self.settings.self_ensemble else in_parts(lq)
        finally:
            net.train(was_training)

    def test(self) -> None:
        """BasicSR's, by `upscale`: of `self.lq`, to `self.output`."""
        with torch.no_grad():
            self.output = self.upscale(self.lq, self.scale)

    def _metrics(self, images: dict[str, np.ndarray], scale: int | None) -> dict[str, float]:
        """Of a set without HR images those alone that need none."""
        values = {}
        for name, option in (self.opt["val"].get("metrics") or {}).items():
            if "img2" in images or "img2" not in inspect.signature(METRIC_REGISTRY.get(option["type"])).parameters:
                if option.get("crop_border") == "scale":
                    if scale is None:
                        raise ValueError(
                            f"val: metrics: {name}: crop_border is scale, and the validated set has none: give it a "
                            "scale, or crop_border a number of pixels."
                        )
                    option = {**option, "crop_border": scale}
                values[name] = float(calculate_metric(images, option))
        return values

    def _path_of_result(self, dataset: str, name: str, current_iter: int | str) -> str:
        """As BasicSR names it."""
        folder = Path(self.opt["path"]["visualization"])
        if self.opt["is_train"]:
            # BasicSR leaves the set's name out; one image may be validated at several scales.
            several = sum(phase.startswith("val") for phase in self.opt.get("datasets", {})) > 1
            return str(folder / name / f"{name}_{dataset + '_' if several else ''}{current_iter}.png")
        return str(folder / dataset / f"{name}_{self.opt['val'].get('suffix') or self.opt['name']}.png")

    def _report(self, dataset: str, values: list[dict[str, float]], current_iter: int | str, tb_logger: Any) -> None:
        self._initialize_best_metric_results(dataset)
        self.metric_results = {}
        for metric in values[0]:
            mean = sum(one[metric] for one in values) / len(values)  # in the set's order, whoever had which image
            self.metric_results[metric] = mean
            self._update_best_metric_result(dataset, metric, mean, current_iter)
        self._log_validation_metric_values(current_iter, dataset, tb_logger)
        first_set, first_metric = next(iter(self.best_metric_results)), next(iter(values[0]))
        is_best = self.best_metric_results[dataset][first_metric]["iter"] == current_iter
        if self.is_train and dataset == first_set and is_best:
            self._save_networks("best")
        if self.is_train and current_iter == self.saved[1]:
            self.save_training_state(*self.saved)  # once more: BasicSR saves before it validates

    # Checkpoints

    def save_network(
        self, net: Any, net_label: str, current_iter: int | str, param_key: str | list[str] = "params"
    ) -> None:
        """BasicSR's file, whole or not at all.

        Raises:
            OSError: it could not be written.
        """
        if self.opt["rank"] != 0:
            return
        nets, keys = ([one] if not isinstance(one, list) else one for one in (net, param_key))
        content = {
            key: {name: value.cpu() for name, value in self.get_bare_model(one).state_dict().items()}
            for key, one in zip(keys, nets, strict=True)
        }
        number = "latest" if current_iter == -1 else current_iter
        checkpoints.save(content, Path(self.opt["path"]["models"], f"{net_label}_{number}.pth"))

    def _save_networks(self, number: str) -> None:
        if hasattr(self, "net_g_ema"):
            self.save_network([self.net_g, self.net_g_ema], "net_g", number, ["params", "params_ema"])
        else:
            self.save_network(self.net_g, "net_g", number)

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """BasicSR's file and what else a run needs to go on as if it had not stopped; whole or not at all.

        Plain numbers and tensors alone, so that it loads with `weights_only=True`.

        Raises:
            OSError: it could not be written.
        """
        if current_iter == -1:
            return
        self.saved = epoch, current_iter
        random_states = checkpoints.random_states()
        if self.opt["dist"]:
            gathered: list[Any] = [None] * self.opt["world_size"]
            torch.distributed.all_gather_object(gathered, random_states)
        else:
            gathered = [random_states]
        if self.opt["rank"] != 0:
            return
        state = {
            "epoch": epoch,
            "iter": current_iter,
            "optimizers": [one.state_dict() for one in self.optimizers],
            "schedulers": [one.state_dict() for one in self.schedulers],
            "rates": self.rates,
            "scaler": self.scaler.state_dict(),
            "guard": self.guard.state_dict() if self.guard else None,
            "best": getattr(self, "best_metric_results", None),
            "random_states": gathered,
        }
        folders = Path(self.opt["path"]["models"]), Path(self.opt["path"]["training_states"])
        checkpoints.save(state, folders[1] / f"{current_iter}.state")
        if self.settings.keep_last is not None:
            checkpoints.prune(*folders, self.settings.keep_last)

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Go on from a state; also from one that BasicSR's SRModel wrote.

        Learning rates and milestones that the option file changed meanwhile take effect: the schedule is then that of
        the new options, at the state's iteration.

        Raises:
            ValueError: other parameters share a rate than did in the state.
        """
        # The state knows parameters by their place in the groups alone.
        names = [name for name, _ in self.get_bare_model(self.net_g).named_parameters()]
        was, now = (
            (rates or {"optim_g": {}})["optim_g"].get("layer_rates")
            for rates in (resume_state.get("rates"), self.rates)
        )
        if [*optimizers.by_factor(names, was).values()] != [*optimizers.by_factor(names, now).values()]:
            raise ValueError(
                f"train: optim_g: layer_rates is {now} and was {was} in the state that is resumed: rates may "
                "change, but not which parameters share one. Put it back, or begin anew from the weights (path: "
                "pretrain_network_g)."
            )
        states = list(map(optimizers.with_kernel_flags_of, resume_state["optimizers"], self.optimizers))
        super().resume_training({**resume_state, "optimizers": states})
        if resume_state.get("rates", self.rates) != self.rates:
            self._reschedule(resume_state)
        if resume_state.get("scaler"):
            self.scaler.load_state_dict(resume_state["scaler"])
        if self.guard and resume_state.get("guard"):
            self.guard.load_state_dict(resume_state["guard"])
        metrics = (self.opt.get("val") or {}).get("metrics") or {}
        best = resume_state.get("best") or {}
        if best and all(record.keys() == metrics.keys() for record in best.values()):  # else they begin anew
            self.best_metric_results = deepcopy(best)
        states = resume_state.get("random_states", [])
        if len(states) == (self.opt["world_size"] if self.opt["dist"] else 1):
            self.random_states = states[self.opt["rank"]]

    def _reschedule(self, state: Mapping[str, Any]) -> None:
        """The schedulers of the options as they are now, brought to the state's iteration."""
        for optimizer in self.optimizers:
            # A new one has the rates of each group; those of the state are overwritten.
            named = self.get_bare_model(self.net_g).named_parameters()
            learning = {name: parameter for name, parameter in named if parameter.requires_grad}
            fresh = optimizers.build(learning, self.rates["optim_g"])
            for group, new in zip(optimizer.param_groups, fresh.param_groups, strict=True):
                settings = {key: value for key, value in new.items() if key != "params"}
                group.update(settings, initial_lr=settings["lr"])
        self.schedulers.clear()
        self.opt["train"]["scheduler"] = deepcopy(self.rates["scheduler"])
        self.setup_schedulers()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch misses the optimiser's steps, which were the earlier run's
            for iteration in range(1, state["iter"] + 1):
                self.update_learning_rate(iteration, self.rates["warmup_iter"] or -1)
        get_root_logger().warning(
            f"The option file has other rates than the state had: {state['rates']}. It goes on with "
            f"{self.rates}, as if they had been so from the start: {self.get_current_learning_rate()} now."
        )

    def _restore_random_states(self) -> None:
        """Late, since the data loader draws a number when it begins."""
        if self.random_states is not None:
            checkpoints.set_random_states(self.random_states)
            self.random_states = None


def check(opt: Mapping[str, Any]) -> None:
    """What can be told from the options alone.

    Raises:
        ValueError: an option that is out of range; several GPUs without a launcher.
    """
    Settings.read(opt)
    train = opt.get("train") or {}
    if "optim_g" in train:
        optimizers.check(train["optim_g"])
    if (train.get("scheduler") or {}).get("type") == WarmupCosineLR.__name__:
        WarmupCosineLR.check(**{key: value for key, value in train["scheduler"].items() if key != "type"})
    if opt["num_gpu"] > 1 and not opt["dist"]:
        program = "train" if opt["is_train"] else "test"
        raise ValueError(
            f"num_gpu is {opt['num_gpu']} without a launcher, for which BasicSR takes DataParallel: slow, and with as "
            f"many times the batch. Start it as `torchrun --nproc_per_node {opt['num_gpu']} basicsr/{program}.py -opt "
            "FILE --launcher pytorch`, or on one GPU with CUDA_VISIBLE_DEVICES=0."
        )


def _strip(lq: torch.Tensor, images: Mapping[str, np.ndarray]) -> np.ndarray:
    """Bicubic, SR and HR side by side, R, G, B."""
    bicubic = imresize(tensor2img([lq]), images["img"].shape[0] // lq.shape[-2])
    panels = [panel if panel.ndim == 3 else panel[..., None] for panel in (bicubic, images["img"], images["img2"])]
    height = min(panel.shape[0] for panel in panels)
    return np.concatenate([panel[:height].repeat(3 // panel.shape[2], 2) for panel in panels], axis=1)[..., ::-1]
