"""Reads an option file without running code from it, with the line of every key."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rcan_plugin._files import describe_error, require_file
from rcan_plugin.options.mistakes import KeyPath, Mistake, Mistakes, did_you_mean

MOST_VALUES = 100_000
"""Most values of a file: nested references could otherwise fill the memory."""
MOST_LEVELS = 50
"""Most nested sections. Python's recursion limit is not used, because it differs between processes."""
TOO_DEEP = f"the file nests sections deeper than {MOST_LEVELS} levels; an option file needs six."
OPENING = "while (scanning a (quoted|single-quoted|double-quoted)|parsing a flow)"
"""What PyYAML says of text in quotes or brackets, whose beginning tells more than the place where it must end."""
SAFE_TAG = re.compile(r"tag:yaml\.org,2002:(null|bool|int|float|str|seq|map)")
"""Tags of plain data. All others build objects, or values that BasicSR does not use (dates, binary data, sets)."""


@dataclass
class OptionFile:
    """An option file as it was read.

    Attributes:
        path: path of the file.
        options: its content.
        lines: the line of each key, counted from 1, by the keys from the top down.
    """

    path: Path
    options: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)


def read(path: str | os.PathLike[str], changes: Sequence[str] = ()) -> OptionFile:
    """Read an option file, then set what `--force_yml` asks for.

    Args:
        path: a YAML file.
        changes: `KEY:KEY=VALUE` each, as the arguments after BasicSR's `--force_yml`.

    Raises:
        Mistakes: the file cannot be read, is not YAML, holds a tag that would run code, or has a key twice; all such
            mistakes, with their lines.
    """
    path = Path(path)
    try:
        require_file("option file", path)
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Mistakes([Mistake((), f"the option file is not UTF-8 text (byte {error.start}).")]) from None
    except (OSError, ValueError) as error:
        raise Mistakes([Mistake((), describe_error(error))]) from None
    file = OptionFile(path, {})
    mistakes = list(_parse(text, file))
    if not mistakes:
        mistakes = [mistake for change in changes if (mistake := _change(file, change)) is not None]
    if mistakes:
        raise Mistakes(mistakes, file.lines)
    return file


def _parse(text: str, file: OptionFile) -> Iterator[Mistake]:
    try:
        documents = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        yield _syntax_error(error, text)
        return
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        yield Mistake((), f"character #x{error.character:04x} is not allowed in YAML: remove it.", line)
        return
    except _TooDeepError:
        yield Mistake((), TOO_DEEP)
        return
    root = documents[0] if documents else None
    if len(documents) > 1:
        yield Mistake((), "a second document begins here, after `---`; expected one.", documents[1].start_mark.line + 1)
    elif not isinstance(root, yaml.MappingNode):
        what = "empty" if root is None else "not a mapping"
        yield Mistake(
            (), f"the file is {what}; expected `KEY: VALUE` lines, such as those of options/train_RCAN_x4.yml."
        )
    else:
        builder = _Builder(file)
        try:
            file.options = builder.build(root, ())
        except _TooLargeError:
            yield Mistake((), f"the file's references make it longer than {MOST_VALUES} values.")
        except _TooDeepError:
            yield Mistake((), TOO_DEEP)
        else:
            yield from builder.mistakes


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    line = None if mark is None else mark.line + 1
    source = text.splitlines()[mark.line] if mark is not None and mark.line < len(text.splitlines()) else ""
    problem = f"{error.problem or error.context}"
    if "\t" in source or "'\\t'" in problem:
        return Mistake((), f"{problem}: the line holds a tab; YAML is indented by blanks: replace tabs.", line)
    hint = ": check the indentation here and in the line before, and the blank after each colon"
    if error.context_mark and error.context and re.match(OPENING, error.context):
        line = error.context_mark.line + 1
        problem = f"{problem}, {error.context}"
        hint = ": close what begins here"
    if "undefined alias" in problem:
        hint = ": `*` begins a reference; quote the value"
    elif "escape" in problem:
        hint = ": write single quotes, in which `\\` is no more than a character"
    elif "cannot start any token" in problem:
        hint = ": quote the value"
    return Mistake((), f"this is not YAML: {problem}{hint}.", line)


class _TooLargeError(Exception):
    """There are more than `MOST_VALUES` values."""


class _TooDeepError(Exception):
    """There are more than `MOST_LEVELS` levels."""


class _Loader(yaml.SafeLoader):
    """Composes nodes, `MOST_LEVELS` deep."""

    level = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.level >= MOST_LEVELS:
            raise _TooDeepError
        self.level += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.level -= 1


