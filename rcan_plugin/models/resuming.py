"""Chooses the training state that a run resumes from: the newest one that is complete and fits the networks."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY

from rcan_plugin.training import checkpoints, optimizers
from rcan_plugin.training.random_states import read_random_states, set_random_states
from rcan_plugin.weights.loading import EXECUTION_ARGUMENTS


def choose_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Choose the training state, check it and its weights, and enter it in `opt`, for `rcan train` and BasicSR.

    With `auto_resume`, choose the newest usable state of the run; unusable ones are named on standard error.

    Args:
        opt: what BasicSR's `parse_options` returns. `path: resume_state` is set to the state and `auto_resume` to
            false, so that BasicSR loads this state and looks for no other. The weights are loaded strictly.

    Returns:
        The state; None for a new run.

    Raises:
        FileNotFoundError: `path: resume_state` does not exist.
        ValueError: there are states, and none can be resumed from.
    """
    named = opt["path"].get("resume_state")
    if opt.get("auto_resume") and named:
        print(f"path: resume_state: {named} is not read: --auto_resume takes the newest state.", file=sys.stderr)
    candidates, misnamed = _candidates(opt)
    for path in misnamed:
        print(f"{path} is ignored: a training state is a file named after its iteration.", file=sys.stderr)
    if not candidates and not misnamed:
        if opt.get("auto_resume"):
            print(f"There is no training state of {opt['name']} to resume from: a new run begins.", file=sys.stderr)
            opt["auto_resume"], opt["path"]["resume_state"] = False, None
        return None
    networks = {key: _build(key, opt[key]) for key in _networks(opt)} if candidates else {}
    for path in candidates:
        try:
            state = checkpoints.load_state(path)
            if opt.get("auto_resume") and state["iter"] != int(path.stem):
                raise ValueError(f"{path} holds iteration {state['iter']}")
            changes = _check_weights(opt, networks, state["iter"])
            _check_optimizer(opt, networks, state)
        except (ValueError, FileNotFoundError) as error:
            if not opt.get("auto_resume"):
                reason = str(error).rstrip(".")
                raise ValueError(
                    f"path: resume_state: {path} cannot be resumed from: {reason}. Name another."
                ) from None
            print(f"{path} cannot be resumed from: {error}", file=sys.stderr)
            continue
        if path != candidates[0]:
            print(f"Resuming from {path}, the newest usable state.", file=sys.stderr)
        for change in changes:
            print(change, file=sys.stderr)
        opt["auto_resume"], opt["path"]["resume_state"] = False, str(path)
        # Weights of another scale may fit in part at the start; a resumed run must find all of its own.
        opt["path"]["strict_load_g"] = True
        # `param_key_g: ~` is for the authors' flat files; BasicSR's own have a key.
        opt["path"]["param_key_g"] = opt["path"].get("param_key_g") or "params"
        return state
    raise ValueError(
        f"no state in {(candidates or misnamed)[0].parent} can be resumed from: name another in path: resume_state, "
        "or start a new run without --auto_resume (BasicSR then renames the earlier run)."
    )


def _candidates(opt: Mapping[str, Any]) -> tuple[list[Path], list[Path]]:
    """Return the states to try, newest first, and other paths that are named like a state."""
    if opt.get("auto_resume"):
        folder = Path("experiments", opt["name"], "training_states")
        return checkpoints.states(folder), checkpoints.misnamed_states(folder)
    named = opt.get("path", {}).get("resume_state")
    if not named:
        return [], []
    if not Path(named).is_file():
        raise FileNotFoundError(
            f"path: resume_state: {named} is no file (looked for from {Path.cwd()}): correct it, or set it to ~ to "
            "start without."
        )
    return [Path(named)], []


def _networks(opt: Mapping[str, Any]) -> list[str]:
    """The options of the networks whose weights a resumed run loads: `network_g`, and others such as `network_d`."""
    ignored = opt["path"].get("ignore_resume_networks") or ()
    return [key for key in opt if key.startswith("network_") and key not in ignored]


def _build(key: str, option: Mapping[str, Any]) -> torch.nn.Module:
    """Build a network on the CPU, which changes no random state."""
    arguments = {name: value for name, value in option.items() if name != "type"}
    before = read_random_states()
    try:
        # Not with `build_network`: its logger must not be used before BasicSR has set its file.
        net: torch.nn.Module = ARCH_REGISTRY.get(option["type"])(**arguments)
    except Exception as error:  # a network of another package may raise anything
        raise ValueError(f"{key}: {option.get('type')} cannot be built with {arguments}: {error}") from None
    finally:
        set_random_states(before)
    return net


def _check_weights(opt: Mapping[str, Any], networks: Mapping[str, torch.nn.Module], iteration: int) -> list[str]:
    """Check the weights that belong to a state.

    Returns:
        A line about each argument of a network that was changed since, where the file holds the arguments.
    """
    changes: list[str] = []
    for key, net in networks.items():
        path = Path(opt["path"]["models"], f"net_{key.removeprefix('network_')}_{iteration}.pth")
        content = checkpoints.load(path)
        if not isinstance(content, dict) or "params" not in content:
            raise ValueError(f"{path} holds no weights under the key params")
        for part in content.keys() & {"params", "params_ema"}:
            weights = content[part]
            if not checkpoints.is_finite(weights):
                raise ValueError(f"{path} holds values that are NaN or infinite, under the key {part}")
            try:
                net.load_state_dict({name.removeprefix("module."): value for name, value in weights.items()})
            except (RuntimeError, AttributeError) as error:
                reason = [line.strip() for line in str(error).splitlines()][:2]
                raise ValueError(f"{path} does not fit {key}, {type(net).__name__}: {reason[-1]}") from None
        trained = content.get(key)
        for name, now, then in _changed_arguments(net, opt[key], trained) if isinstance(trained, dict) else ():
            changes.append(f"{key}: {name} is {now!r}; the weights in {path} were trained with {then!r}.")
    return changes


def _changed_arguments(
    net: torch.nn.Module, option: Mapping[str, Any], trained: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """The arguments that differ between a network's options and those in its file and change results; both values."""
    parameters = inspect.signature(type(net).__init__).parameters
    for name in sorted((option.keys() | trained.keys()).difference(EXECUTION_ARGUMENTS)):
        default = parameters[name].default if name in parameters else None
        now, then = (_plain(given.get(name, default)) for given in (option, trained))
        if now != then:
            yield name, now, then


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_optimizer(opt: Mapping[str, Any], networks: Mapping[str, torch.nn.Module], state: Mapping[str, Any]) -> None:
    """Check the optimizer in the state, for a model that has only one, for `network_g`."""
    model = MODEL_REGISTRY.get(opt["model_type"])
    if "network_g" not in networks:
        return  # `path: ignore_resume_networks`
    if not issubclass(model, SRModel) or model.setup_optimizers is not SRModel.setup_optimizers:
        return
    if len(state["optimizers"]) != 1:
        raise ValueError(f"it holds {len(state['optimizers'])} optimizers; {opt['model_type']} has 1")
    optimizers.try_saved_state(networks["network_g"], opt["train"]["optim_g"], state)
