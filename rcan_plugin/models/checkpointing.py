"""Checkpoints of `AcceleratedSRModel`: weights and training states, and runs resumed from them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger

from rcan_plugin.models.settings import Settings
from rcan_plugin.training import checkpoints, optimizers
from rcan_plugin.training.guard import Guard, StuckError
from rcan_plugin.training.random_states import read_random_states, set_random_states
from rcan_plugin.training.ranks import several_ranks
from rcan_plugin.weights import files, state_dicts
from rcan_plugin.weights.loading import NETWORK
from rcan_plugin.weights.networks import plain


class CheckpointingModel(SRModel):
    """The part of `AcceleratedSRModel` that loads, saves and resumes."""

    settings: Settings
    guard: Guard | None
    scaler: torch.amp.GradScaler
    rates: dict[str, Any]
    """`optim_g`, `scheduler` and `warmup_iter` of the option file."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.random_states: list[Any] | None = None  # of a resumed run, restored before its first step
        self.last_saved = (0, 0)  # epoch and iteration of the last training state, written or resumed from
        self.validated: set[str] = set()  # names of the data sets whose validation at that iteration it includes
        super().__init__(opt)

    def load_network(
        self, net: torch.nn.Module, load_path: str, strict: bool = True, param_key: str | None = "params"
    ) -> None:
        """Load weights in any layout: under BasicSR's keys, with or without EMA, flat, or under another single key.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it cannot be read, or its weights are in no known layout.
        """
        net = self.get_bare_model(net)
        key, weights = state_dicts.choose(files.read(load_path), param_key, any_layout=True)
        layout = "no key (a flat file)" if key is None else f"key {key}"
        get_root_logger().info(f"Loading {type(net).__name__} from {load_path}, {layout}.")
        self._print_different_keys_loading(net, weights, strict)
        net.load_state_dict(weights, strict=strict)

    def save_network(
        self, net: Any, net_label: str, current_iter: int | str, param_key: str | list[str] = "params"
    ) -> None:
        """Write BasicSR's file of weights atomically, with the network's options beside the weights.

        Raises:
            OSError: it could not be written.
        """
        if self.opt["rank"] != 0:
            return
        nets, keys = (value if isinstance(value, list) else [value] for value in (net, param_key))
        content: dict[str, Any] = {
            key: {name: value.cpu() for name, value in self.get_bare_model(network).state_dict().items()}
            for key, network in zip(keys, nets, strict=True)
        }
        if net_label == "net_g":
            with contextlib.suppress(TypeError):  # a program, not an option file, may have given other objects
                content[NETWORK] = plain(self.opt[NETWORK])
        number = "latest" if current_iter == -1 else current_iter
        checkpoints.save(content, Path(self.opt["path"]["models"], f"{net_label}_{number}.pth"))

    def save_networks(self, number: str) -> None:
        """Write the weights and, with EMA, the averaged weights to `net_g_{number}.pth`."""
        if hasattr(self, "net_g_ema"):
            self.save_network([self.net_g, self.net_g_ema], "net_g", number, ["params", "params_ema"])
        else:
            self.save_network(self.net_g, "net_g", number)

    def save(self, epoch: int, current_iter: int) -> None:
        """Write the weights and the training state (BasicSR's interface), but not while steps are being rejected.

        The guard may reject steps because the weights are destroyed. Only the final weights (iteration -1) are written
        nevertheless, with a warning.
        """
        if streak := self.streak():
            skipped = f"the last {streak} steps were skipped, so the weights may be destroyed"
            if current_iter != -1:
                get_root_logger().warning(f"Iteration {current_iter} is not saved: {skipped}.")
                return
            get_root_logger().warning(f"net_g_latest.pth: {skipped}. {self._last_good_state(self.last_saved[1])}")
        super().save(epoch, current_iter)

    def streak(self) -> int:
        """How many steps in a row the guard rejected up to now; 0 without a guard."""
        return self.guard.streak() if self.guard else 0

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write BasicSR's training state, and everything else that is needed to resume exactly, atomically.

        It holds plain numbers and tensors only, so that it loads with `weights_only=True`.

        Raises:
            OSError: it could not be written.
        """
        if current_iter == -1:
            return
        if current_iter != self.last_saved[1]:
            self.validated = set()
        self.last_saved = epoch, current_iter
        random_states = read_random_states()
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
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "rates": self.rates,
            "scaler": self.scaler.state_dict(),
            "guard": self.guard.state_dict() if self.guard else None,
            "best": getattr(self, "best_metric_results", None),
            "metrics": self._metric_options(),
            "validated": sorted(self.validated),
            "random_states": gathered,
        }
        models, training_states = (Path(self.opt["path"][name]) for name in ("models", "training_states"))
        checkpoints.save(state, training_states / f"{current_iter}.state")
        if self.settings.keep_last is not None:
            # With a guard at least two: the weights of the newest are known to be good only after one more step.
            checkpoints.prune(models, training_states, max(self.settings.keep_last, 2 if self.guard else 1))

    def stop_if_stuck(self, current_iter: int, names: Iterable[str]) -> None:
        """End the training when the guard rejected too many steps in a row.

        If no step was accepted since the newest state, its weights may be the cause: this state is renamed, and the
        message names the one before it, which is good because a later step was accepted.

        Args:
            current_iter: the iteration that was just run.
            names: the images of its batch.

        Raises:
            StuckError: says which state to resume from, and what to change.
        """
        if not (self.guard and self.guard.is_stuck(current_iter)):
            return
        streak, saved_at = self.streak(), self.last_saved[1]
        state = Path(self.opt["path"]["training_states"], f"{saved_at}.state")
        renamed = ""
        if saved_at and streak >= current_iter - saved_at:
            if self.opt["rank"] == 0 and state.is_file():
                checkpoints.set_aside(state)
            renamed = f" {state} was renamed to {state.name}.rejected: no step from its weights was accepted."
            saved_at -= 1
        if several_ranks():
            torch.distributed.barrier()  # torchrun ends all processes when the first one exits
        raise StuckError(
            f"iteration {current_iter}: {streak} steps in a row were skipped, because the loss or its gradients were "
            f"not finite or far out of range. The last batch: {', '.join(names)}.{renamed} Lower the learning rate "
            f"(train: optim_g: lr) or clip the gradients (train: grad_clip). {self._last_good_state(saved_at)}"
        )

    def _last_good_state(self, newest: int) -> str:
        """Return a sentence that says which state to resume from, and how.

        Args:
            newest: the highest iteration that is known to be good.
        """
        found = checkpoints.states(self.opt["path"]["training_states"])
        good = next((state for state in found if int(state.stem) <= newest), None)
        if good is None:
            return "No good state was saved: start a new run."
        how = "--auto_resume" if good == found[0] else f"path: resume_state: {good}"
        return f"The last good state is {good}: resume from it with {how}."

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Resume from a training state, also from one that BasicSR's SRModel wrote.

        Learning rates and milestones that were changed in the option file since then take effect: the schedule becomes
        that of the new options, at the state's iteration.

        Raises:
            ValueError: `layer_rates` does not group the parameters as in the state.
        """
        if self.opt["rank"] == 0:
            for folder in ("models", "training_states"):
                checkpoints.remove_unfinished(self.opt["path"][folder])
        self.last_saved = resume_state["epoch"], resume_state["iter"]
        self.validated = set(resume_state.get("validated", ()))
        names = [name for name, _ in self.get_bare_model(self.net_g).named_parameters()]
        optimizers.check_layer_rates(names, self.rates["optim_g"], resume_state)
        states = list(map(optimizers.with_kernel_flags_of, resume_state["optimizers"], self.optimizers))
        super().resume_training({**resume_state, "optimizers": states})
        if resume_state.get("rates", self.rates) != self.rates:
            self._reschedule(resume_state)
        if resume_state.get("scaler"):
            self.scaler.load_state_dict(resume_state["scaler"])
        if self.guard and resume_state.get("guard"):
            self.guard.load_state_dict(resume_state["guard"])
        self._resume_best(resume_state)
        random_states = resume_state.get("random_states", [])
        if len(random_states) == (self.opt["world_size"] if self.opt["dist"] else 1):
            self.random_states = random_states[self.opt["rank"]]

    def _metric_options(self) -> dict[str, Any]:
        return plain((self.opt.get("val") or {}).get("metrics") or {})

    def _resume_best(self, state: Mapping[str, Any]) -> None:
        """Take the best figures of a training state, unless they are of other data sets or measured in another way."""
        best, metrics = state.get("best") or {}, self._metric_options()
        data = self.opt.get("datasets") or {}
        names = {options["name"] for phase, options in data.items() if phase != "train"} or best.keys()
        same_metrics = state.get("metrics", metrics) == metrics  # BasicSR's states have none
        if same_metrics and best.keys() <= names and all(record.keys() == metrics.keys() for record in best.values()):
            if best:
                self.best_metric_results = deepcopy(best)
        elif metrics:
            get_root_logger().warning(
                "The best figures begin anew, and with them net_g_best.pth: val: metrics, or the names of the data "
                "sets, are not those of the state."
            )

    def _reschedule(self, state: Mapping[str, Any]) -> None:
        """Replace the schedulers by those of the current options, advanced to the state's iteration."""
        for optimizer in self.optimizers:
            # Take the rates of each group from a new optimizer, not from the state.
            named = self.get_bare_model(self.net_g).named_parameters()
            trained = {name: parameter for name, parameter in named if parameter.requires_grad}
            fresh = optimizers.build(trained, self.rates["optim_g"])
            flags = optimizers.kernel_flags(optimizer.param_groups[0])
            for group, new in zip(optimizer.param_groups, fresh.param_groups, strict=True):
                settings = {key: value for key, value in new.items() if key != "params"}
                group.update({**settings, **flags}, initial_lr=settings["lr"])
        self.schedulers.clear()
        self.opt["train"]["scheduler"] = deepcopy(self.rates["scheduler"])
        self.setup_schedulers()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns because this optimizer has not made any step yet
            for iteration in range(1, state["iter"] + 1):
                self.update_learning_rate(iteration, self.rates["warmup_iter"] or -1)
        get_root_logger().warning(
            f"The learning rates in the option file differ from those in the training state, {state['rates']}. "
            f"Continuing with {self.rates}, as if the run had started with them; the rate is now "
            f"{self.get_current_learning_rate()}."
        )

    def restore_random_states(self) -> None:
        """Restore the random states of a resumed run, once: after the data loader has drawn its seed."""
        if self.random_states is not None:
            set_random_states(self.random_states)
            self.random_states = None
