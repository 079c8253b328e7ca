"""Writes LMDBs in a work folder, in commits, so that a run that was stopped can be resumed; complete LMDBs are then
moved to their final names."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from rcan_plugin.images import environments
from rcan_plugin.preparation.checksums import CHECKSUMS, digest, write_checksums
from rcan_plugin.preparation.encode import EncodedImage

COMMIT_BYTES = 64 << 20
"""Bytes between two commits: what a killed run loses at most, and what the writer holds in memory."""


class _Entry(NamedTuple):
    """A line of the journal: of each LMDB the `EncodedImage` fields, with the SHA-256 in place of the content."""

    item: str
    values: dict[str, list[list[Any]]]
    note: Any


class Writer:
    """Fills several LMDBs together, image by image, in a work folder.

    A journal lists the images that are in all of them. It is written after the LMDBs' commits, so that a run that was
    killed repeats the images of unfinished commits.

    Args:
        folder: the work folder; unfinished LMDBs of an earlier run are completed.
        names: names of the LMDBs, without `.lmdb`.
        map_size: upper limit of the size of each in bytes.

    Attributes:
        done: the items that are written.
    """

    def __init__(self, folder: Path, names: Iterable[str], map_size: int) -> None:
        self.folder = folder
        self._environments = {}
        for name in names:
            path = self.path(name)
            path.mkdir(parents=True, exist_ok=True)
            self._environments[name] = _open(path, map_size)
        self._journal = folder / "journal.jsonl"
        self.done = self._read_done()
        self._transactions = {name: environment.begin(write=True) for name, environment in self._environments.items()}
        self._pending: list[str] = []
        self._bytes = 0

    def _read_done(self) -> set[str]:
        """The items in the journal; none, with a new journal, if an LMDB holds fewer images than the journal lists."""
        entries = list(_read_journal(self._journal))
        for name, environment in self._environments.items():
            if environment.stat()["entries"] < sum(len(entry.values.get(name, [None])) for entry in entries):
                self._journal.unlink()
                return set()
        return {entry.item for entry in entries}

    def put(self, item: str, values: Mapping[str, list[EncodedImage]], note: Any = None) -> None:
        """Write the values of one image to each LMDB; `note` is kept with it."""
        entry = _Entry(item, {}, note)
        for name, images in values.items():
            for image in images:
                self._transactions[name].put(image.key.encode(), image.content)
                self._bytes += len(image.content)
            entry.values[name] = [[*image[:-1], hashlib.sha256(image.content).hexdigest()] for image in images]
        self.done.add(item)
        self._pending.append(json.dumps(entry))
        if self._bytes > COMMIT_BYTES:
            self.commit()

    def commit(self) -> None:
        """Commit the LMDBs, then write the journal."""
        for name, environment in self._environments.items():
            self._transactions[name].commit()
            self._transactions[name] = environment.begin(write=True)
        with self._journal.open("a") as journal:
            journal.writelines(f"\n{line}" for line in self._pending)
            journal.write("\n")
        self._pending, self._bytes = [], 0

    def close(self) -> None:
        """Close the LMDBs; what was written after the last commit is lost."""
        for name, environment in self._environments.items():
            self._transactions[name].abort()
            environment.close()

    def notes(self) -> dict[str, Any]:
        """Return the notes given to `put`, by item; call it after `close`."""
        return {entry.item: entry.note for entry in _read_journal(self._journal) if entry.note is not None}

    def path(self, name: str) -> Path:
        """Return the folder of an LMDB in the work folder."""
        return self.folder / f"{name}.lmdb"

    def count(self, name: str) -> int:
        """Return the number of images of an LMDB; call it after `close`."""
        return sum(len(entry.values[name]) for entry in _read_journal(self._journal))

    def finish(self, name: str, made_of: str, texts: Mapping[str, str]) -> Path:
        """Write the files beside the data of an LMDB and sync all to disk; call it after `close`.

        Args:
            name: of the LMDB.
            made_of: fingerprint for `write_checksums`.
            texts: further text files, by name.

        Returns:
            The folder, ready to be renamed.
        """
        path = self.path(name)
        rows = sorted(row for entry in _read_journal(self._journal) for row in entry.values[name])
        lines = [f"{key}.{ending} ({','.join(map(str, shape))}) {level}\n" for key, ending, shape, level, _ in rows]
        (path / "meta_info.txt").write_text("".join(lines))
        for file_name, text in texts.items():
            (path / file_name).write_text(text, encoding="utf-8", errors="surrogateescape")  # names that are not UTF-8
        files = {file.name: digest(file) for file in sorted(path.iterdir()) if file.name != CHECKSUMS}
        write_checksums(path, made_of, files, {row[0]: row[-1] for row in rows})
        for file in path.iterdir():
            _sync(file)
        _sync(path)
        return path


def move_into_place(finished: Path, final: Path) -> None:
    """Rename a finished folder, and sync the new name to disk."""
    final.parent.mkdir(parents=True, exist_ok=True)
    finished.rename(final)
    _sync(final.parent)


def _open(path: Path, map_size: int) -> lmdb.Environment:
    """Open an LMDB for writing. If a run was killed while it created the file, the incomplete file is replaced."""
    data = path / "data.mdb"
    if data.exists():
        try:
            environments.check_size(str(path))
        except environments.IncompleteLmdbError:
            data.unlink()
    # Without LMDB's lock file, a memory map: writing to it on a full disk is a bus error. The folder is locked already.
    return lmdb.open(str(path), map_size=map_size, lock=False, meminit=False)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_journal(journal: Path) -> Iterator[_Entry]:
    if not journal.exists():
        return
    with journal.open(errors="replace") as lines:
        for line in lines:
            # If a run was killed while it wrote a line, that line is incomplete; the next run began a new line.
            with contextlib.suppress(ValueError):
                yield _Entry(*json.loads(line))
