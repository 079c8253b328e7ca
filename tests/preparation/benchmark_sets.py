"""Test sets in small, and how they are laid out."""

import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

from rcan_plugin.preparation.benchmarks import prepare_benchmarks
from tests.data.tiny import picture, write

NAMES = ["baby", "bird", "butterfly", "head", "woman"]


IMAGES = {name: picture(29 + i, 35 - i, seed=i) for i, name in enumerate(NAMES)}  # at each scale some are cut


def crop(image: np.ndarray, scale: int) -> np.ndarray:
    return image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]


def make(folder: Path, template: str = "{}.png", images: dict[str, np.ndarray] = IMAGES) -> None:
    """Write images as the template names them."""
    for name, image in images.items():
        write(folder / template.format(name), image)


def make_crops(folder: Path, template: str, scales: tuple[int, ...], images: dict[str, np.ndarray] = IMAGES) -> None:
    """Write crops of images, named by the template with name and scale."""
    for scale in scales:
        for name, image in images.items():
            write(folder / template.format(name, scale), crop(image, scale))


def lines_of(paths, root) -> tuple[list[str], list[str]]:
    lines: list[str] = []
    refused = prepare_benchmarks(paths, root, lines.append)
    return lines, refused


def pixels(folder: Path) -> dict[str, np.ndarray]:
    return {file.name: cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in sorted(folder.iterdir())}


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, image in expected.items():
        np.testing.assert_array_equal(found[name], image, err_msg=name)


def all_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


OTHERS = "Not found: Set14, B100, Urban100, Manga109."


def pack(folder: Path, archive: Path) -> Path:
    """Put a folder's content into an archive, told by its ending."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as file:
            file.add(folder, ".")
    return archive
