"""Checks of files and folders before they are used, and readable messages for the operating system's errors."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a FIFO (named pipe)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_REMEDIES = {
    errno.EACCES: "change its permissions or owner (chmod, chown), or choose another place",
    errno.EPERM: "change its permissions or owner (chmod, chown), or choose another place",
    errno.EROFS: "choose another disk",
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EDQUOT: "free some space, or choose another disk",
    errno.EEXIST: "move it away, or choose another place",
    errno.ENOTDIR: "a file is where a folder should be: move it away, or choose another place",
}

_PROBE = bytes(1 << 16)
"""Written to find out whether a disk takes more data: about the size of a log and a copy of the option file."""


def describe_error(error: Exception) -> str:
    """Return the message of an error. For errors of the operating system: the file, the reason, and what to do.

    Examples:
        >>> describe_error(PermissionError(13, "Permission denied", "HR/a.png"))
        'HR/a.png: permission denied: change its permissions or owner (chmod, chown), or choose another place.'
    """
    if not isinstance(error, OSError) or error.errno is None or error.strerror != os.strerror(error.errno):
        return str(error)
    given = [name for name in (error.filename, error.filename2) if name is not None]
    names = " and ".join(os.fsdecode(name) if isinstance(name, bytes) else str(name) for name in given)
    reason = error.strerror[0].lower() + error.strerror[1:]
    return ": ".join(text for text in (names, reason, _REMEDIES.get(error.errno)) if text) + "."


def report_uncaught() -> None:
    """Print a message for an OSError that ends the program (no permission, a full disk); log its traceback."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, OSError):
            sys.__excepthook__(kind, error, trace)
            return
        log = logging.getLogger("basicsr")
        record = log.makeRecord(log.name, logging.ERROR, __file__, 0, "Stopped.", (), (kind, error, trace))
        for handler in log.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handle(record)
        # The text of an error in a DataLoader's worker is a traceback; its last line is the error.
        print(f"\n{describe_error(error).splitlines()[-1]}", file=sys.stderr)

    def report_of_thread(args: threading.ExceptHookArgs) -> None:
        report(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)

    sys.excepthook = report
    threading.excepthook = report_of_thread  # TensorBoard writes its files in a thread
    logging.raiseExceptions = False  # otherwise a full disk prints a traceback for each line of the log


def kind_of(path: str | os.PathLike[str]) -> str:
    """Return what a path leads to: "a folder", "a FIFO (named pipe)", "a broken link", "nothing", ...

    Raises:
        PermissionError: a folder above it may not be searched.
    """
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "a special file")  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return "a broken link" if Path(path).is_symlink() else "nothing"


def require_file(what: str, path: str | os.PathLike[str], remedy: str = "correct it") -> None:
    """Check that a path leads to a regular file that may be read. A FIFO or a device would block its reader.

    Args:
        what: what the path is, for the message: `path: pretrain_network_g`.
        path: the path.
        remedy: end of the message.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, a FIFO, a device, ...
        OSError: it may not be read.
    """
    kind = kind_of(path)
    if kind in ("nothing", "a broken link"):
        problem = "does not exist" if kind == "nothing" else "is a broken link"
        raise FileNotFoundError(f"{what}: {path} {problem} (looked for from {Path.cwd()}): {remedy}.")
    if kind != "a file":
        raise ValueError(f"{what}: {path} is {kind}; expected a file: {remedy}.")
    with _with_context(what), Path(path).open("rb"):
        pass


def require_folder(what: str, path: str | os.PathLike[str], remedy: str = "correct it") -> None:
    """Check that a path leads to a folder whose content may be listed.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is a file.
        OSError: it may not be listed.
    """
    kind = kind_of(path)
    if kind in ("nothing", "a broken link"):
        raise FileNotFoundError(f"{what}: {path} does not exist (looked for from {Path.cwd()}): {remedy}.")
    if kind != "a folder":
        raise ValueError(f"{what}: {path} is {kind}; expected a folder: {remedy}.")
    with _with_context(what), os.scandir(path):
        pass


def require_writable(what: str, folder: str | os.PathLike[str]) -> None:
    """Check that a folder, or a folder that does not exist yet, can be written to, by writing a temporary file.

    Args:
        what: what the folder is for, for the message.
        folder: a folder, which may not exist yet.

    Raises:
        ValueError: it, or a folder above it, is a file.
        OSError: it may not be written to, or the disk is full.
    """
    place = Path(folder)
    while (kind := kind_of(place)) == "nothing":
        place = place.absolute().parent
    if kind != "a folder":
        raise ValueError(
            f"{what} {folder} cannot be made: {place} is {kind}; expected a folder: move it away, or choose another "
            "place."
        )
    problem = "cannot be written to" if place == Path(folder) else f"cannot be made in {place}"
    with _with_context(f"{what} {folder} {problem}", "choose another place"), tempfile.TemporaryFile(dir=place) as file:
        file.write(_PROBE)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def written_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`. At the end, the file there is flushed to disk and renamed to `path`.

    After an exception it is deleted, and an existing file at `path` is unchanged.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.part")
    try:
        with naming(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)
            del error.filename2  # of a rename; None would be printed
        raise
    _flush_folder(path.parent)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add a path to an OSError without one: errors of opening a file name it, those of writing to it do not."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def _flush_folder(folder: Path) -> None:
    """Flush a renamed file's folder to disk, where that is possible: not on Windows, nor on all network drives."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _with_context(what: str, remedy: str = "") -> Iterator[None]:
    """Prefix the text of an OSError with `what` the file is for, and append `remedy` if it has none."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and Path(error.filename).name.startswith(tempfile.template):
            error.filename = None  # the temporary file's
        if remedy and error.errno not in _REMEDIES:
            raise type(error)(f"{what}: {describe_error(error).rstrip('.')}: {remedy}.") from None
        raise type(error)(f"{what}: {describe_error(error)}") from None
