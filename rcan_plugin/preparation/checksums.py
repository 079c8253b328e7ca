"""SHA-256 checksums of an LMDB: the file `checksums.json` beside the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKSUMS = "checksums.json"

_BLOCK = 1 << 22  # bytes read at a time


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
    return sha256.hexdigest()


def write_checksums(path: Path, made_of: str, files: Mapping[str, str], images: Mapping[str, str]) -> None:
    """Write the checksums of the files of an LMDB and of each image's value, with a checksum of the list itself.

    Args:
        path: folder of the LMDB.
        made_of: fingerprint of images and settings; a later run with the same fingerprint would make the same LMDB.
        files: SHA-256 by file name.
        images: SHA-256 of the value by key.
    """
    content = {"made_of": made_of, "files": dict(files), "images": dict(images)}
    content["sha256"] = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    (path / CHECKSUMS).write_text(json.dumps(content))


def read_checksums(path: Path) -> dict[str, Any] | None:
    """Return what `write_checksums` wrote (`made_of`, `files`, `images`), or None if there is no such file.

    Raises:
        ValueError: the file was changed.
    """
    file = path / CHECKSUMS
    if not file.is_file():
        return None
    text = file.read_text(errors="replace")
    try:
        content = json.loads(text)
        expected = content.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError):
        content, expected = {}, None
    if expected is None or hashlib.sha256(json.dumps(content).encode()).hexdigest() != expected:
        raise ValueError(f"{file} is damaged: its own checksum does not match")
    if text != json.dumps({**content, "sha256": expected}):
        raise ValueError(f"{file} is damaged: it has changed since it was written")
    return dict(content)
