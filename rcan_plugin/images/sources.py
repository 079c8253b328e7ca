"""Images as users have them, in folders, zip archives and LMDBs, and the keys that they get."""

from __future__ import annotations

import contextlib
import io
import os
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

import lmdb

from rcan_plugin.images.store import SUFFIXES, ImageStore

READING_FAILS = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, lmdb.Error)
"""What reading a file, a member of a damaged or encrypted archive or a value of a damaged LMDB raises."""


@dataclass(frozen=True)
class Source:
    """One image of a folder, a zip archive or an LMDB.

    Attributes:
        name: its path below the folder or in the archive, `DIV2K_train_LR_bicubic/X2/0001x2.png`; in an LMDB the key.
        place: where it is, for messages.
        stamp: size in bytes and time of change, by which the same file is known again.
        open: gives the encoded image to be read.
    """

    name: str
    place: str
    stamp: tuple[int, int]
    open: Callable[[], IO[bytes]]

    def read(self) -> bytes:
        """The encoded image, whole.

        Raises:
            READING_FAILS: it cannot be read, or is damaged in its archive.
        """
        with self.open() as file:
            return file.read()

    @property
    def stem(self) -> str:
        """The name without folders and without the ending."""
        last = PurePosixPath(self.name)
        return last.stem if last.suffix.lower() in SUFFIXES else last.name


def find_images(root: str | os.PathLike[str]) -> list[Source]:
    """The images in a folder and those below it, in a zip archive, or in an LMDB; sorted by name.

    Hidden files and folders, and what a Mac adds to archives, are passed over. Archives are read where they are.

    Raises:
        OSError: there is no such folder or file, or a folder cannot be read.
        ValueError: the file is no zip archive, or a damaged one, or there is no image.
    """
    path = Path(root).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist (looked for from {Path.cwd()}).")
    if path.is_file():
        found = _in_archive(path)
    elif path.suffix == ".lmdb":
        found = _in_lmdb(path)
    else:
        found = _in_folder(path)
    if not found:
        raise ValueError(f"{path} holds no image (looked for {', '.join(sorted(SUFFIXES))}).")
    return sorted(found, key=lambda source: source.name)


def _in_folder(root: Path) -> list[Source]:
    found, been = [], set()
    for folder, folders, files in os.walk(root, onerror=_raise, followlinks=True):
        # An LMDB, a half-made folder and hidden ones hold no source images; a link may lead back to where it lies.
        folders[:] = [name for name in folders if not name.startswith(".") and not name.endswith((".lmdb", ".part"))]
        if (real := os.path.realpath(folder)) in been:
            folders.clear()
            continue
        been.add(real)
        for name in files:
            if _is_image(name):
                path = Path(folder, name)
                # A name that is no text can be printed so.
                place = os.fsencode(path).decode(errors="backslashreplace")
                found.append(Source(path.relative_to(root).as_posix(), place, _stamp(path), partial(_open_file, path)))
    return found


def _raise(error: OSError) -> None:
    raise error


def _stamp(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:
        return 0, 0  # why, is said when it is read
    return state.st_size, state.st_mtime_ns


def _open_file(path: Path) -> IO[bytes]:
    return path.open("rb")


def _in_archive(path: Path) -> list[Source]:
    try:
        archive = zipfile.ZipFile(path)  # stays open as long as its images are wanted; threads may share it
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as a zip archive ({error}): expected a folder, a zip "
            "archive or an LMDB; unpack other archives, and fetch a damaged one again."
        ) from None
    return [
        Source(
            info.filename,
            f"{path}: {info.filename}",
            (info.file_size, info.CRC),
            partial(archive.open, info),
        )
        for info in archive.infolist()
        if not info.is_dir() and _is_image(info.filename)
    ]


def _in_lmdb(path: Path) -> list[Source]:
    store = ImageStore(path)
    with contextlib.suppress(*READING_FAILS):
        store.read_bytes(store.names[0])  # opens it, which threads must not do at the same time
    stamp = _stamp(path / "data.mdb")
    return [Source(name, store.describe(name), stamp, partial(_open_value, store, name)) for name in store.names]


def _open_value(store: ImageStore, name: str) -> IO[bytes]:
    return io.BytesIO(store.read_bytes(name))


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() in SUFFIXES


def key_of(stem: str) -> str:
    """The key in an LMDB of an image: its name without folders and ending, in what BasicSR can read.

    BasicSR cuts keys at the first dot and takes ASCII alone. So a dot becomes `_`, and any other character that is not
    printable ASCII becomes `u` and its number (the name is composed first, as names from a Mac are not).

    Example:
        >>> key_of("0001"), key_of("img.v2"), key_of("Zürich 7")
        ('0001', 'img_v2', 'Zu00fcrich 7')
    """
    composed = unicodedata.normalize("NFC", stem)
    return "".join(
        "_" if letter == "." else letter if letter.isascii() and letter.isprintable() else f"u{ord(letter):04x}"
        for letter in composed
    )
