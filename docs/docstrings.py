"""Converts docstrings to Markdown for mkdocstrings (an extension of griffe); the source files are not changed."""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"(?:Options .*|Under `\w+`):")
ITEM = re.compile(r" {4}(?! )(?:(?P<keys>\w+(?:, \w+)*): )?(?P<text>.*)")


class Docstrings(griffe.Extension):
    """Changes docstrings when they are read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Make lists of sections of options; keep asterisks between letters."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """Make a list of the indented items below a line such as ``Under `train`:``; escape products such as `H*scale`.

    >>> print(as_markdown("Under `val`:\\n    tile: size\\n        in pixels.\\nH*scale"))
    Under `val`:
    <BLANKLINE>
    - **tile**: size
      in pixels.
    <BLANKLINE>
    H\\*scale
    """
    lines: list[str] = []
    listed = False
    for line in docstring.split("\n"):
        if listed and line.startswith("    "):
            item = ITEM.fullmatch(line)
            keys = f"**{item['keys']}**: " if item and item["keys"] else ""
            lines.append(f"- {keys}{item['text']}" if item else f"  {line.strip()}")
            continue
        if listed:
            lines.append("")
        listed = bool(SECTION.fullmatch(line))
        lines += [re.sub(r"(?<=\w)\*(?=\w)", r"\\*", line), *([""] if listed else [])]
    return "\n".join(lines)
