"""The LMDBs made from a set of images: their names, the degradation of given LR images, sizes on disk."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rcan_plugin.degradations import BORDERS, Degradation, Identification, identify
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.degradations.resizers import resemblance
from rcan_plugin.images.decode import ImageError
from rcan_plugin.preparation.encode import encode
from rcan_plugin.preparation.items import Item, SubImages

T = TypeVar("T")

_SAMPLES = 5  # pairs by which given LR images are identified; images by which the size as PNG is estimated
_SAMPLE_SIDE = 480  # pixels used of each image for that estimate
_FORMAT = 1  # part of the fingerprint: increase it when a change of the code makes other files from the same images
_PAGE = 4096  # bytes; in an LMDB each value begins on a new page
_PNM_HEADER = 64  # bytes, at most


@dataclass(frozen=True)
class Target:
    """An LMDB to be made.

    Attributes:
        scale: 1 for HR.
        recipe: how the LR images are made or were made; None for HR, and if it is not known.
        given: whether the LR images are given.
    """

    scale: int = 1
    recipe: Recipe | None = None
    given: bool = False

    @property
    def name(self) -> str:
        """`HR`, `LRBI_x2`, or `LR_x2` if the degradation is not known."""
        if self.scale == 1:
            return "HR"
        return f"LR{self.recipe.degradation.kind if self.recipe else ''}_x{self.scale}"


def identify_given(items: Sequence[Item], scales: Iterable[int]) -> list[Target]:
    """Identify the given LR images of each scale from five samples; print the result."""
    targets = []
    for scale in sorted(scales):
        matching: Counter[Recipe] = Counter()
        identifications: list[Identification] = []
        likeness = None
        for item in sample_evenly(items):
            try:
                hr, lr = item.read(1), item.read(scale)
            except ImageError:
                continue  # reported when all images are read
            result = identify(hr, lr)
            likeness = likeness or resemblance(hr, lr, result)
            identifications.append(result)
            if result.kind in ("BI", "BD") and result.shift == (0, 0) and result.matches_up_to_ties:
                borders = BORDERS if result.border == "either" else [result.border or "replicate"]
                matching.update(Recipe(Degradation(result.kind, border)) for border in borders)
        recipe, count = next(iter(matching.most_common(1)), (None, 0))
        if count <= len(identifications) / 2:
            recipe = None
        targets.append(Target(scale, recipe, given=True))
        if recipe:
            summary = f"x{scale} {recipe}, exactly"
        else:
            last = identifications[-1] if identifications else "none can be read"
            summary = f"no known degradation ({last})" + (f"; {likeness}" if likeness else "")
        print(f"LR images given at x{scale}: {summary}")
    return targets


def fingerprint(target: Target, items: Sequence[Item], codec: str, sub_images: SubImages | None) -> str:
    """Return a hash of the images and settings; an LMDB with the same hash, finished or not, has the same content."""
    cut = [sub_images.size, sub_images.step, sub_images.unit] if sub_images else None
    settings = [_FORMAT, target.name, codec, cut, str(target.recipe), target.given]
    images = [[item.key, item.hr.stamp, *([item.lr[target.scale].stamp] if target.given else [])] for item in items]
    return hashlib.sha256(json.dumps([settings, images]).encode()).hexdigest()


def raw_bytes(target: Target, items: Sequence[Item], sub_images: SubImages | None) -> int:
    """Return the size on disk of the images of a target as raw values, in bytes."""
    total = 0
    for item in items:
        height, width = item.size(target.scale)
        count = 1
        if sub_images:
            count = len(sub_images.windows(*item.size()))
            height = width = sub_images.size // target.scale
        values = height * width * (1 if item.header.gray else 3) * item.header.bits // 8
        total += count * -(-(values + _PNM_HEADER) // _PAGE) * _PAGE
    return total


def png_share(items: Sequence[Item]) -> float:
    """Return size as PNG over size as raw, estimated from parts of five images."""
    raw = png = 0
    for item in sample_evenly(items):
        try:
            image = item.read(1)[:_SAMPLE_SIDE, :_SAMPLE_SIDE]
        except ImageError:
            continue
        raw += image.nbytes
        png += len(encode("", image, "png").content)
    return png / raw if raw else 1.0


def sample_evenly(items: Sequence[T]) -> list[T]:
    """Return five items, evenly spaced over the set; all if there are fewer."""
    step = max(1, len(items) // _SAMPLES)
    return list(items[step // 2 :: step][:_SAMPLES])
