"""Checks each key of an option file: that it is known and read, its type and range, and that no key is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rcan_plugin.options import keys as tables
from rcan_plugin.options.data_keys import dataset_keys
from rcan_plugin.options.keys import REQUIRED, Key, Section
from rcan_plugin.options.kinds import remedy
from rcan_plugin.options.mistakes import KeyPath, Mistake, did_you_mean, nearest
from rcan_plugin.options.sections import IN_TRAINING, TABLES, sections_of, sections_with_key
from rcan_plugin.options.signatures import is_or_extends, keys_of, registered, sections_in_source
from rcan_plugin.options.values import as_short_yaml

SINGULAR = {
    "networks": "network", "losses": "loss", "metrics": "metric", "schedulers": "scheduler",
    "optimizers": "optimizer", "datasets": "data set", "models": "model",
}  # fmt: skip
UNREAD_IN_BASICSR_FILES = {("RealESRGANDataset", "gt_size")}
"""Keys that BasicSR's own option files have although no code reads them (the model reads the top level's gt_size)."""
TRAIN_PHASES, TEST_PHASES = r"train|val(_\w+)?", r"(test|val)(_\w+)?"


def check_keys(options: Mapping[str, Any], is_train: bool) -> list[Mistake]:
    """Check every key of an option file by itself.

    Args:
        options: the file's content.
        is_train: true for training, false for testing.
    """
    checker = _Checker(options, is_train)
    checker.check()
    entries = options.get("allow")
    for entry in entries if isinstance(entries, list) else ():
        path = tuple(re.split(r"\s*:\s*", str(entry)))
        if path not in checker.unread:
            checker.add(("allow",), f"names {entry}, which is not an unread key of this file: remove it.")
        checker.mistakes = [m for m in checker.mistakes if m.path != path or path not in checker.unread]
    return checker.mistakes


def _is_nested(registry: str, value: Any) -> bool:
    """Whether an argument of a network is itself a network's options, as in LumaOnly."""
    return registry == "networks" and isinstance(value, Mapping) and isinstance(value.get("type"), str)


