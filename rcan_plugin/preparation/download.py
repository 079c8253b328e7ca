"""Files of gigabytes over HTTP: resumed where they broke off, and under their name only when whole."""

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

CHUNK = 1 << 16
"""Bytes read at a time; a connection that breaks loses up to so many."""

TIMEOUTS = (15, 60)
"""Seconds to wait for a connection, and for the next bytes."""

LONGEST_PAUSE = 30

BREAKS = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
"""What another request may mend."""

PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head)\b", re.IGNORECASE)


def download(url: str, path: str | os.PathLike[str], *, sha256: str | None = None, attempts: int = 5) -> None:
    """Fetch `url` to `path`, going on from what an earlier call left in `<path>.part`.

    A file at `path` is left as it is: it was checked before it got its name. The folder is made where it is missing.

    Args:
        url: an address for HTTP or HTTPS.
        path: the file's place and name.
        sha256: what the file must have, as 64 hexadecimal digits. Without it the length alone is checked, and a part is
            gone on from only if the server says (by ETag or Last-Modified) that the file is still the same.
        attempts: how many breaks in a row, none of them with a new byte, are given another try.

    Raises:
        ValueError: the address leads to no file (status 4xx, an HTML page, no stated length), the file has another
            sha256, or an argument is out of range.
        ConnectionError: no connection, or none that lasts, after all attempts; what is there stays for the next call.
        OSError: (ENOSPC) too little free space; nothing more was written.
        IsADirectoryError: `path` is a folder.
        RuntimeError: another process is fetching this file.
    """
    path = Path(path).expanduser()
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"sha256 of {url}: {sha256!r}; expected 64 hexadecimal digits.")
    if attempts < 1:
        raise ValueError(f"attempts is {attempts}; expected 1 or more.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected the name of the file to write: add it.")
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Path(f"{path}.lock")
    try:
        with FileLock(lock, timeout=0):
            if not path.exists():
                _fetch(_File(url, path, sha256), attempts)
    except Timeout:
        raise RuntimeError(f"{path} is being fetched by another process: wait for it, or end it.") from None
    # Safe only now: whoever gets the lock from here on, an old or a new one, finds the file and has nothing to do.
    with suppress(OSError):
        lock.unlink()


def _fetch(file: _File, attempts: int) -> None:
    failures, furthest = 0, file.size
    while True:
        try:
            _request(file)
            break
        except BREAKS as error:
            cause = error
        # Only bytes beyond all earlier ones count: a server that always begins anew and breaks would hold us for ever.
        failures = 0 if file.size > furthest else failures + 1
        furthest = max(furthest, file.size)
        if failures >= attempts:
            then = "goes on from there" if file.resumption() else "begins anew"
            raise ConnectionError(
                f"{file.url}: no new byte in {attempts} attempts, the last one: {cause}. {file.size} bytes are in "
                f"{file.part}: look at the connection; the same command {then}."
            ) from cause
        time.sleep(min(2**failures, LONGEST_PAUSE))
    _check(file)
    file.part.replace(file.path)
    file.note.unlink(missing_ok=True)


@dataclass(frozen=True)
class _File:
    """A file to fetch; in `note` stand the address and the version on the server of what is in `part`."""

    url: str
    path: Path
    sha256: str | None

    @property
    def part(self) -> Path:
        return Path(f"{self.path}.part")

    @property
    def note(self) -> Path:
        return Path(f"{self.path}.part.version")

    @property
    def size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def resumption(self) -> dict[str, str]:
        """The headers that ask for the rest of the part; none where it has to begin anew."""
        noted = self.note.read_text("utf-8", "replace") if self.note.exists() else ""
        url, _, version = noted.partition("\n")
        known = {"If-Range": version} if version and url == self.url else {}
        return {"Range": f"bytes={self.size}-", **known} if self.size and (known or self.sha256) else {}


