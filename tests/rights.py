"""Permissions hold for root, too: tests of what may not be read or written."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

import pytest

_VERSION = 0x20080522  # linux/capability.h, _LINUX_CAPABILITY_VERSION_3
_OVERRIDE = 1 << 1 | 1 << 2 | 1 << 3  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER


@contextlib.contextmanager
def permissions() -> Iterator[None]:
    """Let the permissions of files hold for this thread, what it starts and its forks."""
    if os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("root may read and write everything")
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets):
        pytest.skip("the rights of root cannot be read here")
    before = sets[0]
    sets[0] &= ~_OVERRIDE  # of the effective rights; the permitted ones stay
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(header, sets) == 0


@contextlib.contextmanager
def forbidden(*paths: str | os.PathLike[str], mode: int = 0) -> Iterator[None]:
    """Change the mode of files and folders, and let permissions hold."""
    before = {path: os.stat(path).st_mode for path in paths}  # noqa: PTH116
    for path in paths:
        os.chmod(path, mode)  # noqa: PTH101
    try:
        with permissions():
            yield
    finally:
        for path, old in before.items():
            os.chmod(path, old)  # noqa: PTH101
