"""Images to be prepared, in folders, zip archives and LMDBs, and the LMDB keys made from their names."""

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
import numpy as np

from rcan_plugin._files import describe_error, kind_of
from rcan_plugin.images.decode import ImageError, check_storable, decode_verified
from rcan_plugin.images.header import SUFFIXES, Header, count_ignored, is_image_name, of_pixels, read_header
from rcan_plugin.images.store import ImageStore

_READ_ERRORS = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, lmdb.Error)
"""Raised when reading a file, a damaged or encrypted archive member, or a value of a damaged LMDB."""


@dataclass(frozen=True)
class Source:
    """One image of a folder, a zip archive or an LMDB.

    Attributes:
        name: path below the folder or in the archive, `DIV2K_train_LR_bicubic/X2/0001x2.png`; in an LMDB the key.
        place: full location, for messages.
        stamp: size in bytes and time of modification (in an archive: checksum), to detect that a file has changed.
        open: opens the encoded image for reading.
    """

    name: str
    place: str
    stamp: tuple[int, int]
    open: Callable[[], IO[bytes]]

    @property
    def stem(self) -> str:
        """The name without folders and suffix."""
        path = PurePosixPath(self.name)
        return path.stem if path.suffix.lower() in SUFFIXES else path.name

    def read(self) -> bytes:
        """Return the encoded image.

        Raises:
            ImageError: it cannot be read, or is damaged in its archive.
        """
        try:
            with self.open() as file:
                return file.read()
        except ImageError:
            raise
        except _READ_ERRORS as error:
            raise ImageError(f"cannot be read ({describe_error(error).rstrip('.')})") from None

    def header(self) -> Header:
        """Return the image's header. Pixels are decoded only if the header does not show the size.

        Raises:
            ImageError: it cannot be read, is empty or not an image, or has pixels that `check_storable` refuses.
        """
        try:
            with self.open() as file:
                header = read_header(file)
        except ImageError:
            raise
        except _READ_ERRORS as error:
            raise ImageError(f"cannot be read ({describe_error(error).rstrip('.')})") from None
        if header is not None:
            check_storable(header)
        if header is None or header.turned:
            header = of_pixels(self.decode(), header)
        return header

    def decode(self) -> np.ndarray:
        """Return all pixels: H x W (gray) or H x W x 3 (B, G, R), uint8 or uint16.

        Raises:
            ImageError: it cannot be read, is damaged or cut short.
        """
        return decode_verified(self.read())


def find_images(root: str | os.PathLike[str], say: Callable[[str], object] | None = None) -> list[Source]:
    """Find the images in a folder and its subfolders, in a zip archive, or in an LMDB; sorted by name.

    Hidden files and folders, and those that macOS adds to archives, are ignored. Archives are not unpacked.

    Args:
        root: the folder, archive or LMDB.
        say: called with a line about files that are ignored because of their suffix, if any.

    Raises:
        OSError: there is no such folder or file, or it may not be read.
        ValueError: it is a FIFO or a device, another kind of archive or a damaged one, an incomplete LMDB, or holds no
            image.
    """
    path = Path(root).expanduser()
    kind = kind_of(path)
    if kind in ("nothing", "a broken link"):
        raise FileNotFoundError(f"{path} does not exist (looked for from {Path.cwd()}).")
    if kind not in ("a file", "a folder"):
        raise ValueError(f"{path} is {kind}; expected a folder, a zip archive or an LMDB.")
    if path.suffix == ".lmdb" and kind == "a folder":
        sources = _in_lmdb(path)
        ignored = ""
    else:
        files = _in_archive(path) if kind == "a file" else _in_folder(path)
        sources = [source for source in files if is_image_name(source.name)]
        ignored = count_ignored(source.name for source in files)
    if not sources:
        others = f", but {ignored}" if ignored else ""
        raise ValueError(f"{path} holds no image (looked for {', '.join(sorted(SUFFIXES))}){others}.")
    if ignored and say:
        say(f"{path}: ignored because of their suffix: {ignored}.")
    return sorted(sources, key=lambda source: source.name)


def _in_folder(root: Path) -> list[Source]:
    sources, visited = [], set()
    for folder, subfolders, files in os.walk(root, onerror=_raise, followlinks=True):
        # LMDBs, unfinished folders and hidden ones hold no source images.
        subfolders[:] = [
            name for name in subfolders if not name.startswith(".") and not name.endswith((".lmdb", ".part"))
        ]
        if (real := os.path.realpath(folder)) in visited:  # a link may lead back to a parent
            subfolders.clear()
            continue
        visited.add(real)
        for name in files:
            if not _is_hidden(name):
                path = Path(folder, name)
                # Printable even if the file name is not valid UTF-8.
                place = os.fsencode(path).decode(errors="backslashreplace")
                name_below = path.relative_to(root).as_posix()
                sources.append(Source(name_below, place, _stamp(path), partial(_open_file, path)))
    return sources


def _raise(error: OSError) -> None:
    raise error


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0  # `Source.read` raises the reason
    return status.st_size, status.st_mtime_ns


def _open_file(path: Path) -> IO[bytes]:
    if (kind := kind_of(path)) != "a file":  # a FIFO or a device would block its reader
        raise ImageError(f"is {kind}; expected a file: remove it")
    return path.open("rb")


def _in_archive(path: Path) -> list[Source]:
    with path.open("rb"):
        pass  # raises if the file may not be read
    try:
        archive = zipfile.ZipFile(path)  # stays open while its sources exist; threads may share it
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as a zip archive ({error}): expected a folder, a zip "
            "archive or an LMDB; unpack other archives, and fetch a damaged one again."
        ) from None
    return [
        Source(info.filename, f"{path}: {info.filename}", (info.file_size, info.CRC), partial(archive.open, info))
        for info in archive.infolist()
        if not info.is_dir() and not _is_hidden(info.filename)
    ]


def _in_lmdb(path: Path) -> list[Source]:
    store = ImageStore(path)
    with contextlib.suppress(*_READ_ERRORS):
        store.read_bytes(store.names[0])  # opens the environment here, because several threads must not do it at once
    stamp = _stamp(path / "data.mdb")
    return [Source(name, store.describe(name), stamp, partial(_open_value, store, name)) for name in store.names]


def _open_value(store: ImageStore, name: str) -> IO[bytes]:
    return io.BytesIO(store.read_bytes(name))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def key_of(stem: str) -> str:
    """Return the LMDB key of an image name without suffix, in characters that BasicSR can read.

    BasicSR cuts keys at the first dot and accepts ASCII only. A dot becomes `_`, and any other character that is not
    printable ASCII becomes `u` and its code point. The name is composed (NFC) first: macOS stores names decomposed.

    Examples:
        >>> key_of("0001"), key_of("img.v2"), key_of("Zürich 7")
        ('0001', 'img_v2', 'Zu00fcrich 7')
    """
    composed = unicodedata.normalize("NFC", stem)
    return "".join(
        "_" if letter == "." else letter if letter.isascii() and letter.isprintable() else f"u{ord(letter):04x}"
        for letter in composed
    )
