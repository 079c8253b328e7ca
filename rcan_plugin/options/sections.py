"""The sections of an option file and their keys, for the file's model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rcan_plugin.options import keys as tables
from rcan_plugin.options.data_keys import required
from rcan_plugin.options.keys import REQUIRED, Key, Section
from rcan_plugin.options.kinds import ANYTHING
from rcan_plugin.options.mistakes import KeyPath
from rcan_plugin.options.signatures import is_or_extends, registered, sections_in_source

SET_BY_BASICSR = {
    "auto_resume", "dist", "experiments_root", "is_train", "log", "models", "rank", "results_root", "root_path",
    "training_states", "visualization", "world_size",
}  # fmt: skip
"""Keys that BasicSR adds to the options it has read."""
TABLES: dict[KeyPath, Mapping[str, Key]] = {
    (): tables.TOP,
    ("path",): tables.PATH,
    ("train",): tables.TRAIN,
    ("val",): tables.VAL,
    ("logger",): tables.LOGGER,
}
"""The tables of keys by section."""
IN_TRAINING = {(): {"train", "logger"}, ("path",): {"resume_state", "ignore_resume_networks"}}
"""Keys that are read only in training, by section."""


def sections_of(options: Mapping[str, Any], is_train: bool) -> dict[str, Key]:
    """The keys that a file's top level may have, with those of its sections, for its model.

    Args:
        options: the file's content.
        is_train: true for training, false for testing.
    """
    name = options.get("model_type")
    model = registered("models").get(name) if isinstance(name, str) else None
    networks = [str(key) for key in options if re.fullmatch(r"network_\w+", str(key))]
    keys = _for_model(model, (), networks)
    for path in filter(None, TABLES):
        keys[path[0]] = Key(Section(_for_model(model, path, networks)), tables.TOP[path[0]].text)
    needed = {"train", "logger", "path", "network_g"} if is_train else {"val", "path", "network_g"}
    if model is not None and not is_or_extends(model, ("SRModel",)):
        needed.discard("network_g")
    keys |= required(keys, needed)
    return keys if is_train else _for_testing(keys, options)


def _for_testing(keys: dict[str, Key], options: Mapping[str, Any]) -> dict[str, Key]:
    """The keys without those that testing does not read, or does not need."""
    path, val = dict(_keys_in(keys["path"])), dict(_keys_in(keys["val"]))
    val["val_freq"] = Key(val["val_freq"].kind, val["val_freq"].text)
    given = options.get("val")
    if isinstance(given, Mapping) and given.get("save_img"):
        val |= required(val, ("suffix",))
    if "network_d" in keys:
        keys["network_d"] = Key(keys["network_d"].kind, keys["network_d"].text)
    for name in IN_TRAINING[("path",)]:
        del path[name]
    keys |= {
        "path": Key(Section(path), keys["path"].text, REQUIRED),
        "val": Key(Section(val), keys["val"].text, REQUIRED),
    }
    return {name: key for name, key in keys.items() if name not in IN_TRAINING[()]}


def _keys_in(key: Key) -> Mapping[str, Key]:
    return key.kind.keys if isinstance(key.kind, Section) else {}


def _for_model(model: Any, path: KeyPath, networks: list[str]) -> dict[str, Key]:
    """The known keys of a section that the model reads, and other keys found in its source."""
    sources = {} if model is None else sections_in_source(model)
    reads = sources.get(path[0] if path else "top", frozenset()) - SET_BY_BASICSR
    keys: dict[str, Key] = {}
    for name, key in TABLES[path].items():
        if not key.only or model is None or is_or_extends(model, key.only):
            keys[name] = key
        elif name in reads:
            # BasicSR's GAN models require these keys; models of other packages may not.
            optional = key.default is REQUIRED and not model.__module__.startswith("basicsr.")
            keys[name] = Key(key.kind, key.text, None if optional else key.default)
    if model is None:
        keys |= {name: Key(key.kind, key.text) for name, key in keys.items() if key.only}
    for name in reads - keys.keys():
        keys[name] = Key(_kind_by_name(name), f"read by {model.__name__}")
    for network in networks:
        if not path and network in reads:
            keys.setdefault(network, Key(tables.NETWORK, "a network"))
        for prefix in ("pretrain_network", "param_key", "strict_load") if path == ("path",) else ():
            suffix = network.removeprefix("network")
            keys.setdefault(f"{prefix}{suffix}", tables.PATH[f"{prefix}_g"])
    return keys


def _kind_by_name(name: str) -> Any:
    """The kind of a key that a model of another package reads."""
    if name.startswith("optim_"):
        return Section(registry="optimizers")
    if name.startswith("network_"):
        return tables.NETWORK
    return tables.LOSS if name.endswith("_opt") else ANYTHING


def sections_with_key(name: str) -> list[KeyPath]:
    """Sections that have a key of this name."""
    sections = {
        **TABLES,
        ("datasets", "train"): tables.DATASET | tables.TRAINING_DATA | tables.LOADER,
        ("train", "optim_g"): {"lr": None, "betas": None, "weight_decay": None, "momentum": None},
        ("train", "scheduler"): tables.SCHEDULES,
        ("val", "metrics", "psnr"): tables.METRIC,
    }
    return [path for path, table in sections.items() if name in table and name != "type"]
