"""Values in the notation of option files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

LONGEST_VALUE = 60
"""Most characters of a value in a message."""


def as_yaml(value: Any) -> str:
    """Format a value in the notation of option files, on one line.

    >>> as_yaml(None), as_yaml(True), as_yaml([1, "a"]), as_yaml(1e-5), as_yaml("true"), as_yaml({"a": 1})
    ('~', 'true', '[1, a]', '1.0e-5', '"true"', '{a: 1}')
    """
    if value is None:
        return "~"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value):
            return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
        mantissa, _, exponent = repr(value).partition("e")
        with_point = mantissa if "." in mantissa else f"{mantissa}.0"
        return f"{with_point}e{int(exponent):+d}" if exponent else mantissa
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_yaml, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {as_yaml(entry)}" for key, entry in value.items()) + "}"
    text = str(value)
    if not text.isprintable():
        return json.dumps(text)
    return f'"{text}"' if isinstance(value, str) and (not text or _looks_like_another_type(text)) else text


def as_short_yaml(value: Any) -> str:
    """`as_yaml`, shortened for a message.

    >>> as_short_yaml({"type": "L1Loss", "loss_weight": 1.0}), as_short_yaml({"a": "b" * 99})
    ('{type: L1Loss, loss_weight: 1.0}', 'a section')
    >>> as_short_yaml([1, 2]), as_short_yaml([1000] * 50)
    ('[1, 2]', '[1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, ...]')
    """
    text = as_yaml(value)
    if len(text) <= LONGEST_VALUE:
        return text
    if isinstance(value, Mapping):
        return "a section"
    return (
        f"{text[: LONGEST_VALUE - 5].rstrip(', ')}, ...]"
        if isinstance(value, (list, tuple))
        else (f"{text[: LONGEST_VALUE - 3]}...")
    )


def plain(text: str) -> Any:
    """The value of a word without quotes."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def _looks_like_another_type(text: str) -> bool:
    return text.lower() in ("true", "false", "yes", "no", "on", "off", "null", "~") or not isinstance(plain(text), str)
