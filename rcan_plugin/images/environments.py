"""Read-only LMDB environments, opened once per process: lmdb refuses to open an environment twice."""

from __future__ import annotations

import os

import lmdb

_environments: dict[str, lmdb.Environment] = {}


def environment(path: str) -> lmdb.Environment:
    """Return the open environment of the LMDB at the resolved `path`."""
    if path not in _environments:
        _environments[path] = lmdb.open(path, readonly=True, lock=False, readahead=False, meminit=False)
    return _environments[path]


def close_environments() -> None:
    """Close all environments of this process; they are opened again when needed."""
    for opened in _environments.values():
        opened.close()
    _environments.clear()


# An environment must not be used after a fork, and while it is open lmdb refuses to open it again in the child.
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=close_environments)
