"""Sets of three images of each kind, their LR images, and what stands in folders."""

import json
from pathlib import Path

import numpy as np

from rcan_plugin.degradations import degrade, noise_rng
from tests.preparation.scenes import scene, write_all

NAMES = ["0001", "0002", "0003"]


COLOUR = {name: scene(40 + i, 51 - i, seed=i) for i, name in enumerate(NAMES)}


GRAY = {name: scene(40 + i, 51 - i, seed=i, channels=1) for i, name in enumerate(NAMES)}


DEEP = {name: scene(40 + i, 51 - i, seed=i, dtype=np.uint16) for i, name in enumerate(NAMES)}


DEEP_GRAY = {name: scene(40 + i, 51 - i, seed=i, dtype=np.uint16, channels=1) for i, name in enumerate(NAMES)}


SETS = {"colour": COLOUR, "gray": GRAY, "deep": DEEP, "deep gray": DEEP_GRAY}


def small(images: dict[str, np.ndarray], kind: str = "BI", scale: int = 2, **more) -> dict[str, np.ndarray]:
    """LR images as they should be."""
    return {name: degrade(image, scale, kind, rng=noise_rng(0, name), **more) for name, image in images.items()}


def record(folder: Path) -> dict:
    return json.loads((folder / "degradation.json").read_text())


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def unusable_in(raised) -> list[tuple[str, str]]:
    return [(image.place, image.reason) for image in raised.value.images]


def lr_renamed(folder: Path, images: dict[str, np.ndarray]) -> Path:
    return write_all(folder, {f"{name}x2": image for name, image in images.items()})


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
