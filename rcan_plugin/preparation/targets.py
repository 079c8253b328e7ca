"""The LMDBs that a set of images becomes: their names, what is known of LR images given, sizes on disk."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rcan_plugin.degradations import BORDERS, Degradation, identify
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.images import pnm
from rcan_plugin.images.decode import BadImageError
from rcan_plugin.images.sources import Source
from rcan_plugin.preparation.plan import Item, SubImages
from rcan_plugin.preparation.writer import Value

CODECS = ("raw", "png")
PNG_COMPRESSION = 1  # BasicSR's default

_LOOKED_AT = 5  # pairs by which given LR images are identified, and images by which the size as PNG is estimated
_PART = 480  # pixels a side, for that estimate
_FORMAT = 1  # part of what a finished LMDB is known by: raise it when the same images would give other files
_PAGE = 4096  # of LMDB; each value begins on one


@dataclass(frozen=True)
class Target:
    """One LMDB to be made.

    Attributes:
        scale: 1 for HR.
        recipe: how the LR images are made, or were; None for HR and where it is not known.
        given: whether the LR images are given.
    """

    scale: int = 1
    recipe: Recipe | None = None
    given: bool = False

    @property
    def name(self) -> str:
        """`HR`, `LRBI_x2`, or `LR_x2` where it is not known how the images were made."""
        if self.scale == 1:
            return "HR"
        return f"LR{self.recipe.degradation.kind if self.recipe else ''}_x{self.scale}"


def given_targets(items: Sequence[Item], lr: Mapping[int, Sequence[Source]]) -> list[Target]:
    """What the given LR images are, by a few of them; says so."""
    targets = []
    for scale in sorted(lr):
        found: Counter[Recipe] = Counter()
        looked = []
        for item in some(items):
            try:
                one = identify(item.read(1), item.read(scale))
            except BadImageError:
                continue  # which is found when all are read
            looked.append(one)
            if one.kind in ("BI", "BD") and one.shift == (0, 0) and one.matches_up_to_ties:
                borders = BORDERS if one.border == "either" else [one.border or "replicate"]
                found.update(Recipe(Degradation(one.kind, border)) for border in borders)
        recipe = next((one for one, count in found.most_common(1) if count > len(looked) / 2), None)
        targets.append(Target(scale, recipe, given=True))
        what = (
            f"x{scale} {recipe}, exactly"
            if recipe
            else f"none of ours exactly ({looked[-1] if looked else 'none can be read'})"
        )
        print(f"LR images given at x{scale}: {what}")
    return targets


def encode(key: str, image: np.ndarray, codec: str) -> Value:
    """One image as a value of an LMDB.

    Args:
        key: its key.
        image: H x W or H x W x 3 (B, G, R), uint8 or uint16.
        codec: `raw` or `png`.
    """
    shape = (*image.shape[:2], 1 if image.ndim == 2 else 3)
    if codec == "raw":
        return Value(key, "pgm" if image.ndim == 2 else "ppm", shape, 0, pnm.encode(image))
    content = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])[1].tobytes()
    return Value(key, "png", shape, PNG_COMPRESSION, content)


def fingerprint(target: Target, items: Sequence[Item], codec: str, sub_images: SubImages | None) -> str:
    """By which an LMDB that stands there, or was begun, is known to be what would be made."""
    cut = [sub_images.size, sub_images.step, sub_images.unit] if sub_images else None
    said = [_FORMAT, target.name, codec, cut, str(target.recipe), target.given]
    images = [[item.key, item.hr.stamp, *([item.lr[target.scale].stamp] if target.given else [])] for item in items]
    return hashlib.sha256(json.dumps([said, images]).encode()).hexdigest()


def raw_bytes(target: Target, items: Sequence[Item], sub_images: SubImages | None) -> int:
    """What the images of a target take on disk as raw values."""
    total = 0
    for item in items:
        height, width = item.at(target.scale)
        count = 1
        if sub_images:
            count = len(sub_images.windows(*item.at(1)))
            height = width = sub_images.size // target.scale
        values = height * width * (1 if item.header.gray else 3) * item.header.bits // 8
        total += count * -(-(values + 64) // _PAGE) * _PAGE
    return total


def png_share(items: Sequence[Item]) -> float:
    """Size as PNG over size as raw, by a part of a few of the images."""
    raw = png = 0
    for item in some(items):
        try:
            image = item.read(1)[:_PART, :_PART]
        except BadImageError:
            continue
        raw += image.nbytes
        png += len(encode("", image, "png").content)
    return png / raw if raw else 1.0


def some(items: Sequence[Item]) -> list[Item]:
    """A few items, from all over the set."""
    step = max(1, len(items) // _LOOKED_AT)
    return list(items[step // 2 :: step][:_LOOKED_AT])
