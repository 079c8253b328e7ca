"""Optimisers as an option file describes them, with rates of their own for parts of a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from rcan_plugin._checks import is_number


def check(option: Mapping[str, Any]) -> None:
    """What can be told from `optim_g` alone.

    Raises:
        ValueError: no optimiser of torch has this name; `layer_rates` is none.
    """
    optimizer_class(option.get("type"))
    rates = option.get("layer_rates") or {}
    if not isinstance(rates, dict) or not all(is_number(one, (int, float)) and one >= 0 for one in rates.values()):
        raise ValueError(
            f"train: optim_g: layer_rates is {rates!r}; expected parts of parameters' names with a factor each, such "
            "as {bias: 0.1}."
        )


def build(parameters: Mapping[str, torch.nn.Parameter], option: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimiser of some parameters; with `layer_rates` in groups, else in one.

    Args:
        parameters: by their names.
        option: `optim_g`: type, lr, and what else the optimiser takes.

    Raises:
        ValueError: no optimiser of torch has this name; no parameter has a part's name.
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


def by_factor(names: Iterable[str], rates: Mapping[str, float] | None) -> dict[float, list[str]]:
    """Names by their factor of the rate, the product of the factors of all parts that a name has.

    >>> by_factor(["a.weight", "a.bias", "b.bias"], {"bias": 0.5, "b.": 4})
    {1: ['a.weight'], 0.5: ['a.bias'], 2.0: ['b.bias']}
    """
    groups: dict[float, list[str]] = {}
    for name in names:
        factor = math.prod(factor for part, factor in (rates or {}).items() if part in name)
        groups.setdefault(factor, []).append(name)
    return groups


def optimizer_class(name: Any) -> Any:
    """Of `torch.optim`.

    Raises:
        ValueError: there is none of that name.
    """
    cls = getattr(torch.optim, str(name), None)
    if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
        raise ValueError(f"train: optim_g: type is {name!r}; expected a class of torch.optim, such as Adam.")
    return cls


def with_kernel_flags_of(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's saved state, to be worked on as `optimizer` works: one of plain Adam may go on with fused Adam."""
    ways = ("foreach", "fused", "capturable")
    groups = [
        {**saved, **{way: group[way] for way in ways if way in group}}
        for saved, group in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {**state, "param_groups": groups}
