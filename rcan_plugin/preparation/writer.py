"""LMDBs written so that what stands under the final name is whole: beside it, in commits, taken up after a break."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

CHECKSUMS = "checksums.json"
COMMIT_BYTES = 64 << 20  # what a killed run loses at most, and what the writer holds in memory


class Value(NamedTuple):
    """One encoded image on its way into an LMDB, and its line in meta_info.txt."""

    key: str
    ending: str
    shape: tuple[int, int, int]
    compression: int
    content: bytes


class _Entry(NamedTuple):
    """A line of the journal."""

    item: str
    values: dict[str, list[list[Any]]]
    note: Any


class Writer:
    """Several LMDBs that are filled image by image, all together, in a folder beside the final ones.

    A journal says which images are in all of them; it is written after the commits, so that a run that was killed
    repeats what it cannot be sure of.

    Args:
        folder: where to write; what is there is taken up.
        names: of the LMDBs, without `.lmdb`.
        map_size: the most bytes that each may come to hold.
    """

    def __init__(self, folder: Path, names: Iterable[str], map_size: int) -> None:
        self.folder = folder
        self._environments = {}
        for name in names:
            path = self.path(name)
            path.mkdir(parents=True, exist_ok=True)
            # Without LMDB's lock: `folder` is ours alone, and on a full disk that file, a memory map, is a bus error.
            self._environments[name] = lmdb.open(str(path), map_size=map_size, lock=False, meminit=False)
        self._journal = folder / "journal.jsonl"
        self.done = self._what_is_done()
        self._transactions = {name: one.begin(write=True) for name, one in self._environments.items()}
        self._pending: list[str] = []
        self._bytes = 0

    def _what_is_done(self) -> set[str]:
        """What the journal says, if every LMDB bears it out; else nothing, and the journal begins anew."""
        entries = list(_read(self._journal))
        for name, environment in self._environments.items():
            if environment.stat()["entries"] < sum(len(entry.values.get(name, [None])) for entry in entries):
                self._journal.unlink()
                return set()
        return {entry.item for entry in entries}

    def put(self, item: str, values: Mapping[str, list[Value]], note: Any = None) -> None:
        """Write what was made of one image; `note` is kept with it."""
        entry = _Entry(item, {}, note)
        for name, rows in values.items():
            for row in rows:
                self._transactions[name].put(row.key.encode(), row.content)
                self._bytes += len(row.content)
            entry.values[name] = [[*row[:-1], hashlib.sha256(row.content).hexdigest()] for row in rows]
        self.done.add(item)
        self._pending.append(json.dumps(entry))
        if self._bytes > COMMIT_BYTES:
            self.commit()

    def commit(self) -> None:
        """Put what was written onto the disk."""
        for name, environment in self._environments.items():
            self._transactions[name].commit()
            self._transactions[name] = environment.begin(write=True)
        with self._journal.open("a") as journal:
            journal.writelines(f"\n{line}" for line in self._pending)
            journal.write("\n")
        self._pending, self._bytes = [], 0

    def close(self) -> None:
        """Leave the files as the last commit left them."""
        for name, environment in self._environments.items():
            self._transactions[name].abort()
            environment.close()

    def notes(self) -> dict[str, Any]:
        """What `put` was told of each image, where it was told something; after `close`."""
        return {entry.item: entry.note for entry in _read(self._journal) if entry.note is not None}

    def path(self, name: str) -> Path:
        """The folder of an LMDB until it is finished."""
        return self.folder / f"{name}.lmdb"

    def count(self, name: str) -> int:
        """How many images one LMDB has; after `close`."""
        return sum(len(entry.values[name]) for entry in _read(self._journal))

    def finish(self, name: str, made_of: str, notes: Mapping[str, str]) -> Path:
        """After `close`: the files beside the data of one LMDB, all on the disk.

        Args:
            name: of the LMDB.
            made_of: by which a later run knows that it would make the same.
            notes: further text files, by name.

        Returns:
            The folder, ready to be renamed.
        """
        path = self.path(name)
        rows = sorted(row for entry in _read(self._journal) for row in entry.values[name])
        lines = [f"{key}.{ending} ({','.join(map(str, shape))}) {level}\n" for key, ending, shape, level, _ in rows]
        (path / "meta_info.txt").write_text("".join(lines))
        for beside, text in notes.items():
            (path / beside).write_text(text, encoding="utf-8", errors="surrogateescape")  # names that are no text
        files = {file.name: digest(file) for file in sorted(path.iterdir()) if file.name != CHECKSUMS}
        write_checksums(path, made_of, files, {row[0]: row[-1] for row in rows})
        for file in path.iterdir():
            _sync(file)
        _sync(path)
        return path


def digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            found.update(block)
    return found.hexdigest()


def write_checksums(path: Path, made_of: str, files: Mapping[str, str], images: Mapping[str, str]) -> None:
    """SHA-256 of the files of an LMDB and of each image's value, with one of the list itself."""
    content = {"made_of": made_of, "files": dict(files), "images": dict(images)}
    content["sha256"] = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    (path / CHECKSUMS).write_text(json.dumps(content))


def read_checksums(path: Path) -> dict[str, Any] | None:
    """What `write_checksums` wrote, or None where there is none.

    Raises:
        ValueError: it is not as it was written.
    """
    file = path / CHECKSUMS
    if not file.is_file():
        return None
    text = file.read_text(errors="replace")
    try:
        content = json.loads(text)
        expected = content.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError):
        content, expected = {}, None
    found = json.dumps(content)
    if expected is None or hashlib.sha256(found.encode()).hexdigest() != expected:
        raise ValueError(f"{file} is damaged: it does not have its own checksum")
    if text != json.dumps({**content, "sha256": expected}):
        raise ValueError(f"{file} is damaged: it is not as it was written")
    return dict(content)


def move_into_place(made: Path, final: Path) -> None:
    """Rename a finished folder, and see to it that the disk knows the new name."""
    final.parent.mkdir(parents=True, exist_ok=True)
    made.rename(final)
    _sync(final.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(journal: Path) -> Iterator[_Entry]:
    if not journal.exists():
        return
    with journal.open(errors="replace") as lines:
        for line in lines:
            # A line that was being written when a run was killed is cut short; the next began on a line of its own.
            with contextlib.suppress(ValueError):
                yield _Entry(*json.loads(line))
