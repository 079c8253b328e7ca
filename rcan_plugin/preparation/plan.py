"""What is to be made of which images: keys, pairs of HR and LR, sub-images; and the images that cannot be used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import lcm

import numpy as np
from tqdm import tqdm

from rcan_plugin.images.decode import BadImageError, decode, look
from rcan_plugin.images.sources import Source, key_of
from rcan_plugin.images.store import Header
from rcan_plugin.preparation.survey import around

THREADS = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16)
"""More than 16 would only hold more images in memory at once: the disk is the limit by then."""

LONGEST_KEY = 500  # bytes; LMDB takes 511, and a sub-image's key is longer


@dataclass(frozen=True, order=True)
class Bad:
    """An image that cannot be used, and why."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True)
class Item:
    """An HR image with the LR images given for it, by scale."""

    key: str
    hr: Source
    header: Header
    lr: Mapping[int, Source] = field(default_factory=dict)

    def at(self, scale: int) -> tuple[int, int]:
        """Height and width of the LR image, or at scale 1 of the HR image."""
        return self.header.height // scale, self.header.width // scale

    def read(self, scale: int) -> np.ndarray:
        """The pixels of the LR image given, or at scale 1 of the HR image.

        Raises:
            BadImageError: it cannot be read to its end, or its head says something else.
        """
        image = decode(self.source(scale))
        if image.shape[:2] != self.at(scale) or image.dtype.itemsize * 8 != self.header.bits:
            raise BadImageError(f"its pixels, {image.shape}, {image.dtype}, are not what its head says")
        return image

    def source(self, scale: int) -> Source:
        """The LR image given, or at scale 1 the HR image."""
        return self.hr if scale == 1 else self.lr[scale]


@dataclass(frozen=True)
class SubImages:
    """How images are cut into smaller ones, as BasicSR's `extract_subimages.py` does: squares from the top left on,
    the last of each row and column flush with the border.

    Attributes:
        size, step: side of a square and distance of two, in HR pixels; multiples of every scale.
        unit: positions are multiples of it, so that LR squares show what HR squares show.
    """

    size: int
    step: int
    unit: int

    @classmethod
    def of(cls, size: int, step: int, scales: Iterable[int]) -> SubImages:
        """Raises ValueError: a size or step that is not a multiple of every scale."""
        unit = lcm(*scales)
        for name, value in (("size", size), ("step", step)):
            if value < 1 or value % unit:
                raise ValueError(
                    f"sub-images: {name} is {value}; expected a multiple of {unit}, so that it has a whole number of "
                    f"pixels at every scale: use {max(1, round(value / unit)) * unit}."
                )
        return cls(size, step, unit)

    def windows(self, height: int, width: int) -> list[tuple[int, int]]:
        """Top and left of each square in an HR image of that size, row by row."""
        return [(top, left) for top in self._along(height) for left in self._along(width)]

    def _along(self, side: int) -> list[int]:
        last = side // self.unit * self.unit - self.size
        starts = list(range(0, last + 1, self.step))
        return starts if not starts or starts[-1] == last else [*starts, last]


def make_plan(
    hr: Sequence[Source],
    lr: Mapping[int, Sequence[Source]],
    sub_images: SubImages | None = None,
    largest_scale: int = 1,
) -> tuple[list[Item], list[Bad]]:
    """Look at all images, by their heads, and pair them by name, showing progress.

    Args:
        hr: HR images; their names, as `key_of` changes them, become the keys.
        lr: LR images by scale. One belongs to the HR image of its name, or of its name without what all LR names of
            that scale have in common, such as `x2`.
        sub_images: how the images are to be cut; smaller ones are bad then.
        largest_scale: at which LR images are to be made; HR images smaller than that are bad.

    Returns:
        The items sorted by key, and what is bad: of an item with one bad image all are left out.
    """
    bad: list[Bad] = []
    heads = _look_at_all([*hr, *(source for sources in lr.values() for source in sources)], bad)
    by_key = _by_key(hr, bad)
    bits = Counter(heads[source.place].bits for source in hr if source.place in heads)
    usual = max(bits, key=bits.__getitem__, default=8)
    for source in hr:
        if (head := heads.get(source.place)) and head.bits != usual:
            bad.append(Bad(source.place, f"has {head.bits} bits a value and most images have {usual}: convert it"))
    partners = {scale: _partners(by_key, sources, scale, bad) for scale, sources in lr.items()}

    items = []
    unusable = {one.place for one in bad}
    for key, source in sorted(by_key.items()):
        if source.place in unusable:
            continue
        item = Item(key, source, heads[source.place], {scale: found[key] for scale, found in partners.items()})
        mistakes = list(_mistakes(item, heads, sub_images, largest_scale))
        bad += mistakes
        if not mistakes and not any(one.place in unusable for one in item.lr.values()):
            items.append(item)
    return items, sorted(set(bad))


