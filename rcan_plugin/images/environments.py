"""Read-only LMDB environments, opened once per process: lmdb refuses to open an environment twice."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import lmdb

_environments: dict[str, lmdb.Environment] = {}


class IncompleteLmdbError(ValueError):
    """The data of an LMDB are cut short, empty or not an LMDB; the message names the file and its size."""


def environment(path: str) -> lmdb.Environment:
    """Return the open environment of the LMDB at the resolved `path`. Raises what `check_size` raises."""
    if path not in _environments:
        _environments[path] = _open(path)
    return _environments[path]


def check_size(path: str) -> None:
    """Check that the data of the LMDB at the resolved `path` are complete: reading a missing part is a bus error.

    Raises:
        IncompleteLmdbError: `data.mdb` is cut short, empty or not an LMDB.
        OSError: it may not be read.
    """
    if path not in _environments:
        _open(path).close()


def missing_keys(path: str, names: Iterable[str]) -> list[str]:
    """Return the `names` that are not keys of the LMDB at the resolved `path`.

    Raises:
        IncompleteLmdbError, OSError: as in `check_size`.
        ValueError: the data are damaged.
    """
    opened = _environments.get(path)
    environment = opened or _open(path)
    try:
        with environment.begin() as transaction, transaction.cursor() as cursor:
            return [name for name in names if not cursor.set_key(name.encode())]
    except lmdb.Error as error:
        raise ValueError(f"{path}/data.mdb is damaged in its structure: {error}. Make the LMDB again.") from None
    finally:
        if opened is None:
            environment.close()


def close_environments() -> None:
    """Close all environments of this process; they are opened again when needed."""
    for opened in _environments.values():
        opened.close()
    _environments.clear()


def _open(path: str) -> lmdb.Environment:
    data = Path(path, "data.mdb")
    with data.open("rb"):
        pass  # lmdb's error does not name the file
    size = data.stat().st_size
    try:
        opened = lmdb.open(path, readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        if not size or isinstance(error, lmdb.InvalidError):
            raise IncompleteLmdbError(f"{data} ({size} bytes) is not an LMDB: fetch or make the LMDB again.") from None
        raise
    needed = (opened.info()["last_pgno"] + 1) * opened.stat()["psize"]
    if size < needed:
        opened.close()
        raise IncompleteLmdbError(
            f"{data} is cut short: it has {size} bytes of {needed}: fetch or make the LMDB again (is the disk full?)."
        )
    return opened


# An environment must not be used after a fork, and while it is open lmdb refuses to open it again in the child.
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=close_environments)
