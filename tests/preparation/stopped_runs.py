"""What an LMDB holds, and what a run that was stopped leaves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import lmdb

from tests.conftest import ROOT

FILES = ["meta_info.txt", "degradation.json", "skipped.txt", "renamed.txt"]


def content(folder: Path) -> dict[str, Any]:
    """All that an LMDB holds; of its file's bytes, whose pages may lie in another order, that the checksum is right."""
    with (
        lmdb.open(str(folder), readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        values = {bytes(key): hashlib.sha256(value).hexdigest() for key, value in transaction.cursor()}
    checksums = json.loads((folder / "checksums.json").read_text())
    right = checksums["files"].pop("data.mdb") == hashlib.sha256((folder / "data.mdb").read_bytes()).hexdigest()
    del checksums["sha256"]
    texts = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
    names = sorted(path.name for path in folder.iterdir())
    return {"values": values, "checksums": checksums, "right": right, "texts": texts, "names": names}


def half_made(out: Path) -> Path:
    """Where the work stands until it is whole."""
    return Path(f"{out}.part")


def journal_of(out: Path) -> Path:
    return half_made(out) / "journal.jsonl"


def done_in(out: Path) -> list[str]:
    """The keys of the images that a run which was stopped has in all its LMDBs."""
    lines = journal_of(out).read_text().splitlines() if journal_of(out).exists() else []
    return [json.loads(line)[0] for line in lines if line]


CREATE = ROOT / "scripts/create_lmdb.py"
