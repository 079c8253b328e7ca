"""Finds the pictures to upscale: files, folders with their subfolders, and lists of names."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rcan_plugin._files import describe_error, kind_of, require_folder

LIST = "-"
"""The input that stands for a list of names, one a line."""


@dataclass(frozen=True)
class Found:
    """A picture to upscale.

    Attributes:
        path: the file.
        below: path of its result below the output folder: its path below the input folder, or its name.
    """

    path: Path
    below: Path


@dataclass
class Inputs:
    """The pictures found in the inputs.

    Attributes:
        found: pictures in the order of the inputs, without duplicates of the same file and output path.
        failures: files and folders that cannot be used, with the reason.
        ignored: files in folders whose suffix is not that of a picture.
    """

    found: list[Found] = field(default_factory=list)
    failures: dict[Path, str] = field(default_factory=dict)
    ignored: list[Path] = field(default_factory=list)

    def ignored_in_words(self) -> str:
        """Return how many files were ignored, by suffix: `3 .txt, 1 without suffix`; "" if none."""
        counts = Counter(printable(path.suffix.lower()) or "without suffix" for path in self.ignored)
        return ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items(), key=lambda item: -item[1]))


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path as one printable line, with control characters and invalid UTF-8 escaped.

    Examples:
        >>> printable(os.fsdecode(b"caf\\xe9\\n.png"))
        'caf\\\\xe9\\\\n.png'
    """
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(
        repr(character)[1:-1] if unicodedata.category(character) == "Cc" else character for character in text
    )


def find(inputs: Sequence[str], output: Path, is_picture: Callable[[str], bool], lines: Iterable[bytes] = ()) -> Inputs:
    """Find the pictures that `inputs` name.

    Folders are read with their subfolders, without hidden files and folders, and without `output` if it is inside them.
    Links to folders are followed; each folder is read once. A file that is named as an input may have any suffix.

    Args:
        inputs: files, folders, or `-` for `lines`.
        output: file or folder of the results.
        is_picture: whether a file in a folder is a picture, by its name.
        lines: names of files and folders, one a line. Empty lines are ignored. A name that leads to nothing is a
            failure; in `inputs` it is an error.

    Raises:
        FileNotFoundError: an input does not exist.
        ValueError: an input is empty, or neither a file nor a folder; `-` is given twice, or its list is empty.
        OSError: a folder among the inputs may not be read.
    """
    result = Inputs()
    names: list[Path] = []
    if inputs.count(LIST) > 1:
        raise ValueError(f"The input {LIST} (a list of names on standard input) is given {inputs.count(LIST)} times.")
    for text in inputs:
        if not text:
            raise ValueError("An input is an empty text; expected a file, a folder or -.")
        if text == LIST:
            listed = [Path(os.fsdecode(line)) for line in (line.rstrip(b"\r\n") for line in lines) if line]
            if not listed:
                raise ValueError(
                    f"The input {LIST} reads names of files from standard input, one a line: there are none."
                )
            for path in listed:
                if problem := _problem(path):
                    result.failures[path] = problem
                else:
                    names.append(path)
        else:
            path = Path(text)
            if (kind := kind_of(path)) == "nothing":
                raise FileNotFoundError(f"{printable(path)} does not exist (looked for from {printable(Path.cwd())}).")
            if problem := _problem(path):
                raise ValueError(f"{printable(path)} {problem}")
            if kind == "a folder":
                require_folder("input", path, "choose another")
            names.append(path)
    for path in names:
        if path.is_dir():
            _walk(path, os.path.realpath(output), is_picture, result)
        else:
            result.found.append(Found(path, Path(path.name)))
    result.found = list({(os.path.realpath(found.path), found.below): found for found in result.found}.values())
    return result


def _problem(path: Path) -> str:
    """Why a path is not a file or folder; "" if it is one."""
    try:
        kind = kind_of(path)
    except OSError as error:
        return describe_error(error)
    except ValueError:
        return "has a zero byte; expected one name a line: find without -print0."
    if kind == "nothing":
        return "does not exist."
    return "" if kind in ("a file", "a folder") else f"is {kind}; expected a picture or a folder."


def _walk(root: Path, output: str, is_picture: Callable[[str], bool], result: Inputs) -> None:
    """Add the pictures of a folder, sorted by path."""
    visited = set() if os.path.realpath(root) == output else {output}

    def failed(error: OSError) -> None:
        result.failures[Path(os.fsdecode(error.filename))] = describe_error(error)

    for folder, subfolders, files in os.walk(root, onerror=failed, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if (real := os.path.realpath(folder)) in visited:  # the output, or a folder that was read before
            subfolders.clear()
            continue
        visited.add(real)
        for name in sorted(name for name in files if not name.startswith(".")):
            path = Path(folder, name)
            if not is_picture(name):
                result.ignored.append(path)
            elif problem := _problem(path):
                result.failures[path] = problem
            else:
                result.found.append(Found(path, path.relative_to(root)))
