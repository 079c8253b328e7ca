"""Networks by name and arguments: those of this project, and those in BasicSR's registry."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from rcan_plugin._checks import is_number, is_whole, require_flag
from rcan_plugin.archs import NETWORKS, LumaOnly

OWN: Mapping[str, type[nn.Module]] = {network.__name__: network for network in NETWORKS}

MOST_MODULES, MOST_NUMBERS = 20_000, 4_000_000_000
"""Limits for networks. Published networks have a few thousand modules and less than 1,000,000,000 parameters."""
LARGEST_ARGUMENT = 100_000
"""Largest allowed number among a network's arguments: more blocks or channels would take hours to build."""


def find(name: str) -> type[nn.Module]:
    """Return the class of a network; BasicSR is imported for names that are not in this project.

    Raises:
        ValueError: no network has this name.
    """
    if name in OWN:
        return OWN[name]
    try:
        importlib.import_module("basicsr")
        registry = dict(iter(importlib.import_module("basicsr.utils.registry").ARCH_REGISTRY))
    except ImportError:
        raise ValueError(
            f"{name} is not a network of this project ({', '.join(OWN)}), and BasicSR, which may have it, cannot be "
            "imported: run `rcan doctor`."
        ) from None
    found: type[nn.Module] | None = registry.get(name) or registry.get(f"{name}_basicsr")
    if found is None:
        near = [f"{name}Arch"] if f"{name}Arch" in registry else difflib.get_close_matches(name, registry, 1)
        known = f"the nearest name is {near[0]}" if near else f"expected one of {', '.join(sorted(registry))}"
        raise ValueError(f"{name} is not a registered network; {known}.")
    return found


def build(option: Mapping[str, Any]) -> nn.Module:
    """Build a network like `basicsr.archs.build_network`, but without a line in the log.

    Args:
        option: its name as `type` and its arguments, as under `network_g` of an option file.

    Raises:
        Exception: whatever the network's constructor raises.
    """
    arguments = deepcopy(dict(option))
    network = find(arguments.pop("type"))
    if network is LumaOnly and isinstance(arguments.get("network"), Mapping):
        arguments["network"] = build(arguments["network"])
    return network(**arguments)


def build_on_meta(option: Mapping[str, Any]) -> nn.Module:
    """Build a network on torch's meta device: shapes without values, in a fraction of a second.

    Args:
        option: as for `build`.

    Raises:
        Exception: whatever the network's constructor raises.
    """
    with torch.device("meta"):
        return build(option).to("meta")


def build_for_shapes(option: Mapping[str, Any]) -> nn.Module:
    """Build a network on the meta device. If its constructor needs values, it is built on the CPU and moved there.

    Args:
        option: as for `build`.

    Raises:
        Exception: whatever the network's constructor raises.
    """
    try:
        return build_on_meta(option)
    except Exception:
        return build(option).to("meta")


class TooLarge(ValueError):
    """A network is larger than any network that has weights in a file."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """In this context, building a network with more than `MOST_MODULES` or `MOST_NUMBERS` raises `TooLarge` early."""
    modules = numbers = 0

    def count_module(module: nn.Module, name: str, child: nn.Module | None) -> None:
        nonlocal modules
        modules += 1
        if modules > MOST_MODULES:
            raise TooLarge(f"it has more than {MOST_MODULES:,} modules")

    def count_numbers(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal numbers
        numbers += 0 if parameter is None else parameter.numel()
        if numbers > MOST_NUMBERS:  # the parameter is allocated but not filled yet, so it takes no physical memory
            raise TooLarge(f"it has more than {MOST_NUMBERS:,} numbers")

    hooks = (
        register_module_module_registration_hook(count_module),
        register_module_parameter_registration_hook(count_numbers),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def out_of_range(arguments: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first argument with a number that no network accepts, even if its class does not check: name and message."""
    for key, value in arguments.items():
        if not is_number(value, (int, float)):
            continue
        if abs(value) > LARGEST_ARGUMENT:
            return key, f"is {value}; expected at most {LARGEST_ARGUMENT}."
        if (key.startswith("num_") and value < 0) or (key in ("upscale", "img_range") and value <= 0):
            return key, f"is {value}; expected a number above 0."
    return None


def checked(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network on the meta device, or on the CPU if that fails, to check its arguments.

    Raises:
        ValueError: no network has this name, or it does not accept these arguments. The message is one line.
    """
    network = find(name)
    known = inspect.signature(network).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        for argument in arguments:
            if argument not in known:
                raise ValueError(f"{name} has no argument {argument}; expected some of {', '.join(known)}.")
    for argument, value in arguments.items():
        if argument in known and isinstance(known[argument].default, bool):
            require_flag(f"{name}: {argument}", value)  # any nonempty text would count as true
    if found := out_of_range(arguments):
        raise ValueError(f"{name}: {found[0]} {found[1]}")
    option = {"type": name, **arguments}
    try:
        with bounded():
            return build_on_meta(option)
    except TooLarge as error:
        raise ValueError(f"{name} cannot be built: {one_line(error)}") from None
    except Exception:
        try:
            with torch.random.fork_rng(devices=[]), bounded():
                return build(option)  # it may need tensors with values
        except Exception as error:
            raise ValueError(f"{name} cannot be built: {one_line(error)}") from None


def scales(name: str, arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """The scales of a network, by its argument `scales`, `upscale` or `scale`; 1 if it has none of them."""
    if name == LumaOnly.__name__:
        inner = dict(arguments["network"])
        return scales(inner.pop("type"), inner)
    defaults = {key: value.default for key, value in inspect.signature(find(name)).parameters.items()}
    values = {**defaults, **arguments}
    found: Any = next((values[key] for key in ("scales", "upscale", "scale") if key in values), 1)
    return (int(found),) if is_whole(found) else tuple(found)


def plain(option: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a network's options to plain dicts, lists, texts and numbers, which JSON and `weights_only` require.

    Raises:
        TypeError: a value is something else.
    """
    copy: dict[str, Any] = json.loads(json.dumps(option))
    return copy


def one_line(error: Exception) -> str:
    """An exception's text on one line, which ends with a full stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith(".") else f"{text}."
