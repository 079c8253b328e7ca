"""Finds the state dict in the content of a file of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

BASICSR_KEYS = ("params", "params_ema")

StateDict = dict[str, Tensor]


def state_dicts(content: Any) -> dict[str | None, StateDict]:
    """The state dicts in a file by their keys; None is the key of a flat file. Prefixes `module.` are removed.

    >>> weight = torch.ones(1)
    >>> [*state_dicts({"params": {"module.a": weight}, "iter": 5})], [*state_dicts({"a": weight})]
    (['params'], [None])
    """
    if not isinstance(content, Mapping):
        return {}
    by_key: dict[str | None, StateDict] = {
        key: _plain(value) for key, value in content.items() if _is_state_dict(value)
    }
    return by_key or ({None: _plain(content)} if _is_state_dict(content) else {})


def choose(
    content: Any, key: str | None, option: str = "param_key_g", any_layout: bool = False
) -> tuple[str | None, StateDict]:
    """Choose the weights that a model loads from a file.

    Args:
        content: what `files.read` returns.
        key: `param_key_g` of the option file; None for a flat file.
        option: the option that names the key, for messages.
        any_layout: false: as BasicSR's `load_network`, which uses `key` or `params`. True: as `AcceleratedSRModel`,
            which uses `key`, `params_ema`, `params`, or the only state dict, in this order.

    Returns:
        The key (None: a flat file), and the weights under it.

    Raises:
        ValueError: there are no weights, or none under that key; the message says which key to write.
    """
    found = state_dicts(content)
    if not found:
        raise ValueError(_no_weights(content))
    if any_layout and key in (None, *BASICSR_KEYS):
        order = [key, "params_ema", "params", *(found if len(found) == 1 else ())]
    else:
        order = [key, "params"] if key in BASICSR_KEYS else [key]
    for name in order:
        if name in found:
            return name, found[name]
    raise ValueError(_other_key(found, option, key))


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that hold NaN or infinity."""
    tensors = ((name, value) for name, value in weights.items() if isinstance(value, Tensor))  # a flat file has others
    return [name for name, value in tensors if not bool(torch.isfinite(value).all())]


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and all(isinstance(name, str) and not isinstance(item, Mapping) for name, item in value.items())
        and any(isinstance(item, Tensor) for item in value.values())
    )


def _plain(state_dict: Mapping[str, Any]) -> StateDict:
    return {name.removeprefix("module."): value for name, value in state_dict.items()}


def _no_weights(content: Any) -> str:
    if isinstance(content, Mapping) and {"iter", "optimizers"} <= content.keys():
        return (
            "it is a training state, for path: resume_state; to start from its weights, name the file "
            f"net_g_{content['iter']}.pth that was saved with it"
        )
    if isinstance(content, Mapping):
        return f"it holds no weights, only {', '.join(map(str, list(content)[:5])) or 'an empty dict'}"
    return f"it holds no weights, only a {type(content).__name__}"


def _other_key(found: Mapping[str | None, StateDict], option: str, key: str | None) -> str:
    wording = f"give {option}" if option.startswith("--") else f"write {option}:"
    if None in found:
        return f"its weights are under no key (a flat file), not under {key!r}: " + (
            f"leave out {option}" if option.startswith("--") else f"{wording} ~"
        )
    names = [name for name in found if name is not None]
    preferred = next((name for name in BASICSR_KEYS if name in names), names[0])
    wanted = "not flat" if key is None else f"not under {key!r}"
    choice = f"{wording} {preferred}" + (f" (or {', '.join(n for n in names if n != preferred)})" * (len(names) > 1))
    return f"its weights are under {', '.join(names)}, {wanted}: {choice}"
