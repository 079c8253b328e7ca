"""Results kept between runs, stored under hashes of everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from rcan_plugin._files import written_beside
from rcan_plugin._version import __version__

_PACKAGE = Path(__file__).resolve().parents[1]
_ROOMS = ("archs", "data", "degradations", "images", "inference", "resampling", "weights")
_MODULES = ("complexity", "costs", "data", "metrics", "networks", "work")
"""Rooms, and modules of this room, whose code affects results. If it changes, all kept results are computed again."""
OUTPUTS = ("tables", "plots", "page", "labels", "layout")
"""Modules of this room that make the files beside `results.json`."""


def key_of(content: Any) -> str:
    """A hash of plain data, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


def versions() -> dict[str, str]:
    """Versions of what computes the results, read without importing it."""
    names = {"basicsr": "basicsr", "torch": "torch", "numpy": "numpy", "opencv": "opencv-python", "pyiqa": "pyiqa"}
    found = {"rcan_plugin": __version__}
    for name, package in names.items():
        for candidate in (package, f"{package}-headless"):
            try:
                found[name] = metadata.version(candidate)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def code_key() -> str:
    """Hash of the source that computes results."""
    rooms = (path for room in _ROOMS for path in sorted((_PACKAGE / room).glob("*.py")))
    return _hash_of_files([*rooms, *(_PACKAGE / "compare" / f"{name}.py" for name in _MODULES)])


def outputs_key(results: Mapping[str, Any]) -> str:
    """Hash of results and of the source that makes tables, plots and the page from them."""
    room = _PACKAGE / "compare"
    code = _hash_of_files([*(room / f"{name}.py" for name in OUTPUTS), *sorted((room / "assets").iterdir())])
    return key_of([code, {**results, "created": ""}])


def _hash_of_files(paths: Iterable[Path]) -> str:
    return key_of([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, complete or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, complete or not at all. Its folder is made if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as temporary:
        temporary.write_bytes(content)


class Table:
    """Results by key in one JSON file, written at each change. Safe to use from several threads.

    A damaged file, or one of another program, counts as empty: the results are computed again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.entries: dict[str, Any] = {}
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            entries = None
        if isinstance(entries, dict):
            self.entries = entries

    def get(self, key: str) -> Any:
        """The result, or None."""
        return self.entries.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a result."""
        with self.lock:
            self.entries[key] = value
            write_text(self.path, json.dumps(self.entries))


class Cache:
    """The tables in a folder.

    Args:
        folder: folder of the cache.
        context: values that all results depend on, such as versions and device.
    """

    def __init__(self, folder: str | os.PathLike[str], context: Iterable[Any]) -> None:
        self.folder = Path(folder)
        self.context = [*context, versions(), code_key()]
        self.tables: dict[str, Table] = {}

    def table(self, what: str, *identity: Any) -> Table:
        """The table for `identity`; its file name begins with `what`."""
        name = f"{what}_{key_of([*identity, *self.context])}"
        if name not in self.tables:
            self.tables[name] = Table(self.folder / f"{name}.json")
        return self.tables[name]
