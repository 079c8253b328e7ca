"""Remarks on the kinds of files in a data set, made once for the set; refuses kinds that cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from rcan_plugin.images.header import Header
from rcan_plugin.images.store import ImageStore

# Pillow's names of pixel modes that OpenCV converts to colour or gray without a colour profile.
_CONVERTED = frozenset(["CMYK", "YCbCr", "LAB", "HSV"])
_SAMPLES = 3  # images of an LMDB whose headers are read: meta_info.txt does not contain the depth


class File(NamedTuple):
    """An image of a data set and its header."""

    store: ImageStore
    name: str
    header: Header


def remarks(files: Sequence[File], keep_depth: bool) -> list[tuple[int, str]]:
    """Return remarks on these images for the user: level of the log, and text.

    Raises:
        ValueError: some have 32 bits a value, which cannot be trained on.
    """
    of_lmdb = [file for file in files if file.store.is_lmdb]
    stores = {file.store.root: file.store for file in files}
    sampled = [
        File(store, file.name, store.file_header(file.name))
        for store in stores.values()
        for file in [file for file in of_lmdb if file.store is store][:_SAMPLES]
    ]
    known = [*(file for file in files if not file.store.is_lmdb), *sampled]
    if too_deep := [file for file in known if file.header.bits > 16]:
        raise ValueError(
            f"{_counted(too_deep)}: {too_deep[0].header.bits} bits a value; expected 8 or 16 bits: convert it."
        )
    messages = []
    if with_alpha := [file for file in files if file.header.alpha]:
        messages.append((logging.WARNING, f"{_counted(with_alpha)}: alpha is dropped."))
    if converted := [file for file in known if file.header.mode in _CONVERTED]:
        text = f"{converted[0].header.mode} colours are converted without a colour profile: make RGB images of them."
        messages.append((logging.WARNING, f"{_counted(converted)}: {text}"))
    if not keep_depth and (deep := [file for file in known if file.header.bits > 8]):
        text = "16 bits are cut to 8, as in BasicSR; keep_depth: true keeps them."
        messages.append((logging.WARNING, f"{_counted(deep)}: {text}"))
    for store in stores.values():
        if store.ignored:
            messages.append((logging.INFO, f"{store.root}: ignored because of their suffix: {store.ignored}."))
    return messages


def _counted(files: Sequence[File]) -> str:
    """The first of the images, and how many more there are."""
    first = files[0]
    more = "others" if first.store.is_lmdb else f"{len(files) - 1} more"
    return first.store.describe(first.name) + (f" and {more}" if len(files) > 1 else "")
