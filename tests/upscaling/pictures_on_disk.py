"""Pictures on disk and a network that repeats pixels, for tests of upscaling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image


class Repeating:
    """Stands for `inference.Upscaler`: each pixel becomes a square of 2 x 2, one row of pixels after the other.

    Args:
        before: called with the number of the picture before its first row.
    """

    scale, channels = 2, 3

    def __init__(self, before: Callable[[int], object] = lambda number: None) -> None:
        self.before, self.count = before, 0

    def rows(self, image: np.ndarray) -> Iterator[np.ndarray]:
        self.count += 1
        self.before(self.count - 1)
        for row in image:
            yield np.repeat(np.repeat(row[None], 2, axis=0), 2, axis=1)


def random_pixels(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def make(path: Path, height: int = 4, width: int = 6, *, seed: int = 0) -> np.ndarray:
    """Write a picture of random pixels. Returns them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = random_pixels(height, width, seed=seed)
    Image.fromarray(pixels).save(path)
    return pixels


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def doubled(pixels: np.ndarray) -> np.ndarray:
    return pixels.repeat(2, axis=0).repeat(2, axis=1)


def files_in(folder: Path) -> list[str]:
    """All files below a folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
