"""Reads `meta_info_file`, a text file that lists HR images, and finds them in a folder or an LMDB."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from rcan_plugin.images.header import SUFFIXES
from rcan_plugin.images.sources import key_of
from rcan_plugin.images.store import ImageStore

_SHAPE = re.compile(r"\s*\(\s*\d+\s*,\s*\d+\s*,\s*\d+\s*\)(?:\s+\d+)?$")  # BasicSR's ` (480,480,3) 1`
_SUFFIX = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(SUFFIXES)))})(?=\s|$)", re.IGNORECASE)


def listed_names(meta_info_file: str | os.PathLike[str], store: ImageStore) -> list[str]:
    """Return the names in `store` of the images that a text file lists, sorted.

    A line is `NAME`, `NAME (height,width,channels)` or `NAME.png` and further columns. A name may contain blanks, and
    folders. A name in another Unicode form is found, and so is a name from which `key_of` made the LMDB key.

    Raises:
        FileNotFoundError: the file, or an image that it names, is missing.
        ValueError: the file is not UTF-8, lists no image, or names one image in two ways.
    """
    path = Path(meta_info_file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"meta_info_file {path} does not exist (looked for from {Path.cwd()}).")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # with or without a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"meta_info_file {path} is not UTF-8 text ({error}): save it as UTF-8.") from None
    known = frozenset(store.names)
    found: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line:
            continue
        readings = list(_readings(line))
        matches = ((listed, name) for listed in readings if (name := _find(listed, store, known)))
        listed, name = next(matches, (readings[0], ""))
        if not name:
            nearest = difflib.get_close_matches(PurePosixPath(listed).name, store.names, 1, 0.5)
            hint = f" (the nearest name there is {nearest[0]!r})" if nearest else ""
            raise FileNotFoundError(f"{path}, line {number}, names {listed!r}, which is not in {store.root}{hint}.")
        if (other := found.setdefault(name, listed)) != listed:
            raise ValueError(
                f"{path} names {other!r} and {listed!r} (line {number}), and both are {store.describe(name)}: "
                "leave one out, or give images with different names."
            )
    if not found:
        raise ValueError(f"meta_info_file {path} lists no image.")
    return sorted(found)


def _readings(line: str) -> Iterator[str]:
    """The possible names in a line, the longest first: without the shape, or up to the suffix of an image file."""
    text = _SHAPE.sub("", line)
    yield text
    for match in reversed(list(_SUFFIX.finditer(text))):
        if match.end() < len(text):
            yield text[: match.end()]


def _find(listed: str, store: ImageStore, known: Collection[str]) -> str | None:
    """The name in `store` of a listed image; None if it has none."""
    listed = str(PurePosixPath(listed))  # without `./`, so that one image has one name
    forms = (listed, *(unicodedata.normalize(form, listed) for form in ("NFC", "NFD")))
    if not store.is_lmdb:
        # `names` has only the files directly in the folder; a list may name files in subfolders.
        return next((form for form in forms if form in known or _is_file(store.root / form)), None)
    stems = [form[: -len(suffix)] if (suffix := _suffix(form)) else form for form in forms]
    made = (key_of(stems[0]), key_of(PurePosixPath(stems[0]).name))  # keys have no folders
    return next((key for key in (*stems, *made) if key in known), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long for a file
        return False


def _suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return suffix if suffix.lower() in SUFFIXES else ""
