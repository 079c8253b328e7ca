"""Mistakes in an option file: where they are, what is wrong, what to write."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Path = tuple[str, ...]
"""Keys from the top of an option file down: `("train", "optim_g", "lr")`."""


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        path: keys from the top of the file down to what is wrong; empty for the file as a whole.
        text: the value, what is expected, and what to do.
        line: counted from 1; None where `path` tells it, or where there is none.
        missing: the file may be right; this machine, or the way the program was started, lacks what it needs.
    """

    path: Path
    text: str
    line: int | None = None
    missing: bool = False

    def __str__(self) -> str:
        return f"{': '.join(self.path)}: {self.text}" if self.path else self.text


class Mistakes(ValueError):
    """All mistakes of an option file.

    Args:
        mistakes: at least one.
        lines: lines of the file's keys (`read.OptionFile.lines`).
    """

    def __init__(self, mistakes: Iterable[Mistake], lines: Mapping[Path, int] | None = None) -> None:
        lines = lines or {}
        numbered = {(mistake.line or line_of(mistake.path, lines), str(mistake)): None for mistake in mistakes}
        # By line; those without one come last.
        self.numbered = sorted(numbered, key=lambda entry: (entry[0] is None, entry[0] or 0))
        super().__init__("\n".join(f"line {line}: {text}" if line else text for line, text in self.numbered))


def line_of(path: Path, lines: Mapping[Path, int]) -> int | None:
    """The line of a key, or of the section in which it is missing; None if the file has neither.

    >>> line_of(("train", "optim_g", "lr"), {("train",): 3, ("train", "optim_g"): 4})
    4
    """
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """` Did you mean X?` with the nearest of the known names, or nothing.

    >>> did_you_mean("chanels", ["channels", "scale"])
    ' Did you mean channels?'
    >>> did_you_mean("x", ["channels"])
    ''
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
    nearest = difflib.get_close_matches(str(name).casefold(), by_folded, 1, 0.7)
    return f" Did you mean {by_folded[nearest[0]]}?" if nearest else ""
