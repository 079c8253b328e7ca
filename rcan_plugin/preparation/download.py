"""Downloads large files over HTTP: resumes after a break; checks the SHA-256 before a file is renamed into place."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import requests
from filelock import FileLock, Timeout
from tqdm import tqdm

from rcan_plugin._files import naming

CHUNK = 1 << 16
"""Bytes read at a time; a broken connection loses at most this much."""

TIMEOUTS = (15, 60)
"""Seconds to wait for a connection, and for the next bytes."""

LONGEST_PAUSE = 30
"""Seconds between two attempts."""

RETRIED = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
"""Errors after which the request is repeated."""

HTML = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head)\b", re.IGNORECASE)


def download(url: str, path: str | os.PathLike[str], sha256: str, *, attempts: int = 5) -> None:
    """Download `url` to `path`, resuming what an earlier call left in `<path>.part`.

    An existing file is kept: it was checked before it was renamed. The folder is created if needed.

    Args:
        url: HTTP or HTTPS address.
        path: path of the file.
        sha256: of the file, as 64 hexadecimal digits.
        attempts: how many attempts in a row may fail without a new byte.

    Raises:
        ValueError: the address leads to no file (status 4xx, an HTML page), the file has another SHA-256, or an
            argument is out of range.
        ConnectionError: all attempts failed; the part is kept for the next call.
        OSError: (ENOSPC) too little free space; nothing more was written.
        IsADirectoryError: `path` is a folder.
        RuntimeError: another process is downloading this file.
    """
    path = Path(path).expanduser()
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"sha256 of {url}: {sha256!r}; expected 64 hexadecimal digits.")
    if attempts < 1:
        raise ValueError(f"attempts is {attempts}; expected 1 or more.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected the name of the file to write: add it.")
    lock = Path(f"{path}.lock")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                if not path.exists():
                    _download(_File(url, path, sha256.lower()), attempts)
        except Timeout:
            raise RuntimeError(f"{path} is being downloaded by another process: wait for it, or end it.") from None
    # Safe only now: a process that gets the lock later finds the complete file. A killed one may leave its lock.
    with suppress(OSError):
        lock.unlink()


@dataclass(frozen=True)
class _File:
    url: str
    path: Path
    sha256: str

    @property
    def part(self) -> Path:
        return Path(f"{self.path}.part")

    @property
    def size(self) -> int:
        """Bytes in the part."""
        return self.part.stat().st_size if self.part.exists() else 0


def _download(file: _File, attempts: int) -> None:
    failures, largest = 0, file.size
    while True:
        try:
            _request(file)
            break
        except RETRIED as error:
            cause = error
        # Count only bytes beyond the largest part so far: a server that ignores Range and always breaks off would
        # otherwise be retried forever.
        failures = 0 if file.size > largest else failures + 1
        largest = max(largest, file.size)
        if failures >= attempts:
            raise ConnectionError(
                f"{file.url}: no new byte in {attempts} attempts, the last one: {cause}. {file.size} bytes are in "
                f"{file.part}: check the connection; the same command resumes there."
            ) from cause
        time.sleep(min(2**failures, LONGEST_PAUSE))
    _check(file)
    file.part.replace(file.path)


def _request(file: _File) -> None:
    """Complete the part, or raise one of `RETRIED`."""
    headers = {"Accept-Encoding": "identity"}
    if file.size:
        headers["Range"] = f"bytes={file.size}-"
    with requests.get(file.url, headers=headers, stream=True, timeout=TIMEOUTS) as response:
        status = response.status_code
        if status >= 500:
            raise requests.ConnectionError(f"status {status} {response.reason}")
        if status not in ((200, 206, 416) if file.size else (200,)):
            raise ValueError(
                f"{file.url}: the server answered with status {status} {response.reason}; expected the file: open the "
                "address in a browser, try again later, or name another base address."
            )
        start, total = _range_of(response)
        if status != 200 and start != file.size:
            response.close()
            file.part.unlink()
            _request(file)
        elif status != 416:  # 416 with a matching size: the part is complete
            _write(file, response, start or 0, total)


def _range_of(response: requests.Response) -> tuple[int | None, int | None]:
    """The position of the answer's first byte in the file, and the file's length; None if the server does not say."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    content_range = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", content_range)
    return (int(match[1] or match[2]), int(match[2])) if match else (None, None)


def _write(file: _File, response: requests.Response, start: int, total: int | None) -> None:
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise ValueError(f"{file.url} has Content-Encoding {coding!r}; expected none: name another base address.")
    chunks = response.iter_content(CHUNK)
    first = next(chunks, b"")
    # Check before overwriting the part, which may be good.
    if not start and HTML.match(first):
        raise ValueError(
            f"{file.url} is an HTML page ({total or 'unknown'} bytes, first {first[:40]!r}); expected a file with "
            f"sha256 {file.sha256}: open it in a browser, try again, or name another base address."
        )
    free = shutil.disk_usage(file.path.parent).free
    if total is not None and total - file.size > free:
        needed, available = (tqdm.format_sizeof(size, "B") for size in (total - file.size, free))
        raise OSError(
            errno.ENOSPC,
            f"{file.part} needs {needed} more, {available} are free: free some space, or name another folder",
        )
    with (
        naming(file.part),
        file.part.open("ab" if start else "wb") as part,
        tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=file.path.name) as bar,
    ):
        for chunk in chain([first], chunks):
            part.write(chunk)
            bar.update(len(chunk))
    if total is not None and file.size != total:
        raise requests.ConnectionError(f"the answer ended after {file.size} of {total} bytes")


def _check(file: _File) -> None:
    """Sync the part to disk; remove it if its SHA-256 is not the expected one."""
    sha256, size = hashlib.sha256(), file.size
    with file.part.open("rb+") as part:
        os.fsync(part.fileno())
        while chunk := part.read(CHUNK):
            sha256.update(chunk)
    if sha256.hexdigest() != file.sha256:
        file.part.unlink()
        raise ValueError(
            f"{file.url} has sha256 {sha256.hexdigest()} ({size} bytes), expected {file.sha256}: it was removed; try "
            "again, or name another base address."
        )
