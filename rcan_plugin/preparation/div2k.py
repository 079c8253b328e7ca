"""DIV2K as its authors hand it out: which archives and folders there are, and what they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from .download import download
from .prepare import Job, prepare
from .sources import Source, find_images
from .targets import Target

BASE_URL = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
IMAGES = {"train": 800, "valid": 100}


class Archive(NamedTuple):
    """Size in bytes and checksum of an official archive."""

    size: int
    sha256: str


ARCHIVES = {
    "DIV2K_train_HR.zip": Archive(3530603713, "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335"),
    "DIV2K_valid_HR.zip": Archive(448993893, "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc"),
}
"""As published in TensorFlow Datasets, `tensorflow_datasets/datasets/div2k/checksums.tsv`."""


def prepare_div2k(source: Path, split: str, job: Job) -> list[Target]:
    """Make one split's LMDBs of the official archives or folders.

    Where BI is wanted and the official LR images are there, they are taken; `job.out/HR.lmdb` serves as a source when
    there is no other.

    Args:
        source: folder with the official archives, or with what they hold.
        split: `train` or `valid`.
        job: what to make, and where.

    Raises:
        FileNotFoundError: there are no HR images.
        as `prepare` does.
    """
    found = locate(source, f"DIV2K_{split}_HR")
    if found is None and (job.out / "HR.lmdb").is_dir():
        job, found = replace(job, keep_hr=True), job.out / "HR.lmdb"
    if found is None:
        raise FileNotFoundError(
            f"{source} has neither DIV2K_{split}_HR.zip nor a folder DIV2K_{split}_HR (looked for from {Path.cwd()}): "
            f"fetch the archive from {BASE_URL}, or let --download do it."
        )
    hr = _read(found)
    if len(hr) != IMAGES[split]:
        print(f"{found} has {len(hr)} images; DIV2K's {split} has {IMAGES[split]}. Going on with these.")
    lr = {}
    if any(recipe.degradation.kind == "BI" for recipe in job.recipes):
        for scale in job.scales:
            place = _locate_lr(source, split, scale)
            if place is not None:
                lr[scale] = _read(place)
    return prepare(job, hr, lr)


def _read(place: Path) -> list[Source]:
    images = find_images(place)
    print(f"{place}: {len(images)} images")
    return images


def _locate_lr(source: Path, split: str, scale: int) -> Path | None:
    if scale == 8:  # which is of another year, and named in another way
        return locate(source, f"DIV2K_{split}_LR_x8")
    folder = source / f"DIV2K_{split}_LR_bicubic" / f"X{scale}"
    return folder if folder.is_dir() else locate(source, f"DIV2K_{split}_LR_bicubic_X{scale}")


def locate(source: Path, name: str) -> Path | None:
    """The folder of that name, or else the zip archive."""
    for place in (source / name, source / f"{name}.zip"):
        if place.exists():
            return place
    return None


def fetch(source: Path, splits: Sequence[str], base_url: str = BASE_URL) -> None:
    """Download the HR archives that are not there, as archives or as folders; they are read as they are.

    Raises:
        as `download` does.
    """
    for split in splits:
        name = f"DIV2K_{split}_HR"
        if locate(source, name) is None:
            source.mkdir(parents=True, exist_ok=True)
            download(base_url.rstrip("/") + f"/{name}.zip", source / f"{name}.zip", sha256=ARCHIVES[f"{name}.zip"][1])