class _Builder:
    """Builds plain values from YAML nodes; notes lines and mistakes."""

    def __init__(self, file: OptionFile) -> None:
        self.file = file
        self.mistakes: list[Mistake] = []
        self.scalars = yaml.SafeLoader("")
        self.parents: list[yaml.Node] = []
        self.values = 0

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self.values += 1
        if self.values > MOST_VALUES:
            raise _TooLargeError
        if len(self.parents) >= MOST_LEVELS:  # references can nest deeper than the text does
            raise _TooDeepError
        if any(node is parent for parent in self.parents):
            self._add(node, path, "refers to a section that it is part of.")
            return None
        if not SAFE_TAG.fullmatch(node.tag):
            self._add(node, path, self._tag_text(node))
            return None
        self.parents.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.build(entry, (*path, str(i))) for i, entry in enumerate(node.value)]
            assert isinstance(node, yaml.ScalarNode)
            return self._scalar(node, path)
        finally:
            self.parents.pop()

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        try:
            value = self.scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, KeyError):
            self._add(node, path, f"is {node.value[:60]!r}, which is not of the type that its tag names.")
            return None
        if isinstance(value, int) and re.match(r"[-+]?(0[0-7_]+$|\d+:)", node.value):
            self._add(node, path, f"YAML reads {node.value} as {value}: write {value}, or quote it.")
        return value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                self._add(key_node, (*path, "<<"), "BasicSR does not read merge keys: write the keys out.")
                continue
            key = self.build(key_node, (*path, str(key_node.value)))
            if not isinstance(key, str):
                text = f"this key is not text for YAML, but {key!r}"
                written = key_node.value if isinstance(key_node, yaml.ScalarNode) else "..."
                if not isinstance(key_node, yaml.ScalarNode) or SAFE_TAG.fullmatch(key_node.tag):
                    self.mistakes.append(Mistake((*path, str(written)), f'{text}: quote it, "{written}".', line))
                continue
            here = (*path, key)
            if key in result:
                first = self.file.lines[here]
                self.mistakes.append(Mistake(here, f"the key is here twice, first in line {first}: remove one.", line))
                continue
            self.file.lines[here] = line
            result[key] = self.build(value_node, here)
        return result

    def _tag_text(self, node: yaml.Node) -> str:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        if "python" in tag:
            return f"{tag} would run code: write a plain value."
        if tag == "!!timestamp":
            return f"YAML reads {node.value} as a date: quote it."
        return f"{tag} is not supported: write a plain value (text, number, true, false, ~, list or mapping)."

    def _add(self, node: yaml.Node, path: KeyPath, text: str) -> None:
        self.mistakes.append(Mistake(path, text, node.start_mark.line + 1))


def _change(file: OptionFile, change: str) -> Mistake | None:
    """Set a value as `KEY:KEY=VALUE` says; returns what is wrong with the argument."""
    keys, equals, written = change.partition("=")
    path = tuple(key.strip() for key in keys.split(":"))
    place = ("--force_yml", change)
    if not equals or not all(path) or path[0].partition(".")[0] in file.options.keys() - {path[0]}:
        return Mistake(place, "expected KEY:KEY=VALUE, such as train:total_iter=1000.")
    value = read_value(written.strip())
    if isinstance(value, Mistake):
        return Mistake(place, value.text)
    section: Any = file.options
    for depth, key in enumerate(path[:-1]):
        if not isinstance(section.get(key), dict):
            hint = did_you_mean(key, section)
            return Mistake(place, f"the option file has no section {': '.join(path[: depth + 1])}.{hint}")
        section = section[key]
    section[path[-1]] = value
    file.lines.pop(path, None)
    return None


def read_value(written: str) -> Any:
    """Parse the VALUE of `KEY=VALUE` as `--force_yml` does; returns a `Mistake` if it is not one value."""
    file = OptionFile(Path(), {})
    mistakes = list(_parse(f"value: {_bare(written)}", file))
    if file.options.keys() > {"value"}:
        return Mistake((), "expected one value.")
    return mistakes[0] if mistakes else file.options["value"]


def _bare(written: str) -> str:
    """Convert a value of `--force_yml` to YAML: BasicSR accepts `None`, numbers such as 1e-4, and unquoted text."""
    if written.lower() == "none":
        return "~"
    if re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", written):
        return f"!!float {written}"
    is_yaml = re.match(r"[\[{\"'!]", written) or re.fullmatch(r"[-+.~\w]*", written)
    return written if is_yaml else json.dumps(written)