def _request(file: _File) -> None:
    """Bring the part to its full length, or raise one of `BREAKS`."""
    resumption = file.resumption()
    headers = {"Accept-Encoding": "identity", **resumption}
    with requests.get(file.url, headers=headers, stream=True, timeout=TIMEOUTS) as response:
        status = response.status_code
        if status >= 500:
            raise requests.ConnectionError(f"status {status} {response.reason}")
        if status not in ((200, 206, 416) if resumption else (200,)):
            raise ValueError(
                f"{file.url}: the server answered with status {status} {response.reason}, expected the file: look at "
                "the address in a browser, try again later, or name another base address."
            )
        start, total = _span(response)
        # Not every server heeds If-Range: the rest may be that of a file which has changed.
        changed = _version(response) not in ("", resumption.get("If-Range", _version(response)))
        if status != 200 and (start != file.size or changed):
            response.close()
            file.part.unlink()
            _request(file)
        elif status != 416:  # which says that the part, whose end is the file's, is whole
            _write(file, response, start, total)


def _span(response: requests.Response) -> tuple[int | None, int | None]:
    """From where on the answer has the file's bytes, and the whole file's length; None where that is not said."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    said = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
    return (int(said[1] or said[2]), int(said[2])) if said else (None, None)


def _version(response: requests.Response) -> str:
    tag = response.headers.get("ETag", "")
    # A weak ETag, W/"...", is not allowed in If-Range (RFC 9110, 13.1.5).
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _write(file: _File, response: requests.Response, start: int | None, total: int | None) -> None:
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise ValueError(
            f"{file.url} comes with Content-Encoding {coding!r}, expected none: name another base address."
        )
    chunks = response.iter_content(CHUNK)
    first = next(chunks, b"")
    _check_answer(file, response, b"" if start else first, total)
    with (
        file.part.open("ab" if start else "wb") as part,
        tqdm(total=total, initial=start or 0, unit="B", unit_scale=True, desc=file.path.name) as bar,
    ):
        if not start:  # after the part was emptied: beside bytes of another version the note would be wrong
            file.note.write_text(f"{file.url}\n{_version(response)}", "utf-8")
        for chunk in chain([first], chunks):
            part.write(chunk)
            bar.update(len(chunk))
    if total is not None and file.size != total:
        raise requests.ConnectionError(f"the answer ended after {file.size} of {total} bytes")


def _check_answer(file: _File, response: requests.Response, beginning: bytes, total: int | None) -> None:
    """Refuse an answer before anything of the part, which may be good, is written over."""
    if total is None and not file.sha256 and response.headers.get("Transfer-Encoding") != "chunked":
        raise ValueError(f"{file.url}: the server states no length, by which a whole file is told: give its sha256.")
    if PAGE.match(beginning):
        raise ValueError(
            f"{file.url} is an HTML page ({total or 'unknown'} bytes, first {beginning[:40]!r}), expected a file with "
            f"sha256 {file.sha256 or 'unknown'}: look at it in a browser, try again, or name another base address."
        )
    free = shutil.disk_usage(file.path.parent).free
    if total is not None and total - file.size > free:
        needed, there = (tqdm.format_sizeof(size, "B") for size in (total - file.size, free))
        raise OSError(
            errno.ENOSPC, f"{file.part} needs {needed} more, {there} are free in its folder: free some, or name another"
        )


def _check(file: _File) -> None:
    """Bring the part onto the disk, and remove it if its sha256 is not the one expected."""
    sha256, size = hashlib.sha256(), file.size
    with file.part.open("rb+") as part:
        os.fsync(part.fileno())
        while file.sha256 and (chunk := part.read(CHUNK)):
            sha256.update(chunk)
    if file.sha256 and sha256.hexdigest() != file.sha256.lower():
        file.part.unlink()
        file.note.unlink(missing_ok=True)
        raise ValueError(
            f"{file.url} has sha256 {sha256.hexdigest()} ({size} bytes), expected {file.sha256}: it was removed; "
            "try again, or name another base address."
        )
