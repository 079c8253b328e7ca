"""Checks that an LMDB is unchanged since it was made."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import lmdb
from tqdm import tqdm

from rcan_plugin.images.decode import ImageError, decode_verified
from rcan_plugin.images.environments import IncompleteLmdbError
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.checksums import CHECKSUMS, digest, read_checksums
from rcan_plugin.preparation.own_process import CrashedError, call_in_own_process


def verify(root: str | os.PathLike[str]) -> list[str]:
    """Compare an LMDB with its checksums, its keys with meta_info.txt, and each image with its line there.

    If it has no checksums, such as one made by BasicSR's tools, every image is decoded instead, which does not find
    every change.

    Returns:
        The faults, one line each, missing checksums included; empty if nothing has changed.

    Raises:
        FileNotFoundError: there is no such LMDB, or a file of it is missing.
        ValueError: it is another kind of folder.
    """
    path = Path(root).expanduser()
    if path.is_dir() and path.suffix != ".lmdb":
        raise ValueError(f"{path} is not an LMDB: expected a folder *.lmdb.")
    try:
        ImageStore(path)
    except IncompleteLmdbError as error:
        return [str(error)]
    except ValueError as error:
        return [f"{path / 'meta_info.txt'} is damaged: {error}."]
    try:
        checksums = read_checksums(path)
    except ValueError as error:
        return [f"{error}."]
    faults = _file_faults(path, checksums["files"]) if checksums else []
    read_all = bool(faults) or not checksums
    try:
        # In a separate process: LMDB crashes on some kinds of damage.
        faults += call_in_own_process(_image_faults, path, checksums and checksums["images"], read_all)
    except CrashedError:
        faults.append(f"{path / 'data.mdb'} is damaged in its structure: it cannot be read.")
    if checksums is None:
        faults.append(
            f"{path / CHECKSUMS} is missing: changes of images that can still be decoded cannot be detected "
            "(create-lmdb writes checksums)."
        )
    return faults


def _file_faults(path: Path, digests: Mapping[str, str]) -> list[str]:
    faults = []
    for name, expected in tqdm(digests.items(), desc="files", unit="file", leave=False):
        if not (path / name).is_file():
            faults.append(f"{path / name} is missing.")
        elif digest(path / name) != expected:
            faults.append(f"{path / name} has changed since it was made: its checksum differs.")
    surplus = {file.name for file in path.iterdir()} - {*digests, CHECKSUMS, "lock.mdb"}
    return faults + [f"{path / name} does not belong here." for name in sorted(surplus)]


def _image_faults(path: Path, digests: Mapping[str, str] | None, read_all: bool) -> list[str]:
    """The faults of the keys and, with `read_all`, of each image."""
    store = ImageStore(path)
    try:
        with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
            keys = {bytes(key).decode(errors="replace") for key in transaction.cursor().iternext(values=False)}
    except lmdb.Error as error:
        return [f"{path / 'data.mdb'} is damaged in its structure: {error}."]
    listed = set(store.names)
    faults = [f"image {key} is named in meta_info.txt but missing in data.mdb." for key in sorted(listed - keys)]
    faults += [f"image {key} is in data.mdb but not named in meta_info.txt." for key in sorted(keys - listed)]
    if len(listed) < len(store.names):
        faults.append(f"meta_info.txt names {len(store.names) - len(listed)} images twice.")
    if digests is not None and (differing := listed ^ set(digests)):
        faults.append(f"{CHECKSUMS} and meta_info.txt differ in {len(differing)} images, such as {min(differing)}.")
    if not read_all:
        return faults
    for key in tqdm(sorted(listed & keys), desc="images", unit="image", leave=False):
        if fault := _image_fault(store, key, digests):
            faults.append(f"image {key} {fault}.")
    return faults


def _image_fault(store: ImageStore, key: str, digests: Mapping[str, str] | None) -> str:
    """What is wrong with an image; "" if nothing is."""
    try:
        content = store.read_bytes(key)
    except (ValueError, FileNotFoundError, lmdb.Error) as error:
        return f"cannot be read ({error})"
    if digests is not None and key in digests and hashlib.sha256(content).hexdigest() != digests[key]:
        return "has changed since it was made: its checksum differs"
    try:
        image = decode_verified(content)
    except ImageError as error:
        return str(error)
    header = store.header(key)
    if image.shape[:2] != (header.height, header.width) or (image.ndim == 2) != header.gray:
        return f"has the shape {image.shape}, which differs from meta_info.txt"
    return ""
