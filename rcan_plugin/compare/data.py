"""Test sets on disk: pairs of images, hashes of their files, the degradation of LR images."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rcan_plugin.compare.cache import key_of
from rcan_plugin.compare.spec import TestSet, filled, ident
from rcan_plugin.degradations import Degradation, noise_rng
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.images.pairs import Pair, find_pairs
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.layouts import COUNTS
from rcan_plugin.preparation.survey import survey

_ENDING = re.compile(r"(_SRF_\d)?([_-](HR|GT))?([_-]?x\d)?$", re.IGNORECASE)
"""Endings of the names of HR files: `_HR_x4`, `_SRF_4_HR`, `_GT`."""


@dataclass(frozen=True)
class SetImage:
    """An image of a test set: its name, the names of its files, its key (hash of both files), and its size."""

    name: str
    pair: Pair
    key: str
    width: int
    height: int
    gray: bool


@dataclass(frozen=True)
class SetAtScale:
    """A test set at a scale.

    Attributes:
        id: name for files: `Set5_BI_x4`.
        degradation: `BI`, `BD`, `DN`, or `given` for LR images from files.
        recipe: how LR images are made; None if they are given.
    """

    id: str
    name: str
    scale: int
    hr: ImageStore
    lr: ImageStore | None
    recipe: Recipe | None
    images: tuple[SetImage, ...]
    templates: tuple[str | None, str | None] = (None, None)

    @property
    def degradation(self) -> str:
        """`BI`, `BD`, `DN` or `given`."""
        return "given" if self.recipe is None else self.recipe.degradation.kind

    @property
    def key(self) -> str:
        """Hash of the set's content."""
        return key_of([image.key for image in self.images])

    def read_hr(self, image: SetImage) -> np.ndarray:
        """The HR image that LR and upscaled images are compared with: H x W x C, uint8, BGR, or gray with C = 1.

        Rows and columns past the last LR pixel are cut off.
        """
        hr = self.hr.read(image.pair.gt, channels=1 if image.gray else 3)
        return np.ascontiguousarray(hr[: image.height, : image.width])

    def read_lr(self, image: SetImage, hr: np.ndarray) -> np.ndarray:
        """The LR image: H x W x C, uint8, BGR, or gray with C = 1."""
        if self.recipe is None:
            assert self.lr is not None
            gray = self.lr.header(image.pair.lq).gray
            return self.lr.read(image.pair.lq, channels=1 if gray else 3)
        rng = noise_rng(self.recipe.seed, image.pair.gt) if self.recipe.degradation.kind == "DN" else None
        return self.recipe.degradation.apply(hr, self.scale, rng=rng)

    def with_recipe(self, recipe: Recipe) -> SetAtScale:
        """The same HR images with other LR images."""
        recipe = recipe.at(self.scale)
        images = [dataclasses.replace(image, key=key_of([image.key, _identity(recipe)])) for image in self.images]
        return dataclasses.replace(self, lr=None, recipe=recipe, images=tuple(images))


class Hashes:
    """SHA-256 of files; each file is read once."""

    def __init__(self) -> None:
        self.known: dict[tuple[Path, str], str] = {}

    def of_file(self, path: str | Path) -> str:
        """Hash of a file."""
        key = (Path(path), "")
        if key not in self.known:
            with Path(path).open("rb") as file:
                self.known[key] = (
                    hashlib.file_digest(file, "sha256").hexdigest()
                    if hasattr(hashlib, "file_digest")
                    else hashlib.sha256(file.read()).hexdigest()
                )
        return self.known[key]

    def of_image(self, store: ImageStore, name: str) -> str:
        """Hash of an encoded image of a folder or LMDB."""
        key = (store.root, name)
        if key not in self.known:
            self.known[key] = hashlib.sha256(store.read_bytes(name)).hexdigest()
        return self.known[key]


