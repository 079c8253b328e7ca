"""Checks of values from option files and arguments, shared by all rooms. Booleans are not numbers here."""

from __future__ import annotations

import numbers
from typing import Any


def is_number(value: Any, kinds: type | tuple[type, ...]) -> bool:
    """Whether `value` is an instance of `kinds`; `True` and `False` are not, though Python counts them as integers.

    >>> is_number(3, int), is_number(True, int), is_number(0.5, (int, float))
    (True, False, True)
    """
    return isinstance(value, kinds) and not isinstance(value, bool)


def is_whole(value: Any, least: int = 1) -> bool:
    """Whether `value` is a whole number, Python's or NumPy's (not a boolean), of at least `least`.

    >>> is_whole(1), is_whole(0), is_whole(True), is_whole(2.0)
    (True, False, False, False)
    """
    return is_number(value, numbers.Integral) and value >= least


def require_whole(name: str, value: Any, least: int = 1, hint: str = "") -> int:
    """Return `value` if it is a whole number of at least `least`.

    Args:
        name: what the value is, for the message: `VDSRArch: num_feat`.
        value: the value to check.
        least: the smallest allowed value.
        hint: appended to the message, with its own leading comma or colon.

    Raises:
        ValueError: names the argument, its value and what was expected.
    """
    if not is_whole(value, least):
        raise ValueError(f"{name} is {value!r}; expected a whole number of {least} or more{hint}.")
    return int(value)


def require_flag(name: str, value: Any) -> bool:
    """Return `value` if it is `True` or `False`.

    Args:
        name: what the value is, for the message: `data set DIV2K: use_rot`.
        value: the value to check.

    Raises:
        ValueError: names the argument, its value and what was expected.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; expected true or false.")
    return value
