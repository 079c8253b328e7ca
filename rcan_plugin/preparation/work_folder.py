"""The work folder of a preparation: `OUT.part`, locked while a run uses it, kept so that a later run can resume."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import lmdb

from rcan_plugin._files import describe_error
from rcan_plugin.preparation.items import UnusableImagesError

_LOCK = "lock"
_PLAN = "plan"  # fingerprints of the unfinished LMDBs beside it


@contextmanager
def locked_folder(out: Path) -> Iterator[Path]:
    """Create and lock the work folder of `out`. It is removed at the end, unless a later run can resume from it.

    Raises:
        OSError: the folder cannot be created, or holds other files.
        RuntimeError: another run has locked it.
    """
    target = out.resolve() if out.is_symlink() else out
    # On the same file system, so that finished LMDBs can be moved into place.
    work = target / ".part" if target.is_mount() else target.with_name(target.name + ".part")
    lock = filelock.FileLock(work / _LOCK, timeout=0)
    try:
        work.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in work.iterdir()}
        if names - {_LOCK} and _PLAN not in names:
            raise FileExistsError(f"it holds {min(names - {_LOCK})}, which is not from an earlier run")
        lock.acquire()
    except filelock.Timeout:
        raise RuntimeError(f"another run is writing to {out} ({work / _LOCK} is locked): wait for it.") from None
    except OSError as error:
        reason = describe_error(error).rstrip(".")
        raise OSError(f"{work} cannot be used as work folder ({reason}): choose another folder.") from None
    try:
        yield work
    except BaseException as error:
        if isinstance(error, UnusableImagesError) or not (work / _PLAN).exists():
            _remove(work)
        raise
    else:
        _remove(work)
    finally:
        lock.release()


def keep_only_if_same(work: Path, plan: str) -> None:
    """Clear the work folder, unless a stopped run with the same `plan` left its content; write `plan` to it."""
    file = work / _PLAN
    if file.is_file() and file.read_text() == plan:
        return
    _clear(work)
    file.write_text(plan)


def _remove(work: Path) -> None:
    _clear(work)
    shutil.rmtree(work)


def _clear(work: Path) -> None:
    """Remove unfinished LMDBs. The files that mark this folder as a work folder are removed last, with the folder."""
    for path in list(work.iterdir()):
        if path.name not in (_LOCK, _PLAN):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def readable_disk_errors(work: Path) -> Iterator[None]:
    """Convert errors of LMDB and the disk to an OSError that says what is kept and what to do."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise OSError(
            f"writing stopped: {error} ({gigabytes(free_bytes(work))} free). What is written is kept in {work}: free "
            "some space, or repair the disk, and run the same command again to resume; or remove that folder."
        ) from None


def used_bytes(work: Path) -> int:
    """Return the bytes that the unfinished LMDBs take on disk."""
    return sum(file.stat().st_blocks * 512 for file in work.rglob("data.mdb"))


def free_bytes(work: Path) -> int:
    """Return the free bytes on the disk of the work folder."""
    return shutil.disk_usage(work).free


def gigabytes(count: float) -> str:
    """Format a number of bytes.

    >>> gigabytes(1234567890)
    '1.23 GB'
    """
    return f"{count / 1e9:.3g} GB"
