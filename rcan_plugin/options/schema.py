"""Checks the keys of an option file one by one: known and read, of the right type, in range, none missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rcan_plugin.options import keys as tables
from rcan_plugin.options.keys import REQUIRED, Key, Section
from rcan_plugin.options.kinds import ANYTHING, MAPPING, as_yaml, remedy
from rcan_plugin.options.mistakes import Mistake, Path, did_you_mean
from rcan_plugin.options.signatures import keys_in_source, keys_of, registered, sections_in_source

SINGULAR = {
    "networks": "network", "losses": "loss", "metrics": "metric", "schedulers": "scheduler",
    "optimizers": "optimizer", "datasets": "data set", "models": "model",
}  # fmt: skip
SET_BY_BASICSR = {
    "auto_resume", "dist", "experiments_root", "is_train", "log", "models", "rank", "results_root", "root_path",
    "training_states", "visualization", "world_size",
}  # fmt: skip
"""Keys that BasicSR adds to the options it has read."""
IN_THEIR_FILES = {("RealESRGANDataset", "gt_size")}
"""Keys that BasicSR's own option files have though nobody reads them (the model reads the top level's gt_size)."""
TRAIN_PHASES, TEST_PHASES = r"train|val(_\w+)?", r"(test|val)(_\w+)?"


def check_keys(options: Mapping[str, Any], is_train: bool) -> list[Mistake]:
    """Check every key of an option file by itself.

    Args:
        options: the file's content.
        is_train: whether it is for training; else for testing.
    """
    checker = _Checker(options, is_train)
    checker.check()
    allowed = [tuple(part.strip() for part in re.split(r":\s*", str(entry))) for entry in options.get("allow") or []]
    return [mistake for mistake in checker.mistakes if mistake.path not in allowed]


def sections_of(options: Mapping[str, Any], is_train: bool) -> dict[str, Key]:
    """The keys that a file's top level may have, with those of its sections, for its model."""
    return _Checker(options, is_train).top()


def dataset_keys(data: Mapping[str, Any], training: bool) -> dict[str, Key]:
    """The keys that a data set may have, by its type; `training` for the data set that is trained on."""
    kind = data.get("type")
    cls = registered("datasets").get(kind) if isinstance(kind, str) else None
    ours = kind in tables.OUR_DATA or (cls is not None and _named(cls, tables.OUR_DATA))
    everything = tables.DATASET | tables.TRAINING_DATA | tables.LOADER
    always = {"name", "type", "phase", "scale", *tables.LOADER}
    if training:
        always |= {"num_worker_per_gpu", "batch_size_per_gpu", "dataset_enlarge_ratio"}
    if ours:
        read = set(everything) - {"io_backend"} if training else set(tables.DATASET)
        read.add("io_backend")
    else:
        read = set(keys_in_source(cls)) - {"db_paths", "client_keys"} if cls is not None else set()
        if not training and kind in ("PairedImageDataset", "SingleImageDataset"):
            read -= set(tables.TRAINING_DATA)
    keys = {name: everything.get(name, Key(ANYTHING, "")) for name in sorted(always | read)}
    if training and (ours or kind == "PairedImageDataset"):
        return keys | _required(keys, ("dataroot_gt", *(() if ours else ("dataroot_lq", "io_backend", "gt_size"))))
    missing = ("dataroot_gt", "dataroot_lq", "io_backend") if kind == "PairedImageDataset" else ()
    keys |= _required(keys, ("dataroot_gt",) if ours else missing)
    return {name: Key(key.kind, key.text, None) if name in tables.TRAINING_DATA else key for name, key in keys.items()}


def _required(keys: Mapping[str, Key], names: Iterable[str]) -> dict[str, Key]:
    return {name: Key(keys[name].kind, keys[name].text, REQUIRED) for name in names}


def _named(cls: type, names: Iterable[str]) -> bool:
    """Whether a class, or a base class of it, has one of the names."""
    return any(base.__name__ in names for base in cls.__mro__)


def _is_nested(registry: str, value: Any) -> bool:
    """Whether an argument of a network is itself the options of a network, as that of LumaOnly is."""
    return registry == "networks" and isinstance(value, Mapping) and isinstance(value.get("type"), str)


