"""Kinds of values in option files: what each accepts, in words and as JSON schema."""

from __future__ import annotations

import inspect
import math
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rcan_plugin._checks import is_number, is_whole
from rcan_plugin.options.values import as_yaml, plain


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        expected: completes "expected ...".
        accepts: whether a value is of this kind.
        json: the JSON schema of the same.
    """

    expected: str
    accepts: Callable[[Any], bool]
    json: Mapping[str, Any] = field(default_factory=dict)


def whole(least: int | None = 1, most: int = sys.maxsize) -> Kind:
    """A whole number from `least` (None for any) to `most`."""
    bounds = {"minimum": least, "maximum": None if most == sys.maxsize else most}
    return Kind(
        _whole_in_words(least, most),
        lambda value: is_whole(value, -sys.maxsize if least is None else least) and value <= most,
        {"type": "integer", **{name: bound for name, bound in bounds.items() if bound is not None}},
    )


def count(least: int = 1, most: int = 10**9) -> Kind:
    """A whole number that may be written as a float: `5e3` with a tag or a dot, as BasicSR's option files do."""

    def accepts(value: Any) -> bool:
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        return is_whole(number, least) and number <= most

    bounds = {"minimum": least, "maximum": most, "multipleOf": 1}
    return Kind(_whole_in_words(least, most), accepts, {"type": "number", **bounds})


def _whole_in_words(least: int | None, most: int) -> str:
    if least is None:
        return "a whole number"
    return f"a whole number of {least} or more" if most == sys.maxsize else f"a whole number from {least} to {most}"


def number(
    least: float | None = None, above: float | None = None, most: float | None = None, below: float | None = None
) -> Kind:
    """A finite number within bounds: `least` and `most` belong to the range, `above` and `below` do not."""
    words = [
        f"of {least:g} or more" if least is not None else None,
        f"above {above:g}" if above is not None else None,
        f"at most {most:g}" if most is not None else None,
        f"below {below:g}" if below is not None else None,
    ]

    def accepts(value: Any) -> bool:
        return (
            is_number(value, (int, float))
            and abs(value) <= sys.maxsize  # and neither infinite nor NaN
            and (least is None or value >= least)
            and (above is None or value > above)
            and (most is None or value <= most)
            and (below is None or value < below)
        )

    bounds = {"minimum": least, "exclusiveMinimum": above, "maximum": most, "exclusiveMaximum": below}
    expected = f"a number {', '.join(filter(None, words))}".rstrip()
    return Kind(
        expected, accepts, {"type": "number", **{key: bound for key, bound in bounds.items() if bound is not None}}
    )


def one_of(*values: Any) -> Kind:
    """One of the given values."""

    def accepts(value: Any) -> bool:
        return any(value == allowed and type(value) is type(allowed) for allowed in values)

    *first, last = map(as_yaml, values)
    return Kind(f"{', '.join(first)} or {last}" if first else last, accepts, {"enum": list(values)})


def list_of(kind: Kind, length: int | None = None, least: int = 0) -> Kind:
    """A list of values of one kind: of `length`, or of at least `least`."""

    def accepts(value: Any) -> bool:
        return (
            isinstance(value, (list, tuple))
            and (length is None or len(value) == length)
            and len(value) >= least
            and all(map(kind.accepts, value))
        )

    size = f"{length} values" if length is not None else f"{least} or more values" if least else "values"
    bounds = {"minItems": length if length is not None else least} | ({} if length is None else {"maxItems": length})
    each = "" if kind is ANYTHING else f", each {kind.expected}"
    return Kind(f"a list of {size}{each}", accepts, {"type": "array", "items": dict(kind.json), **bounds})


def either(*kinds: Kind) -> Kind:
    """Any of several kinds."""
    return Kind(
        ", or ".join(kind.expected for kind in kinds),
        lambda value: any(kind.accepts(value) for kind in kinds),
        {"anyOf": [dict(kind.json) for kind in kinds]},
    )


def _is_file_name(value: Any) -> bool:
    """Whether a text can be a part of the name of a file or folder in one folder: no separators, not too long."""
    return (
        isinstance(value, str)
        and value.strip() not in ("", ".", "..")
        and value.isprintable()
        and "/" not in value
        and len(value.encode(errors="replace")) <= LONGEST_NAME
    )


LONGEST_NAME = 200
"""Most bytes of a name. File systems allow 255, and BasicSR appends up to 30: `_archived_20251231_235959`."""

