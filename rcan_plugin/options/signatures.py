"""Keys that classes and functions read: from their signatures, and from their source where they take a mapping."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rcan_plugin.options.keys import LOSSES, METRIC, REQUIRED, SCHEDULES, Key
from rcan_plugin.options.kinds import kind_of_parameter, number

REGISTRIES = {"networks": "ARCH", "losses": "LOSS", "metrics": "METRIC", "datasets": "DATASET", "models": "MODEL"}


def registered(kind: str) -> dict[str, Any]:
    """The classes or functions that an option file's `type` may name.

    Args:
        kind: `networks`, `losses`, `metrics`, `datasets`, `models`, `schedulers` or `optimizers`.

    Returns:
        Classes by the names that an option file uses; BasicSR also finds names ending in `_basicsr` without the ending.
    """
    if kind == "schedulers":
        return _schedulers()
    if kind == "optimizers":
        torch = importlib.import_module("torch")
        found = {name: cls for name, cls in vars(torch.optim).items() if inspect.isclass(cls)}
        return {
            name: cls for name, cls in found.items() if issubclass(cls, torch.optim.Optimizer) and name != "Optimizer"
        }
    importlib.import_module("basicsr")
    registry = getattr(importlib.import_module("basicsr.utils.registry"), f"{REGISTRIES[kind]}_REGISTRY")
    names = dict(iter(registry))
    return {name.removesuffix("_basicsr"): names[name] for name in names} | names


def is_or_extends(cls: type, names: Iterable[str]) -> bool:
    """Whether a class or one of its base classes has one of these names."""
    return any(base.__name__ in names for base in cls.__mro__)


def _schedulers() -> dict[str, Any]:
    importlib.import_module("basicsr")
    theirs = importlib.import_module("basicsr.models.lr_scheduler")
    ours = importlib.import_module("rcan_plugin.training.schedules")
    return {
        "MultiStepLR": theirs.MultiStepRestartLR,
        "MultiStepRestartLR": theirs.MultiStepRestartLR,
        "CosineAnnealingRestartLR": theirs.CosineAnnealingRestartLR,
        "WarmupCosineLR": ours.WarmupCosineLR,
    }


def keys_of(kind: str, target: Any) -> dict[str, Key]:
    """The keys besides `type` that a class or function accepts, from its signature; descriptions from its docstring."""
    function = target.__init__ if inspect.isclass(target) else target
    keys = _parameters(function, inspect.getdoc(target) or "")
    skipped = {
        "losses": (),
        "networks": (),
        "metrics": ("img", "img2"),
        "schedulers": ("optimizer", "last_epoch"),
        "optimizers": ("params",),
    }[kind]
    for name in skipped:
        keys.pop(name, None)
    known = {"metrics": METRIC, "schedulers": SCHEDULES, "losses": LOSSES}.get(kind, {})
    keys |= {name: key for name, key in known.items() if name in keys}
    if kind == "metrics":
        keys["better"] = METRIC["better"]
    if kind == "optimizers":
        keys["lr"] = Key(number(above=0, most=100), "learning rate", REQUIRED)
    return keys


def _parameters(function: Callable[..., Any], doc: str) -> dict[str, Key]:
    """The keyword parameters of a function; for a class with `**kwargs`, also those of its base class."""
    keys: dict[str, Key] = {}
    try:
        parameters = inspect.signature(function).parameters
        hints = _hints(function)
    except (TypeError, ValueError):
        return keys
    for name, parameter in parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        required = parameter.default is parameter.empty
        kind = kind_of_parameter(hints.get(name, parameter.empty), None if required else parameter.default)
        keys[name] = Key(kind, _text(doc, name), REQUIRED if required else parameter.default)
    return keys


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # a name that is only imported for type checkers
        return {}


def _text(doc: str, name: str) -> str:
    """The first sentence of a parameter's description in a docstring's `Args:`, without its full stop.

    >>> _text("Args:\\n    a (int): Side, e.g. 3,\\n        in pixels. Even.\\n    b: Other.", "a")
    'Side, e.g. 3, in pixels'
    """
    match = re.search(
        rf"^(?P<indent>[ \t]*)(?:\w+, )*{re.escape(name)}(?:, \w+)*[ \t]*(?:\([^\n]*?\))?[ \t]*:"
        r"(?P<text>[^\n]*(?:\n(?P=indent)[ \t]+\S[^\n]*)*)",
        doc,
        re.MULTILINE,
    )
    text = " ".join(match["text"].split()) if match else ""
    return re.split(r"(?<!e\.g)(?<!i\.e)\.(?:\s|$)", text, maxsplit=1)[0]


@functools.lru_cache
def words_in_source(target: type) -> frozenset[str]:
    """All string constants in the source of a class and its bases, including the keys of what it returns."""
    nodes = (node for tree in _sources(target) for node in ast.walk(tree))
    return frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


@functools.lru_cache
def needs_gpu(target: type) -> bool:
    """Whether the source of a class calls `.cuda()` on something."""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cuda"
        for tree in _sources(target)
        for node in ast.walk(tree)
    )


@functools.lru_cache
def keys_in_source(target: type) -> frozenset[str]:
    """Keys in the source of a class and its bases: `x["key"]`, `x.get("key")`, `x.pop("key")`, `"key" in x`."""
    return frozenset(key for tree in _sources(target) for node in ast.walk(tree) for key in _key_of(node))


def _sources(target: type) -> Iterator[ast.AST]:
    """The parsed source of a class and of its bases, without those of torch and Python."""
    for cls in inspect.getmro(target):
        if cls.__module__.partition(".")[0] not in ("builtins", "torch", "typing"):
            with contextlib.suppress(OSError, TypeError, SyntaxError):
                yield ast.parse(textwrap.dedent(inspect.getsource(cls)))


def _key_of(node: ast.AST) -> set[str]:
    candidates: list[ast.expr] = []
    if isinstance(node, ast.Subscript):
        candidates = [node.slice]
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("get", "pop", "setdefault")
    ):
        candidates = node.args[:1]
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        candidates = [node.left]
    return {entry.value for entry in candidates if isinstance(entry, ast.Constant) and isinstance(entry.value, str)}


OWNERS = {
    "self.opt": "top",
    "opt": "top",
    "self.opt['train']": "train",
    "opt['train']": "train",
    "train_opt": "train",
    "self.opt['val']": "val",
    "opt['val']": "val",
    "self.opt['path']": "path",
    "opt['path']": "path",
    "self.opt['logger']": "logger",
    "self.opt['network_g']": "network_g",
    "opt['network_g']": "network_g",
}


@functools.lru_cache
def sections_in_source(model: type) -> Mapping[str, frozenset[str]]:
    """The keys that the source of a model and its bases reads, by section: `top`, `train`, `val`, ..."""
    sections: dict[str, set[str]] = {section: set() for section in OWNERS.values()}
    for tree in _sources(model):
        for node in ast.walk(tree):
            owner = node.value if isinstance(node, ast.Subscript) else None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
            elif isinstance(node, ast.Compare):
                owner = node.comparators[0]
            section = OWNERS.get(ast.unparse(owner)) if owner is not None else None
            # Of a network's arguments, the model needs those that it reads without a default.
            if section is not None and (section != "network_g" or isinstance(node, ast.Subscript)):
                sections[section] |= _key_of(node)
    return {section: frozenset(names) for section, names in sections.items()}