class _Checker:
    def __init__(self, options: Mapping[str, Any], is_train: bool) -> None:
        self.options, self.is_train = options, is_train
        self.mistakes: list[Mistake] = []
        name = options.get("model_type")
        self.model_name = name if isinstance(name, str) else "?"
        self.model = registered("models").get(self.model_name)
        self.reads = {} if self.model is None else sections_in_source(self.model)
        self.networks = [key[len("network") :] for key in options if re.fullmatch(r"network_\w+", str(key))]

    def add(self, path: Path, text: str) -> None:
        self.mistakes.append(Mistake(path, text))

    def top(self) -> dict[str, Key]:
        keys = self._for_model(tables.TOP, "top")
        for (name,), table in list(_TABLES.items())[1:]:
            keys[name] = Key(Section(self._for_model(table, name)), tables.TOP[name].text)
        for suffix in self.networks:
            if f"network{suffix}" in self.reads.get("top", ()):
                keys[f"network{suffix}"] = Key(tables.NETWORK, "a network")
        needed: tuple[str, ...] = (
            ("train", "logger", "path", "network_g") if self.is_train else ("val", "path", "network_g")
        )
        if self.model is not None and not _named(self.model, ("SRModel",)):
            needed = tuple(name for name in needed if name != "network_g")
        keys |= _required(keys, needed)
        if not self.is_train and isinstance(keys["val"].kind, Section):
            val = dict(keys["val"].kind.keys)
            val["val_freq"] = Key(val["val_freq"].kind, val["val_freq"].text)
            given = self.options.get("val")
            if isinstance(given, Mapping) and given.get("save_img"):
                val |= _required(val, ("suffix",))
            keys["val"] = Key(Section(val), keys["val"].text, REQUIRED)
        return keys

    def _for_model(self, table: Mapping[str, Key], section: str) -> dict[str, Key]:
        """The keys of a table that the model reads, and those that its source reads beyond."""
        reads = self.reads.get(section, frozenset()) - SET_BY_BASICSR
        keys = {
            name: key
            for name, key in table.items()
            if not key.only or self.model is None or _named(self.model, key.only) or name in reads
        }
        extra = {name: Key(ANYTHING, f"read by {self.model_name}") for name in reads if name not in keys}
        for name, key in extra.items():
            if re.match(r"optim_|.*_opt$", name):
                extra[name] = Key(Section(named="optimizers" if name.startswith("optim_") else "losses"), key.text)
        for suffix in self.networks if section == "path" else ():
            for prefix in ("pretrain_network", "param_key", "strict_load"):
                keys.setdefault(f"{prefix}{suffix}", tables.PATH[f"{prefix}_g"])
        return extra | keys

    def check(self) -> None:
        options = self.options
        if self.model is None and isinstance(options.get("model_type"), str):
            self._unknown_type(("model_type",), "models", options["model_type"])
        self.section(self.top(), options, ())
        self._datasets()
        self._metrics()

    def section(self, keys: Mapping[str, Key], options: Mapping[str, Any], path: Path, what: str = "") -> None:
        """Check a mapping's keys and values."""
        for name, value in options.items():
            if name in keys:
                self.value(keys[name], value, (*path, name))
            else:
                self._unknown(keys, name, value, path, what)
        for name, key in keys.items():
            if key.default is REQUIRED and name not in options:
                self.add(
                    (*path, name), f"the key is missing; expected {key.kind.expected}: {key.text or 'an argument'}."
                )

    def value(self, key: Key, value: Any, path: Path) -> None:
        kind = key.kind
        if isinstance(kind, Section):
            if value is None and key.default is not REQUIRED:
                return
            if not isinstance(value, Mapping):
                self.add(path, f"is {as_yaml(value)}; expected {kind.expected}.")
            elif kind.named:
                self.named(kind.named, value, path)
            elif kind.keys:
                self.section(kind.keys, value, path)
            return
        if value is None and key.default is None:
            return
        if not kind.accepts(value):
            self.add(path, f"is {as_yaml(value)}; expected {kind.expected}.{remedy(value, kind)}")

    def named(self, registry: str, options: Mapping[str, Any], path: Path) -> None:
        """Check a mapping whose `type` is a registered class and whose other keys are its arguments."""
        kind = options.get("type")
        if not isinstance(kind, str):
            given = f"is {as_yaml(kind)}" if "type" in options else "is missing"
            self.add((*path, "type"), f"{given}; expected the name of a {SINGULAR[registry]}.")
            return
        target = registered(registry).get(kind)
        if target is None:
            self._unknown_type((*path, "type"), registry, kind)
            return
        keys = keys_of(registry, target)
        if registry == "optimizers" and self.model is not None and _named(self.model, tables.OURS):
            keys["layer_rates"] = Key(MAPPING, "factors on the rate, by parts of parameters' names")
        if registry == "metrics" and "crop_border" in keys and self._has_border(options):
            keys.pop("crop_border")
            options = {name: value for name, value in options.items() if name != "crop_border"}
        arguments = {name: value for name, value in options.items() if name != "type"}
        for name in [name for name in arguments if name in keys and _is_nested(registry, arguments[name])]:
            self.named(registry, arguments.pop(name), (*path, name))
            del keys[name]
        self.section(keys, arguments, path, what=f"{kind} has no such argument")

    def _has_border(self, options: Mapping[str, Any]) -> bool:
        ours = self.model is not None and _named(self.model, tables.OURS)
        return bool(ours and options.get("crop_border") == "scale")

    def _unknown_type(self, path: Path, registry: str, name: str) -> None:
        known = sorted(registered(registry))
        hint = did_you_mean(name, known) or f" Known are {', '.join(known)}."
        self.add(path, f"is {name}; no {SINGULAR[registry]} of this name is registered.{hint}")

    def _unknown(self, keys: Mapping[str, Key], name: str, value: Any, path: Path, what: str) -> None:
        here = (*path, name)
        elsewhere = _places(name)
        table = next((table for place, table in _TABLES.items() if place == path), {})
        if name in table and table[name].only:
            self.add(
                here,
                f"is {as_yaml(value)}, and {self.model_name} does not read it: remove it, or write "
                f"model_type: {table[name].only[0]}.",
            )
        elif not what and elsewhere and path not in elsewhere:
            self.add(here, f"is not read here, but under {': '.join(elsewhere[0]) or 'the top level'}: move it there.")
        else:
            text = what or "nobody reads this key"
            known = ", ".join(sorted(set(keys) - {"type"}))
            hint = did_you_mean(name, keys) or (f" Known are {known}." if known else "")
            allow = "" if did_you_mean(name, keys) else f" To keep it: `allow: ['{': '.join(here)}']`."
            self.add(here, f"is {as_yaml(value)}; {text}.{hint}{allow if not what else ''}")

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
                hint = did_you_mean(phase, ["train", "val", "test"])
                self.add(
                    path,
                    f"is no data set that {program} reads; expected {expected}.{hint}",
                )
            elif not isinstance(data, Mapping):
                self.add(path, f"is {as_yaml(data)}; expected a mapping with name, type, dataroot_gt.")
            else:
                self._dataset(data, path, training=phase == "train")
        if not any(re.fullmatch("train" if self.is_train else TEST_PHASES, phase) for phase in datasets):
            self.add(
                ("datasets",),
                f"there is no data set to {'train on' if self.is_train else 'test on'}; expected "
                f"{'train' if self.is_train else expected}.",
            )

    def _dataset(self, data: Mapping[str, Any], path: Path, training: bool) -> None:
        kind = data.get("type")
        known = dataset_keys(data, training)
        if not isinstance(kind, str):
            given = f"is {as_yaml(kind)}" if "type" in data else "the key is missing"
            self.add((*path, "type"), f"{given}; expected the name of a data set, such as DegradationPairedDataset.")
            return
        if kind not in registered("datasets"):
            self._unknown_type((*path, "type"), "datasets", kind)
            return
        for name, value in data.items():
            key = (tables.DATASET | tables.TRAINING_DATA).get(name)
            if name in known or (kind, name) in IN_THEIR_FILES:
                continue
            if not training and name in tables.TRAINING_DATA:
                self.add((*path, name), f"is {as_yaml(value)}; it is read under datasets: train alone: remove it.")
            elif key is not None and key.only:
                self.add(
                    (*path, name),
                    f"is {as_yaml(value)}, and {kind} does not read it: remove it, or write type: {key.only[0]}.",
                )
            else:
                self._unknown(known, name, value, path, f"{kind} does not read this key")
        self.section(known, {name: value for name, value in data.items() if name in known}, path)

    def _metrics(self) -> None:
        val = self.options.get("val")
        metrics = val.get("metrics") if isinstance(val, Mapping) else None
        for name, metric in metrics.items() if isinstance(metrics, Mapping) else ():
            path = ("val", "metrics", name)
            if isinstance(metric, Mapping):
                self.named("metrics", metric, path)
            else:
                self.add(
                    path,
                    f"is {as_yaml(metric)}; expected a mapping with type, such as {{type: calculate_psnr, "
                    "crop_border: 4, test_y_channel: true}.",
                )


_TABLES: dict[Path, Mapping[str, Key]] = {
    (): tables.TOP,
    ("path",): tables.PATH,
    ("train",): tables.TRAIN,
    ("val",): tables.VAL,
    ("logger",): tables.LOGGER,
}


def _places(name: str) -> list[Path]:
    """Sections that have a key of this name."""
    places = [path for path, table in _TABLES.items() if name in table]
    if name in tables.DATASET or name in tables.TRAINING_DATA or name in tables.LOADER:
        places.append(("datasets", "train"))
    return places
