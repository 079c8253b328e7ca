"""Items to prepare: an HR image with its LR images; how images are cut; images that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import lcm

import numpy as np

from rcan_plugin.images.decode import ImageError
from rcan_plugin.images.header import Header
from rcan_plugin.images.sources import Source


@dataclass(frozen=True, order=True)
class UnusableImage:
    """The location of an image that cannot be used, and the reason."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class UnusableImagesError(ValueError):
    """Some images cannot be used; all of them are in `images`. Nothing was written."""

    def __init__(self, images: Iterable[UnusableImage]) -> None:
        self.images = sorted(set(images))
        count = len({image.place for image in self.images})
        super().__init__(f"{count} image{'s' * (count > 1)} cannot be used")


@dataclass(frozen=True)
class Item:
    """An HR image with the LR images given for it, by scale."""

    key: str
    hr: Source
    header: Header
    lr: Mapping[int, Source] = field(default_factory=dict)

    def size(self, scale: int = 1) -> tuple[int, int]:
        """Return height and width of the LR image, or at scale 1 of the HR image."""
        return self.header.height // scale, self.header.width // scale

    def source(self, scale: int) -> Source:
        """Return the given LR image, or at scale 1 the HR image."""
        return self.hr if scale == 1 else self.lr[scale]

    def read(self, scale: int) -> np.ndarray:
        """Decode the given LR image, or at scale 1 the HR image.

        Raises:
            ImageError: it cannot be decoded, or differs from its header in size or depth.
        """
        image = self.source(scale).decode()
        if image.shape[:2] != self.size(scale) or image.dtype.itemsize * 8 != self.header.bits:
            raise ImageError(f"its pixels, {image.shape}, {image.dtype}, differ from its header")
        return image


@dataclass(frozen=True)
class SubImages:
    """How images are cut into squares, as in BasicSR's `extract_subimages.py`: row by row from the top left; the last
    square of each row and column touches the border.

    Attributes:
        size, step: side and distance of the squares in HR pixels; multiples of every scale.
        unit: all positions are multiples of it, so that an LR square shows the same area as its HR square.
    """

    size: int
    step: int
    unit: int

    @classmethod
    def for_scales(cls, size: int, step: int, scales: Iterable[int]) -> SubImages:
        """Return the sub-images for LR images at `scales`.

        Raises:
            ValueError: size or step is not a multiple of every scale.
        """
        unit = lcm(*scales)
        for name, value in (("size", size), ("step", step)):
            if value < 1 or value % unit:
                raise ValueError(
                    f"sub-images: {name} is {value}; expected a multiple of {unit}, so that it has a whole number of "
                    f"pixels at every scale: use {max(1, round(value / unit)) * unit}."
                )
        return cls(size, step, unit)

    def windows(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return top and left of each square in an HR image of that size, row by row."""
        return [(top, left) for top in self._starts(height) for left in self._starts(width)]

    def _starts(self, side: int) -> list[int]:
        last = side // self.unit * self.unit - self.size
        starts = list(range(0, last + 1, self.step))
        return starts if not starts or starts[-1] == last else [*starts, last]
