"""Writes options as an option file that includes the defaults of missing keys."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import yaml

from rcan_plugin.options.keys import REQUIRED, Key, Section
from rcan_plugin.options.kinds import ANYTHING, Kind
from rcan_plugin.options.mistakes import KeyPath
from rcan_plugin.options.schema import dataset_keys, sections_of
from rcan_plugin.options.signatures import keys_of, registered

INDENT = "  "


def as_option_file(options: Mapping[str, Any], is_train: bool, debug: bool = False) -> str:
    """Return options as the text of an option file; the defaults of missing keys are added, marked `# default`.

    Missing keys whose default is that nothing is done, such as `network_d` or `train: guard`, are not added.

    Args:
        options: an option file's content, without mistakes.
        is_train: true for training, false for testing.
        debug: whether BasicSR is called with `--debug`.
    """
    options = _debugged(options, is_train, debug)
    return "".join(f"{line}\n" for line in _lines(options, sections_of(options, is_train), ()))


def is_plain(value: Any) -> bool:
    """Whether an option file can hold a value."""
    try:
        yaml.safe_dump(value)
    except yaml.YAMLError:
        return False
    return True


def _debugged(options: Mapping[str, Any], is_train: bool, debug: bool) -> dict[str, Any]:
    """The options as `basicsr.utils.options.parse_options` changes them with `--debug`, or with `debug` in the name."""
    changed = deepcopy(dict(options))
    if debug and not changed["name"].startswith("debug"):
        changed["name"] = f"debug_{changed['name']}"
    if is_train and "debug" in changed["name"]:
        if changed.get("val"):
            changed["val"]["val_freq"] = 8
        changed["logger"] |= {"print_freq": 1, "save_checkpoint_freq": 8}
    return changed


def _lines(
    options: Mapping[str, Any], keys: Mapping[str, Key], path: KeyPath, arguments: bool = False
) -> Iterator[str]:
    """The lines of a mapping. `arguments`: its keys are arguments of a class, for which None may be the default."""
    indent = INDENT * len(path)
    for name, value in options.items():
        here = (*path, name)
        below = _below(here, keys.get(name), value) if isinstance(value, Mapping) else None
        if below is None or not value:
            yield f"{indent}{_yaml(name)}: {_yaml(value)}"
        else:
            yield f"{indent}{_yaml(name)}:"
            yield from _lines(value, *below)
    for name, key in keys.items():
        if name not in options and _is_used(key, arguments):
            yield f"{indent}{name}: {_yaml(key.default)}  # default"


def _below(path: KeyPath, key: Key | None, value: Mapping[str, Any]) -> tuple[dict[str, Key], KeyPath, bool] | None:
    """Keys of the mapping at a path, the path, and whether they are arguments; None for a mapping that is one value."""
    kind = None if key is None else key.kind
    registry = kind.registry if isinstance(kind, Section) else None
    if path[:2] == ("val", "metrics"):
        registry = "metrics" if len(path) == 3 else None
        kind = Section()
    elif path[0] == "datasets" and len(path) == 2:
        return dataset_keys(value, path[1] == "train"), path, False
    elif path[0].startswith("network_") and "type" in value:
        registry = "networks"  # also of a network that is an argument of another
    if registry is not None:
        return keys_of(registry, registered(registry)[value["type"]]), path, True
    if not isinstance(kind, Section):
        return None
    # Of a degradation: the keys of its type.
    keys = {name: key for name, key in kind.keys.items() if value.get("type") in (None, *key.only) or not key.only}
    return keys, path, False


def _is_used(key: Key, arguments: bool) -> bool:
    """Whether a key may be written with its default value without changing what the file means."""
    if key.default is REQUIRED or not is_plain(key.default):
        return False
    if key.default is None and not arguments:
        return isinstance(key.kind, Kind) and key.kind is not ANYTHING and key.kind.accepts(None)
    return True


def _yaml(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True, sort_keys=False)
    return "~" if value is None else text.removesuffix("\n").removesuffix("\n...")
