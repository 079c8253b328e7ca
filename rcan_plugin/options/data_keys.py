"""The keys of data sets, by their type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rcan_plugin.options import keys as tables
from rcan_plugin.options.keys import REQUIRED, Key
from rcan_plugin.options.kinds import ANYTHING
from rcan_plugin.options.signatures import is_or_extends, keys_in_source, registered


def dataset_keys(data: Mapping[str, Any], training: bool) -> dict[str, Key]:
    """The keys that a data set may have, by its type; `training` is true for the training set."""
    kind = data.get("type")
    cls = registered("datasets").get(kind) if isinstance(kind, str) else None
    ours = kind in tables.OUR_DATA or (cls is not None and is_or_extends(cls, tables.OUR_DATA))
    everything = tables.DATASET | tables.TRAINING_DATA | tables.LOADER
    always = {"name", "type", "phase", "scale", *tables.LOADER}
    if training:
        always |= {"num_worker_per_gpu", "batch_size_per_gpu", "dataset_enlarge_ratio", "use_shuffle"}
    if ours:
        read = set(everything) - {"io_backend"} if training else set(tables.DATASET)
        read.add("io_backend")
    else:
        read = set(keys_in_source(cls)) - {"db_paths", "client_keys"} if cls is not None else set()
        if not training and kind in ("PairedImageDataset", "SingleImageDataset"):
            read -= set(tables.TRAINING_DATA)
    keys = {name: everything.get(name, Key(ANYTHING, "")) for name in sorted(always | read)}
    if training and (ours or kind == "PairedImageDataset"):
        return keys | required(keys, ("dataroot_gt", *(() if ours else ("dataroot_lq", "io_backend", "gt_size"))))
    missing = ("dataroot_gt", "dataroot_lq", "io_backend") if kind == "PairedImageDataset" else ()
    keys |= required(keys, ("dataroot_gt",) if ours else missing)
    return {name: Key(key.kind, key.text, None) if name in tables.TRAINING_DATA else key for name, key in keys.items()}


def required(keys: Mapping[str, Key], names: Iterable[str]) -> dict[str, Key]:
    """Return the keys named `names`, marked as required."""
    return {name: Key(keys[name].kind, keys[name].text, REQUIRED) for name in names}