class _Checker:
    def __init__(self, options: Mapping[str, Any], is_train: bool) -> None:
        self.options, self.is_train = options, is_train
        self.mistakes: list[Mistake] = []
        self.unread: set[KeyPath] = set()
        name = options.get("model_type")
        self.model_name = name if isinstance(name, str) else "?"
        models = registered("models")
        self.model = models.get(self.model_name)
        # What a model reads that is not registered is not known.
        self.may_read_more = self.model is None and isinstance(name, str) and nearest(name, models) is None

    def add(self, path: KeyPath, text: str) -> None:
        self.mistakes.append(Mistake(path, text))

    def check(self) -> None:
        options = self.options
        if self.model is None and isinstance(options.get("model_type"), str):
            self._unknown_type(("model_type",), "models", options["model_type"])
        self.section(sections_of(options, self.is_train), options, ())
        self._network()
        self._datasets()
        self._metrics()

    def section(self, keys: Mapping[str, Key], options: Mapping[str, Any], path: KeyPath, what: str = "") -> None:
        """Check a mapping's keys and values."""
        meant = set()
        for name, value in options.items():
            if name in keys:
                self.value(keys[name], value, (*path, name))
            else:
                meant.add(nearest(name, keys))
                self._unknown(keys, name, value, path, what)
        for name, key in keys.items():
            if key.default is REQUIRED and name not in options and name not in meant:
                text = f": {key.text.rstrip('.')}" if key.text else ""
                self.add((*path, name), f"the key is missing; expected {key.kind.expected}{text}.")

    def value(self, key: Key, value: Any, path: KeyPath) -> None:
        kind = key.kind
        if isinstance(kind, Section):
            if value is None and key.default is not REQUIRED:
                return
            if not isinstance(value, Mapping):
                self.add(path, f"is {as_short_yaml(value)}; expected {kind.expected}.")
            elif kind.registry:
                self.registered_class(kind.registry, value, path)
            elif kind.keys:
                self.section(kind.keys, value, path)
            return
        if value is None and key.default is None:
            return
        if not kind.accepts(value):
            self.add(path, f"is {as_short_yaml(value)}; expected {kind.expected}.{remedy(value, kind)}")

    def registered_class(self, registry: str, options: Mapping[str, Any], path: KeyPath) -> None:
        """Check a mapping whose `type` is a registered class and whose other keys are its arguments."""
        kind = options.get("type")
        if not isinstance(kind, str):
            given = f"is {as_short_yaml(kind)}" if "type" in options else "is missing"
            article = "an" if SINGULAR[registry].startswith("o") else "a"
            self.add((*path, "type"), f"{given}; expected the name of {article} {SINGULAR[registry]}.")
            return
        target = registered(registry).get(kind)
        if target is None:
            self._unknown_type((*path, "type"), registry, kind)
            return
        keys = keys_of(registry, target)
        ours = self.model is not None and is_or_extends(self.model, tables.OUR_MODELS)
        if registry == "optimizers" and ours:
            keys["layer_rates"] = tables.LAYER_RATES
        if (
            registry == "metrics"
            and "crop_border" in keys
            and self.model is not None
            and is_or_extends(self.model, tables.OUR_MODELS)
        ):
            keys["crop_border"] = tables.OUR_CROP_BORDER
        arguments = {name: value for name, value in options.items() if name != "type"}
        for name in [name for name in arguments if name in keys and _is_nested(registry, arguments[name])]:
            self.registered_class(registry, arguments.pop(name), (*path, name))
            del keys[name]
        self.section(keys, arguments, path, what=f"{kind} has no such argument")

    def _unknown_type(self, path: KeyPath, registry: str, name: str) -> None:
        known = sorted(known for known in registered(registry) if not known.endswith("_basicsr"))
        hint = did_you_mean(name, known)
        listed = f" Known are {', '.join(known)}." if not hint or len(known) <= 12 else ""
        text = f"is {as_short_yaml(name)}; no {SINGULAR[registry]} of this name is registered."
        self.add(path, f"{text}{hint}{listed}")

    def _unknown(self, keys: Mapping[str, Key], name: str, value: Any, path: KeyPath, what: str) -> None:
        here, given = (*path, name), f"is {as_short_yaml(value)}"
        self.unread.add(here)
        if self.may_read_more and path in TABLES:
            return
        key, elsewhere, hint = TABLES.get(path, {}).get(name), sections_with_key(name), did_you_mean(name, keys)
        if not self.is_train and name in IN_TRAINING.get(path, ()):
            self.add(here, f"{given}; testing does not read it: remove it.")
        elif key is not None and key.only:
            model = key.only[0]
            self.add(here, f"{given}, and {self.model_name} does not read it: remove it, or write model_type: {model}.")
        elif not what and elsewhere and path not in elsewhere:
            where = ": ".join(elsewhere[0]) or "the top level"
            self.add(here, f"{given}; it is not read here, but under {where}: move it there.")
        else:
            listed = f" Known are {', '.join(sorted(set(keys) - {'type'}))}." if keys and not hint else ""
            allow = f" To keep it: `allow: ['{': '.join(here)}']`." if not what and not hint else ""
            self.add(here, f"{given}; {what or 'no code reads this key'}.{hint}{listed}{allow}")

    def _network(self) -> None:
        """Check for keys of `network_g` that the model reads itself."""
        network = self.options.get("network_g")
        reads: frozenset[str] = frozenset() if self.model is None else sections_in_source(self.model)["network_g"]
        given = set(network) if isinstance(network, Mapping) else reads
        for name in sorted(reads - {"type"} - given):
            text = f"the key is missing, and {self.model_name} reads it: write it, or another model_type."
            self.add(("network_g", name), text)

    def _datasets(self) -> None:
        datasets = self.options.get("datasets")
        if not isinstance(datasets, Mapping):
            return
        phases = TRAIN_PHASES if self.is_train else TEST_PHASES
        expected = "train, val, val_1, ..." if self.is_train else "test, test_1, ..."
        for phase, data in datasets.items():
            path = ("datasets", phase)
            if not re.fullmatch(phases, phase):
                program = "training" if self.is_train else "testing"
                hint = did_you_mean(phase, ["train", "val"] if self.is_train else ["test", "val"])
                self.add(
                    path,
                    f"is not a data set that {program} reads; expected {expected}.{hint}",
                )
            elif not isinstance(data, Mapping):
                self.add(path, f"is {as_short_yaml(data)}; expected a mapping with name, type, dataroot_gt.")
            else:
                self._dataset(data, path, training=phase == "train")
        if not any(re.fullmatch("train" if self.is_train else TEST_PHASES, phase) for phase in datasets):
            self.add(
                ("datasets",),
                f"there is no data set to {'train on' if self.is_train else 'test on'}; expected "
                f"{'train' if self.is_train else expected}.",
            )

    def _dataset(self, data: Mapping[str, Any], path: KeyPath, training: bool) -> None:
        kind = data.get("type")
        known = dataset_keys(data, training)
        if not isinstance(kind, str):
            given = f"is {as_short_yaml(kind)}" if "type" in data else "the key is missing"
            self.add((*path, "type"), f"{given}; expected the name of a data set, such as DegradationPairedDataset.")
            return
        if kind not in registered("datasets"):
            self._unknown_type((*path, "type"), "datasets", kind)
            return
        for name, value in data.items():
            key = (tables.DATASET | tables.TRAINING_DATA).get(name)
            if name in known or (kind, name) in UNREAD_IN_BASICSR_FILES:
                continue
            if not training and name in tables.TRAINING_DATA:
                self.add((*path, name), f"is {as_short_yaml(value)}; it is only read under datasets: train: remove it.")
            elif key is not None and key.only:
                self.add(
                    (*path, name),
                    f"is {as_short_yaml(value)}, and {kind} does not read it: remove it, or write type: {key.only[0]}.",
                )
            else:
                self._unknown(known, name, value, path, f"{kind} does not read this key")
        phase = path[-1].partition("_")[0]
        if data.get("phase", phase) != phase:
            self.add((*path, "phase"), f"is {as_short_yaml(data['phase'])}; BasicSR replaces it by {phase}: remove it.")
        self.section(known, {name: value for name, value in data.items() if name in known and name != "phase"}, path)

    def _metrics(self) -> None:
        val = self.options.get("val")
        metrics = val.get("metrics") if isinstance(val, Mapping) else None
        for name, metric in metrics.items() if isinstance(metrics, Mapping) else ():
            path = ("val", "metrics", name)
            if isinstance(metric, Mapping):
                self.registered_class("metrics", metric, path)
            else:
                self.add(
                    path,
                    f"is {as_short_yaml(metric)}; expected a mapping with type, such as {{type: calculate_psnr, "
                    "crop_border: 4, test_y_channel: true}.",
                )