def open_set(test_set: TestSet, scale: int, hashes: Hashes) -> SetAtScale:
    """Find the images of a test set at a scale, and hash their files.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: images without partner, or of sizes that do not fit the scale.
    """
    try:
        hr = ImageStore(filled(test_set.hr, scale))
    except FileNotFoundError as error:
        hint = " `rcan prepare-benchmarks` makes it." if test_set.name in COUNTS else ""
        raise FileNotFoundError(f"{error}{hint}") from None
    lr = None if test_set.lr is None else ImageStore(filled(test_set.lr, scale))
    templates = (test_set.hr_template, test_set.lr_template)
    pairs = find_pairs(
        hr, lr, gt_template=templates[0], lq_template=templates[1], options=("hr_template", "lr_template")
    )
    recipe = None if test_set.recipe is None else test_set.recipe.at(scale)
    names = short_names([hr.stem(pair.gt) for pair in pairs])
    images = []
    for name, pair in zip(names, pairs, strict=True):
        header = hr.header(pair.gt)
        sides = (header.height, header.width)
        lr_sides = tuple(side // scale for side in sides)
        if lr is not None:
            lr_header = lr.header(pair.lq)
            lr_sides = (lr_header.height, lr_header.width)
            if not all(
                side in (hr_side // scale, -(-hr_side // scale)) for side, hr_side in zip(lr_sides, sides, strict=True)
            ):
                raise ValueError(
                    f"{lr.describe(pair.lq)} is {lr_sides[1]}x{lr_sides[0]} and {hr.describe(pair.gt)} "
                    f"{sides[1]}x{sides[0]}; expected x{scale}: correct the folders or the scale."
                )
        elif min(lr_sides) < 1:
            raise ValueError(f"{hr.describe(pair.gt)} is {sides[1]}x{sides[0]}, smaller than one LR pixel at x{scale}.")
        content = [hashes.of_image(hr, pair.gt)]
        content.append(_identity(recipe, pair.gt) if lr is None else hashes.of_image(lr, pair.lq))
        height, width = (min(side, scale * lr_side) for side, lr_side in zip(sides, lr_sides, strict=True))
        images.append(SetImage(name, pair, key_of([*content, scale]), width, height, header.gray))
    kind = "LR" if recipe is None else recipe.degradation.kind
    return SetAtScale(
        f"{ident(test_set.name)}_{kind}_x{scale}", test_set.name, scale, hr, lr, recipe, tuple(images), templates
    )


def short_names(stems: list[str]) -> list[str]:
    """Names of images without the endings of HR files, as file names; the stems if these names would not be unique.

    >>> short_names(["baby_HR_x4", "bird_HR_x4"]), short_names(["img_001_SRF_4_HR"]), short_names(["a_x2", "a_x3"])
    (['baby', 'bird'], ['img_001'], ['a_x2', 'a_x3'])
    """
    for names in ([ident(_ENDING.sub("", stem) or stem) for stem in stems], [ident(stem) for stem in stems]):
        if len(set(names)) == len(names):
            return names
    return [f"{number:04d}_{ident(stem)}" for number, stem in enumerate(stems, 1)]


def _identity(recipe: Recipe | None, name: str = "") -> Any:
    assert recipe is not None
    noise = [recipe.seed, name] if recipe.degradation.kind == "DN" else []
    return [*dataclasses.asdict(recipe.degradation).values(), *noise]


@dataclass(frozen=True)
class LowResolution:
    """How the LR images of a set were made.

    Attributes:
        text: a description, as `rcan identify` prints it.
        kind: `BI`, `BD`, `DN`; None if it is not a degradation of the papers.
        border: border of BI: `replicate`, `symmetric`; None if unknown.
        marks: how the images differ from the papers' LR images.
    """

    text: str
    kind: str | None
    border: str | None
    marks: tuple[str, ...] = ()


def low_resolution(test_set: SetAtScale) -> LowResolution:
    """Find out how the LR images of a set were made: from its recipe, or by comparing the files' values."""
    marks: list[str]
    if test_set.recipe is not None:
        degradation = test_set.recipe.degradation
        text = f"x{test_set.scale} {test_set.recipe}, made from HR"
        if degradation.kind == "BI":
            return LowResolution(text, "BI", degradation.border, tuple(_border_marks(degradation.border)))
        official = Degradation(degradation.kind).at(test_set.scale)
        marks = [] if degradation == official else [f"LR is not the papers': {test_set.recipe}"]
        return LowResolution(text, degradation.kind, None, tuple(marks))
    assert test_set.lr is not None
    hr_template, lr_template = test_set.templates
    groups = survey(test_set.hr.root, test_set.lr.root, hr_template=hr_template, lr_template=lr_template)
    counts = [f"{len(group.pairs)} of {len(test_set.images)} pairs: {group}" for group in groups]
    text = str(groups[0]) if len(groups) == 1 else "; ".join(counts)
    first = groups[0].first
    if len(groups) > 1 or not first.of_papers:
        return LowResolution(text, None, None, (f"LR is not the papers': {text}",))
    return LowResolution(text, first.kind, first.border, tuple(_border_marks(first.border)))


def _border_marks(border: str | None) -> Iterator[str]:
    if border == "symmetric":
        yield "LR has a symmetric border; the papers' test data repeat the nearest pixel"


def as_json(low: LowResolution) -> Mapping[str, Any]:
    """Convert to plain data for the cache."""
    return dataclasses.asdict(low)


def from_json(content: Mapping[str, Any]) -> LowResolution:
    """Convert from the plain data in the cache."""
    return LowResolution(**{**content, "marks": tuple(content["marks"])})