def _look_at_all(sources: Sequence[Source], bad: list[Bad]) -> dict[str, Header]:
    def head(source: Source) -> Header | Bad:
        try:
            return look(source)
        except BadImageError as error:
            return Bad(source.place, str(error))

    heads = {}
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(head, sources)
        for source, result in zip(tqdm(sources, desc="looking", unit="image", leave=False), found, strict=True):
            if isinstance(result, Bad):
                bad.append(result)
            else:
                heads[source.place] = result
    return heads


def _by_key(sources: Sequence[Source], bad: list[Bad]) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for source in sources:
        key = key_of(source.stem)
        if len(key) > LONGEST_KEY:
            bad.append(
                Bad(source.place, f"its name has {len(key)} letters; at most {LONGEST_KEY} make a key: rename it")
            )
        elif (other := found.setdefault(key, source)) is not source:
            why = f"would get the same key, {key}, as {{}}: rename or remove one"
            bad += [Bad(source.place, why.format(other.place)), Bad(other.place, why.format(source.place))]
    return found


def _partners(hr: Mapping[str, Source], sources: Sequence[Source], scale: int, bad: list[Bad]) -> dict[str, Source]:
    """The LR image of each HR key."""
    lr = _by_key(sources, bad)
    around_hr, around_lr = around(hr), around(lr)
    bare = ("", "")
    candidates = [
        (bare, bare),
        (bare, ("", f"x{scale}")),
        (bare, ("", f"_x{scale}")),
        (around_hr, around_lr),
        (("", around_hr[1]), ("", around_lr[1])),
    ]
    found = max((dict(_matches(hr, lr, *pair)) for pair in candidates), key=len)
    without = [Bad(hr[key].place, f"has no LR image at x{scale} (looked for {key}x{scale} and the like)")
               for key in hr if key not in found]  # fmt: skip
    taken = {source.place for source in found.values()}
    alone = [Bad(one.place, f"has no HR image (x{scale})") for one in lr.values() if one.place not in taken]
    bad += without + alone
    return found


def _matches(
    hr: Mapping[str, Source], lr: Mapping[str, Source], around_hr: tuple[str, str], around_lr: tuple[str, str]
) -> Iterator[tuple[str, Source]]:
    prefix, suffix = around_hr
    for key in hr:
        name = key[len(prefix) : len(key) - len(suffix)]
        if name and key == prefix + name + suffix and (source := lr.get(around_lr[0] + name + around_lr[1])):
            yield key, source


def _mistakes(
    item: Item, heads: Mapping[str, Header], sub_images: SubImages | None, largest_scale: int
) -> Iterator[Bad]:
    """What is wrong with the sizes of an item, or with its LR images' depth."""
    height, width = item.at(1)
    if min(height, width) < largest_scale:
        yield Bad(item.hr.place, f"is {height}x{width}, smaller than one pixel at x{largest_scale}: leave it out")
    if sub_images and not sub_images.windows(height, width):
        yield Bad(item.hr.place, f"is {height}x{width}, smaller than a sub-image of {sub_images.size}: leave it out")
    for scale, source in item.lr.items():
        head = heads.get(source.place)
        if head is None:
            continue
        if (head.height, head.width) != item.at(scale):
            expected = "{}x{}".format(*item.at(scale))
            size = f"{head.height}x{head.width}"
            yield Bad(source.place, f"is {size}; x{scale} of {item.hr.place}, {height}x{width}, is {expected}")
        elif head.bits != item.header.bits:
            yield Bad(source.place, f"has {head.bits} bits a value and its HR image has {item.header.bits}: convert it")
