"""Exports the keys of option files as a JSON schema and as a page in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rcan_plugin.options import keys as tables
from rcan_plugin.options.defaults import is_plain
from rcan_plugin.options.keys import REQUIRED, Key, Section
from rcan_plugin.options.kinds import MAPPING, Kind, as_yaml
from rcan_plugin.options.schema import (
    SINGULAR,
    TEST_PHASES,
    TRAIN_PHASES,
    UNREAD_IN_BASICSR_FILES,
    dataset_keys,
    sections_of,
)
from rcan_plugin.options.signatures import keys_of, registered

Schema = dict[str, Any]

SECTIONS: dict[str, Mapping[str, Key]] = {
    "path": tables.PATH,
    "train": tables.TRAIN,
    "val": tables.VAL,
    "logger": tables.LOGGER,
    "dist_params": tables.DIST_PARAMS,
}
WITH_ARGUMENTS = ("networks", "optimizers", "schedulers", "losses", "metrics")
"""Registries whose classes take their keys as arguments."""
FOR_TRAINING: Schema = {"properties": {"datasets": {"required": ["train"]}}, "required": ["datasets"]}
"""Distinguishes option files for training from those for testing."""
MOST_OTHERS = 3
"""If at most this many classes do not read a key, the reference names them instead of those that read it."""


def json_schema() -> Schema:
    """Make a JSON schema (draft 2020-12) of option files, for editors.

    It contains keys, types and ranges, by the classes that `model_type` and `type` name. Unlike `rcan check`, it does
    not check keys against each other, and refuses keys that `allow` lists.
    """
    definitions = {registry: _chosen(_arguments(registry)) for registry in WITH_ARGUMENTS}
    for name, is_train in (("training_data", True), ("other_data", False)):
        definitions[name] = _chosen({kind: _data_set(kind, is_train) for kind in registered("datasets")})
    models = {name: _model(name) for name in registered("models")}
    training = {
        "properties": {
            "datasets": {"propertyNames": {"pattern": f"^({TRAIN_PHASES})$"}},
            "val": {"required": ["val_freq"]},
        },
    }
    saving = {"properties": {"save_img": {"const": True}}, "required": ["save_img"]}
    testing = {
        "properties": {
            "datasets": {"propertyNames": {"pattern": f"^({TEST_PHASES})$"}, "minProperties": 1},
            "val": {"type": "object", "if": saving, "then": {"required": ["suffix"]}},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Option file of BasicSR with rcan_plugin",
        **_chosen(models, "model_type"),
        "if": FOR_TRAINING,
        "then": training,
        "else": testing,
        "$defs": definitions,
    }


def _chosen(choices: Mapping[str, Schema], key: str = "type") -> Schema:
    """A mapping in which the value of one key determines the other keys."""
    return {
        "type": "object",
        "properties": {key: {"enum": sorted(choices)}},
        "required": [key],
        "allOf": [
            {"if": {"properties": {key: {"const": name}}, "required": [key]}, "then": schema}
            for name, schema in choices.items()
        ],
    }


def _arguments(registry: str) -> dict[str, Schema]:
    """Schemas of the arguments of a registry's classes, that is of the keys besides `type`."""
    schemas = {}
    for name, target in registered(registry).items():
        schemas[name] = schema = _mapping(keys_of(registry, target))
        schema["properties"]["type"] = True
        if registry == "optimizers":
            schema["properties"]["layer_rates"] = dict(MAPPING.json)
        elif "crop_border" in schema["properties"]:
            border = schema["properties"]["crop_border"]
            border["anyOf"] = [{"type": border.pop("type"), "minimum": border.pop("minimum")}, {"const": "scale"}]
    return schemas


def _data_set(name: str, training: bool) -> Schema:
    schema = _mapping(dataset_keys({"type": name}, training))
    for kind, key in UNREAD_IN_BASICSR_FILES:
        if kind == name:
            schema["properties"][key] = True
    return schema


def _model(name: str) -> Schema:
    """A schema of the top level for a model."""
    keys = _keys_of_model(name)
    schema = _mapping(keys)
    schema |= {
        "if": FOR_TRAINING,
        "then": {"required": schema.pop("required")},
        "else": {"required": _mapping(_keys_of_model(name, is_train=False))["required"]},
    }
    properties = schema["properties"]
    data = {"$ref": "#/$defs/other_data"}
    properties["datasets"] = {
        "type": "object",
        "properties": {"train": {"$ref": "#/$defs/training_data"}},
        "patternProperties": {"^(val|test)": data},
        "description": keys["datasets"].text,
    }
    val = properties["val"]["then"]
    val["required"].remove("val_freq")
    metric: Schema = {"$ref": "#/$defs/metrics"}
    val["properties"]["metrics"] = {"type": ["object", "null"], "additionalProperties": metric}
    if not any(base.__name__ in tables.OUR_MODELS for base in registered("models")[name].__mro__):
        metric["properties"] = {"crop_border": {"type": "integer"}}
        train = _section("train", keys)["properties"]
        optimizers = {key: {"properties": {"layer_rates": False}} for key in train if key.startswith("optim_")}
        schema["allOf"] = [{"properties": {"train": {"properties": optimizers}}}]
    return schema


def _section(name: str, keys: Mapping[str, Key]) -> Schema:
    kind = keys[name].kind
    assert isinstance(kind, Section)
    return _mapping(kind.keys)