NONE = Kind("~", lambda value: value is None, {"type": "null"})
FLAG = Kind("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})
TEXT = Kind(
    "text",
    lambda value: isinstance(value, str) and value not in ("", "None", "none"),
    {"type": "string", "minLength": 1},
)
NAME = Kind(
    f"a name without `/` of at most {LONGEST_NAME} bytes",
    _is_file_name,
    {"type": "string", "pattern": "^[^/]+$", "maxLength": LONGEST_NAME},
)
MAPPING = Kind("a mapping of keys to values", lambda value: isinstance(value, Mapping), {"type": "object"})
ANYTHING = Kind("a value", lambda value: True)
NUMBER = number()
VALUES = Kind("a list", lambda value: isinstance(value, (list, tuple)), {"type": "array"})


def nullable(kind: Kind) -> Kind:
    """A kind, or `~`."""
    return either(kind, NONE)


def kind_of_parameter(annotation: Any, default: Any) -> Kind:
    """The kind of a function's parameter: by its annotation, or by its default if there is none.

    A default that is a whole number does not exclude fractions: `eta_min=0` takes 1.0e-7.
    """
    if annotation is not inspect.Parameter.empty:
        return _kind_of_annotation(annotation)
    if isinstance(default, bool):
        return FLAG
    if isinstance(default, (int, float)):
        return NUMBER
    if isinstance(default, str):
        return TEXT
    return VALUES if isinstance(default, (list, tuple)) else ANYTHING


def _kind_of_annotation(annotation: Any) -> Kind:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    simple = {int: whole(None), float: NUMBER, bool: FLAG, str: TEXT, type(None): NONE}
    if annotation in simple:
        return simple[annotation]
    if origin in (typing.Union, types.UnionType):
        # No option file can hold a tensor.
        kinds = [_kind_of_annotation(argument) for argument in arguments if not _is_tensor(argument)]
        return ANYTHING if ANYTHING in kinds else kinds[0] if len(kinds) == 1 else either(*kinds)
    if origin is typing.Literal:
        return one_of(*arguments)
    if origin in (list, tuple) or origin is Sequence:
        if not arguments or arguments[0] is Any:
            return VALUES
        of_tuple = origin is tuple and ... not in arguments
        return list_of(_kind_of_annotation(arguments[0]), length=len(arguments) if of_tuple else None)
    if origin is Mapping or origin is dict or annotation is dict:
        return MAPPING
    return ANYTHING


def _is_tensor(annotation: Any) -> bool:
    return isinstance(annotation, type) and annotation.__module__.partition(".")[0] == "torch"


NUMBER_IN_TEXT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
"""Numbers that YAML 1.1 reads as text: without a point, or without a sign in the exponent."""


def _number(text: str) -> Any:
    """The number that a text writes, a whole one if it is; the text if it writes none."""
    number = plain(text)
    whole_number = isinstance(number, float) and math.isfinite(number) and number.is_integer()
    return int(number) if whole_number and NUMBER_IN_TEXT.fullmatch(text) else number


def remedy(value: Any, kind: Kind) -> str:
    """How YAML read a value that the user probably meant otherwise, and what to write; empty if there is no advice."""
    if isinstance(value, str):
        if NUMBER_IN_TEXT.fullmatch(value):
            fixed = _number(value)
            if kind.accepts(fixed) or kind.accepts([fixed]):
                return f" YAML reads {value} as text: write {as_yaml(fixed)}."
        if value in ("None", "none"):
            return " YAML writes none as ~."
        unquoted = plain(value)
        if not isinstance(unquoted, str) and kind.accepts(unquoted):
            return f" It is text: write {as_yaml(unquoted)}, without quotes."
        parts = [plain(part.strip()) for part in value.strip("[]()").split(",")]
        if kind.accepts(parts):
            return f" It is text: write {as_yaml(parts)}."
    if isinstance(value, (list, tuple)):
        parts = [_number(part) if isinstance(part, str) else part for part in value]
        if kind.accepts(parts):
            return f" It holds text: write {as_yaml(parts)}."
    if isinstance(value, bool) and kind.accepts("yes" if value else "no"):
        return f" YAML reads {'yes and on' if value else 'no and off'} as {as_yaml(value)}: quotes make them text."
    if not isinstance(value, (list, tuple, Mapping)) and kind.accepts([value]):
        return f" Write {as_yaml([value])}."
    if isinstance(value, float) and value.is_integer() and kind.accepts(int(value)):
        return f" Write {int(value)}."
    if is_number(value, (int, float)) and kind.accepts(str(value)):
        return f' Quotes make it text: "{value}".'
    return ""
