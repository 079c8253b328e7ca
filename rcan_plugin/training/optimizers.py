"""Optimizers as an option file describes them, with separate learning rates for parts of a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from rcan_plugin._checks import is_number

KERNEL_FLAGS = ("foreach", "fused", "capturable")
"""Settings that choose the implementation; not every optimizer has them on the CPU."""


def check(option: Mapping[str, Any]) -> None:
    """Check `optim_g` before the network is built.

    Raises:
        ValueError: torch has no optimizer of this name; `layer_rates` is malformed.
    """
    optimizer_class(option.get("type"))
    rates = option.get("layer_rates") or {}
    if not isinstance(rates, dict) or not all(
        isinstance(part, str) and part and is_number(rate, (int, float)) and rate >= 0 for part, rate in rates.items()
    ):
        raise ValueError(
            f"train: optim_g: layer_rates is {rates!r}; expected parts of parameters' names with a factor each, such "
            "as {bias: 0.1}."
        )


def build(parameters: Mapping[str, torch.nn.Parameter], option: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Build the optimizer of named parameters: in one group, or with `layer_rates` in a group for each factor.

    Args:
        parameters: by their names.
        option: `optim_g`: type, lr, layer_rates, and the optimizer's own arguments.

    Raises:
        ValueError: torch has no optimizer of this name; a key of `layer_rates` matches no parameter.
    """
    settings = {key: value for key, value in option.items() if key not in ("type", "layer_rates")}
    rates = option.get("layer_rates")
    groups: Any = list(parameters.values())
    if rates:
        for part in rates:
            if not any(part in name for name in parameters):
                raise ValueError(
                    f"train: optim_g: layer_rates names {part!r}; expected a part of a parameter's name, such as "
                    f"{next(iter(parameters))!r}."
                )
        groups = [
            {"params": [parameters[name] for name in names], "lr": settings["lr"] * factor}
            for factor, names in by_factor(parameters, rates).items()
        ]
    return optimizer_class(option["type"])(groups, **settings)


def try_step(optimizer: torch.optim.Optimizer) -> None:
    """Run one step of an optimizer with gradients of zero and without `KERNEL_FLAGS`.

    Args:
        optimizer: of parameters on the CPU; its settings and the parameters change.

    Raises:
        ValueError: it cannot run a training step: some optimizers take sparse gradients alone, or call the loss.
    """
    for group in optimizer.param_groups:
        group.update(dict.fromkeys(kernel_flags(group), False))
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    try:
        optimizer.step()
    except Exception as error:  # torch checks nothing when it builds one
        name = type(optimizer).__name__
        raise ValueError(f"{name} cannot run a training step with these settings: {error}") from None


def by_factor(names: Iterable[str], rates: Mapping[str, float] | None) -> dict[float, list[str]]:
    """Group names by the factor of their learning rate: the product of the factors of all parts that occur in a name.

    >>> by_factor(["a.weight", "a.bias", "b.bias"], {"bias": 0.5, "b.": 4})
    {1: ['a.weight'], 0.5: ['a.bias'], 2.0: ['b.bias']}
    """
    groups: dict[float, list[str]] = {}
    for name in names:
        factor = math.prod(factor for part, factor in (rates or {}).items() if part in name)
        groups.setdefault(factor, []).append(name)
    return groups


def optimizer_class(name: Any) -> Any:
    """The class of `torch.optim` with this name.

    Raises:
        ValueError: there is none.
    """
    cls = getattr(torch.optim, str(name), None)
    if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
        raise ValueError(f"train: optim_g: type is {name!r}; expected a class of torch.optim, such as Adam.")
    return cls


def try_saved_state(net: torch.nn.Module, option: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Check that a saved optimizer fits: load it and run a step with gradients of zero, on the CPU.

    Args:
        net: a network on the CPU; its weights and the tensors in `state` change.
        option: `optim_g`.
        state: a training state with one optimizer.

    Raises:
        ValueError: the state is that of an optimizer of other parameters, or of another type.
    """
    parameters = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
    check_layer_rates(list(parameters), option, state)
    try:
        optimizer = build(parameters, {key: value for key, value in option.items() if key not in KERNEL_FLAGS})
        current = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        optimizer.load_state_dict(with_kernel_flags_of(state["optimizers"][0], optimizer))
        for group, settings in zip(optimizer.param_groups, current, strict=True):
            group.update(settings)
        for parameter in parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    except Exception as error:  # torch does not check the values, so any error may occur
        reason = (str(error) or repr(error)).splitlines()[0]
        raise ValueError(
            f"its optimizer does not fit network_g and train: optim_g: type {option['type']} ({reason})"
        ) from None


def check_layer_rates(names: Iterable[str], option: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Check that `layer_rates` groups the parameters as in a training state, where only their order identifies them.

    Args:
        names: of the trained parameters.
        option: `optim_g`.
        state: the training state.

    Raises:
        ValueError: they are in other groups.
    """
    names = list(names)
    saved = (state.get("rates") or {"optim_g": {}})["optim_g"].get("layer_rates")
    current = option.get("layer_rates")
    if [*by_factor(names, saved).values()] != [*by_factor(names, current).values()]:
        raise ValueError(
            f"train: optim_g: layer_rates is {current}, but {saved} in the state to resume from: factors may "
            "change, but not which parameters share one. Restore it, or start a new run from the weights (path: "
            "pretrain_network_g)."
        )


def kernel_flags(group: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a parameter group that choose the implementation (`KERNEL_FLAGS`)."""
    return {flag: group[flag] for flag in KERNEL_FLAGS if flag in group}


def with_kernel_flags_of(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Copy a saved optimizer state, with the kernel flags of `optimizer`.

    With it, a run with plain Adam can be resumed with fused Adam.
    """
    groups = [
        {**saved, **kernel_flags(group)}
        for saved, group in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {**state, "param_groups": groups}