def _keys_of_model(name: str, is_train: bool = True) -> dict[str, Key]:
    """The top level's keys for a model, with the keys of its sections and of its networks' weights."""
    networks: dict[str, Any] = {
        key: {} for key in sections_of({"model_type": name}, True) if key.startswith("network_")
    }
    return sections_of({"model_type": name, **networks}, is_train)


def _mapping(keys: Mapping[str, Key]) -> Schema:
    """A mapping with these keys and no others."""
    return {
        "type": "object",
        "properties": {name: _value(key) for name, key in keys.items()},
        "required": [name for name, key in keys.items() if key.default is REQUIRED],
        "additionalProperties": False,
    }


def _value(key: Key) -> Schema:
    kind = key.kind
    schema: Schema
    if isinstance(kind, Kind):
        schema = dict(kind.json)
    elif kind.registry:
        schema = {"$ref": f"#/$defs/{kind.registry}"}
    else:
        schema = _mapping(kind.keys) if kind.keys else {"type": "object"}
    if key.default is None and isinstance(kind, Section):
        # Not anyOf, so that errors are reported at the key itself.
        schema = {"type": ["object", "null"], "if": {"type": "object"}, "then": schema}
    elif key.default is None and schema:
        schema = {"anyOf": [schema, {"type": "null"}]}
    if key.text:
        schema["description"] = key.text
    if key.default not in (REQUIRED, None) and is_plain(key.default):
        schema["default"] = list(key.default) if isinstance(key.default, tuple) else key.default
    return schema


def reference() -> str:
    """Write the reference of option files in Markdown: a table of keys for each section and class."""
    parts = [
        "# Option files",
        "`rcan check FILE` checks a file, `rcan train --print-options -opt FILE` prints it with its defaults. A key "
        "without a default may be `~`, which is the same as leaving it out.",
        "## Top level",
        _table(_of_models("", tables.TOP)),
        "## datasets",
        "`train`, and `val`, `val_1`, ... for training; `test`, `test_1`, ... for testing. Each has these keys.",
        _table(_of_data_sets()),
        "## network_g",
        "`type`, and the arguments of that class.",
        *_classes("networks", "###"),
    ]
    below = {"train": ("optimizers", "schedulers", "losses"), "val": ("metrics",)}
    for section, keys in SECTIONS.items():
        parts += [f"## {section}", _table(_of_models(section, keys))]
        for registry in below.get(section, ()):
            parts += [f"### {registry.capitalize()}", *_classes(registry, "####")]
    return "\n\n".join(parts) + "\n"


def _of_models(section: str, table: Mapping[str, Key]) -> dict[str, tuple[Key, str]]:
    """The keys of a section, with the models that read each."""
    by_model = {}
    for name in _names("models"):
        keys: Mapping[str, Key] = _keys_of_model(name)
        if section:
            kind = keys[section].kind
            keys = kind.keys if isinstance(kind, Section) else {}
        by_model[name] = keys
    return _with_readers(table, by_model)


def _of_data_sets() -> dict[str, tuple[Key, str]]:
    """The keys of data sets, with the classes that read each."""
    by_class = {name: dataset_keys({"type": name}, True) for name in _names("datasets")}
    return _with_readers(tables.DATASET | tables.TRAINING_DATA | tables.LOADER, by_class)


def _with_readers(table: Mapping[str, Key], by_class: Mapping[str, Mapping[str, Key]]) -> dict[str, tuple[Key, str]]:
    """The keys of a table, then those that classes read beyond it, with the classes that read each."""
    beyond = {name: key.kind for keys in by_class.values() for name, key in keys.items() if name not in table}
    keys = {**table, **{name: Key(beyond[name], "") for name in sorted(beyond)}}
    return {name: (key, _readers(name, by_class)) for name, key in keys.items()}


def _readers(key: str, by_class: Mapping[str, Mapping[str, Key]]) -> str:
    readers = [name for name, keys in by_class.items() if key in keys]
    others = [name for name in by_class if name not in readers]
    if len(others) > MOST_OTHERS:
        return ", ".join(readers)
    return f"all but {', '.join(others)}" if others else "all"


def _names(registry: str) -> list[str]:
    """Registered names, each class once."""
    return [name for name in registered(registry) if not name.endswith("_basicsr")]


def _classes(registry: str, heading: str) -> Iterator[str]:
    for name in _names(registry):
        yield f"{heading} {name}"
        keys = keys_of(registry, registered(registry)[name])
        yield _table({key: (value, "") for key, value in keys.items()}) if keys else "No arguments."


def _table(keys: Mapping[str, tuple[Key, str]]) -> str:
    """A table of keys; with a column of the classes that read them, if there are any."""
    with_readers = any(readers for _, readers in keys.values())
    titles = ["key", "value", "default", "what it is", *["read by"] * with_readers]
    lines = [titles, ["---"] * len(titles)]
    for name, (key, readers) in keys.items():
        lines.append([f"`{name}`", *_cells(key), *[readers] * with_readers])
        for below, inner in key.kind.keys.items() if isinstance(key.kind, Section) and name not in SECTIONS else ():
            of_type = ", ".join(f"type {kind}" for kind in inner.only)
            lines.append([f"`{name}: {below}`", *_cells(inner), *[of_type or readers] * with_readers])
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _cells(key: Key) -> list[str]:
    kind = key.kind
    if isinstance(kind, Kind):
        value = kind.expected
    elif kind.registry:
        value = f"`type` of a {SINGULAR[kind.registry]}, and its arguments"
    else:
        value = "a mapping"
    default = "required" if key.default is REQUIRED else "" if key.default is None else f"`{as_yaml(key.default)}`"
    return [value, default, key.text]
