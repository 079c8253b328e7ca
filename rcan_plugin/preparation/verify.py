"""Is an LMDB what it was when it was made?"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import lmdb
from tqdm import tqdm

from rcan_plugin.images.decode import BadImageError, decode_bytes
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.writer import CHECKSUMS, digest, read_checksums


def verify(root: str | os.PathLike[str]) -> list[str]:
    """Compare an LMDB with its checksums, its keys with meta_info.txt, and each image with its line there.

    One without checksums, such as BasicSR's tools make, has every image decoded instead.

    Returns:
        What is wrong, a line each; none if all is well.

    Raises:
        FileNotFoundError: there is no such LMDB, or a part of it is missing.
        ValueError: it is a folder of another kind.
    """
    path = Path(root).expanduser()
    if path.is_dir() and path.suffix != ".lmdb":
        raise ValueError(f"{path} is no LMDB: expected a folder *.lmdb.")
    try:
        ImageStore(path)
    except ValueError as error:
        return [f"{path / 'meta_info.txt'} is damaged: {error}."]
    try:
        known = read_checksums(path)
    except ValueError as error:
        return [f"{error}."]
    wrong = []
    files = known["files"] if known else {}
    for name, expected in tqdm(files.items(), desc="files", unit="file", leave=False):
        if not (path / name).is_file():
            wrong.append(f"{path / name} is missing.")
        elif digest(path / name) != expected:
            wrong.append(f"{path / name} has changed since it was made: its checksum differs.")
    surplus = {file.name for file in path.iterdir()} - {*files, CHECKSUMS, "lock.mdb"} if known else set()
    wrong += [f"{path / name} does not belong here." for name in sorted(surplus)]
    # In a process of its own: a damaged tree can bring down the one that reads it.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(os.getpid).result()  # what fails here has to do with the machine
        try:
            wrong += pool.submit(_images, path, known and known["images"], bool(wrong) or not known).result()
        except BrokenProcessPool:
            wrong.append(f"{path / 'data.mdb'} is damaged in its structure: it cannot be read.")
    return wrong


def _images(path: Path, known: dict[str, str] | None, every: bool) -> list[str]:
    """What is wrong with the keys, and with `every` image too."""
    store = ImageStore(path)
    try:
        with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
            keys = {bytes(key).decode(errors="replace") for key in transaction.cursor().iternext(values=False)}
    except lmdb.Error as error:
        return [f"{path / 'data.mdb'} is damaged in its structure: {error}."]
    named = set(store.names)
    wrong = [f"image {key} is named in meta_info.txt and missing in data.mdb." for key in sorted(named - keys)]
    wrong += [f"image {key} is in data.mdb and not named in meta_info.txt." for key in sorted(keys - named)]
    if len(named) < len(store.names):
        wrong.append(f"meta_info.txt names {len(store.names) - len(named)} images twice.")
    if known is not None and (unknown := named ^ set(known)):
        wrong.append(f"{CHECKSUMS} and meta_info.txt differ in {len(unknown)} images, {min(unknown)} among them.")
    if not every:
        return wrong
    for key in tqdm(sorted(named & keys), desc="images", unit="image", leave=False):
        if said := _image(store, key, known):
            wrong.append(f"image {key} {said}.")
    return wrong


def _image(store: ImageStore, key: str, known: dict[str, str] | None) -> str:
    try:
        content = store.read_bytes(key)
    except (ValueError, FileNotFoundError, lmdb.Error) as error:
        return f"cannot be read ({error})"
    if known is not None and key in known and hashlib.sha256(content).hexdigest() != known[key]:
        return "has changed since it was made: its checksum differs"
    try:
        image = decode_bytes(content)
    except BadImageError as error:
        return str(error)
    head = store.header(key)
    if image.shape[:2] != (head.height, head.width) or (image.ndim == 2) != head.gray:
        return f"has the shape {image.shape}, and another in meta_info.txt"
    return ""
