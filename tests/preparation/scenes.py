"""Small images of all kinds, and what is in the LMDBs made of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
from PIL import Image

from rcan_plugin.degradations import Degradation
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.images.environments import close_environments
from rcan_plugin.images.sources import find_images
from rcan_plugin.preparation.prepare import Job, prepare
from rcan_plugin.preparation.targets import Target
from tests.data.tiny import picture, write

BI, BD, DN = (Recipe(Degradation(kind)) for kind in ("BI", "BD", "DN"))


def scene(height: int, width: int, seed: int, dtype: Any = np.uint8, channels: int = 3) -> np.ndarray:
    """Smooth places, an edge, and nothing near black and white: what shrinks to something like itself."""
    image = cv2.GaussianBlur(picture(height, width, seed, channels=channels).astype(np.float32), (0, 0), 1.5)
    image = 128 + (image - image.mean()) * 2.5
    image[height // 3 :, width // 4 : width // 2] += 30
    return (image.clip(40, 215) * (np.iinfo(dtype).max // 255)).astype(dtype)


def encoded(image: np.ndarray, form: str = "PNG", mode: str = "RGB", **more: Any) -> bytes:
    """The image as Pillow writes it."""
    file = io.BytesIO()
    Image.fromarray(image[..., ::-1] if image.ndim == 3 else image).convert(mode).save(file, form, **more)
    return file.getvalue()


def put(path: Path, content: bytes) -> Path:
    """Write a file, and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_all(folder: Path, images: dict[str, np.ndarray]) -> Path:
    """Write images as PNG."""
    for name, image in images.items():
        write(folder / f"{name}.png", image)
    return folder


def make(out: Path, hr: Path, lr: dict[int, Path] | None = None, **settings: Any) -> list[Target]:
    """Prepare as the script does."""
    return prepare(
        Job(out, **settings), find_images(hr), {scale: find_images(one) for scale, one in (lr or {}).items()}
    )


def values(folder: Path) -> dict[str, bytes]:
    """All that data.mdb holds."""
    close_environments()  # lmdb would refuse a second one
    with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return {key.decode("ascii"): bytes(value) for key, value in transaction.cursor()}


def pixels(folder: Path) -> dict[str, np.ndarray]:
    """The images of an LMDB, as OpenCV decodes them, of their own depth and channels."""
    images = {}
    for key, value in values(folder).items():
        images[key] = cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_UNCHANGED)
        assert images[key] is not None, key
    return images


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """The same names, and of each the same values, of one type."""
    assert sorted(found) == sorted(expected)
    for name, image in expected.items():
        assert found[name].dtype == image.dtype, name
        np.testing.assert_array_equal(found[name], image, err_msg=name)
