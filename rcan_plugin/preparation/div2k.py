"""DIV2K as its authors hand it out: which archives and folders there are, and what they become."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rcan_plugin.images.sources import Source, find_images
from rcan_plugin.preparation.download import download
from rcan_plugin.preparation.prepare import Job

BASE_URL = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
IMAGES = {"train": 800, "valid": 100}

SHA256 = {
    "DIV2K_train_HR.zip": "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
    "DIV2K_valid_HR.zip": "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
}
"""As published in TensorFlow Datasets, `tensorflow_datasets/datasets/div2k/checksums.tsv`."""


def find(source: Path, split: str, job: Job) -> tuple[Job, list[Source], dict[int, list[Source]]]:
    """Find what one split is made of, saying what it is: the official archives, or folders with what they hold.

    The official LR images belong to it where BI is wanted and they are there. `job.out/HR.lmdb` serves as the source
    when there is no other.

    Args:
        source: folder with the official archives, or with what they hold.
        split: `train` or `valid`.
        job: what to make, and where.

    Returns:
        What `prepare` is to be called with.

    Raises:
        FileNotFoundError: there are no HR images.
        ValueError: an archive is damaged, or a folder holds no image; or sub-images are to be cut of `HR.lmdb`.
    """
    place = locate(source, f"DIV2K_{split}_HR")
    made = job.out / "HR.lmdb"
    if place is None and made.is_dir():
        if job.sub_images:
            raise ValueError(
                f"{made} may be cut into sub-images already, and there is neither {source / f'DIV2K_{split}_HR.zip'} "
                "nor a folder of that name to cut again: put one there, or leave out --sub-images."
            )
        job, place = replace(job, keep_hr=True), made
    if place is None:
        raise FileNotFoundError(
            f"There is neither {source / f'DIV2K_{split}_HR.zip'} nor a folder of that name (looked for from "
            f"{Path.cwd()}): fetch the archive from {BASE_URL}, or let --download do it."
        )
    hr = _read(place)
    if len(hr) != IMAGES[split]:
        print(f"{place} has {len(hr)} images; DIV2K's {split} has {IMAGES[split]}. Going on with these.")
    lr = {}
    if any(recipe.degradation.kind == "BI" for recipe in job.recipes):
        found = {scale: _locate_lr(source, split, scale) for scale in job.scales}
        lr = {scale: _read(place) for scale, place in found.items() if place is not None}
    return job, hr, lr


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


def fetch(source: Path, splits: Iterable[str], base_url: str = BASE_URL) -> None:
    """Download HR archives; those that are there, as archives or as folders, are left as they are.

    Raises:
        as `download` does.
    """
    for split in splits:
        name = f"DIV2K_{split}_HR"
        if locate(source, name) is None:
            download(f"{base_url.rstrip('/')}/{name}.zip", source / f"{name}.zip", sha256=SHA256[f"{name}.zip"])
