"""Bit-for-bit comparison of nested values and of checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def same(one: Any, other: Any) -> bool:
    """Bit for bit, through dicts, lists and tuples."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def names_all(text: object, *parts: object) -> bool:
    """Whether a message or an error contains each of the parts, in any order."""
    missing = [str(part) for part in parts if str(part) not in str(text)]
    assert not missing, f"{str(text)!r} does not name {missing}"
    return True


def weights_changed(before: Path, after: Path) -> bool:
    """Whether training changed every tensor of a network between two checkpoints, and left only finite numbers.

    But for channel attention: squeezed to two channels in a tiny network, its ReLU may let nothing through.
    """
    old, new = (torch.load(path, weights_only=True)["params"] for path in (before, after))
    unchanged = [name for name in old if "attention" not in name and torch.equal(old[name], new[name])]
    assert old.keys() == new.keys() and not unchanged, f"{before} and {after} agree in {unchanged}"
    assert all(values.isfinite().all() for values in new.values())
    return True
