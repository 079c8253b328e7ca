"""Finds and downloads DIV2K as its authors distribute it: the official archives, or folders of their content."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rcan_plugin.images.sources import Source, find_images
from rcan_plugin.preparation.download import download
from rcan_plugin.preparation.prepare import Job

BASE_URL = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
IMAGE_COUNTS = {"train": 800, "valid": 100}

SHA256 = {
    "DIV2K_train_HR.zip": "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
    "DIV2K_valid_HR.zip": "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
}
"""As published in TensorFlow Datasets, `tensorflow_datasets/datasets/div2k/checksums.tsv`."""


def find_split(source: Path, split: str, job: Job) -> tuple[Job, list[Source], dict[int, list[Source]]]:
    """Find the images of one split; print what is used.

    The official LR images are used if BI is wanted and they exist. `job.out/HR.lmdb` is the source of HR images if
    there is no other.

    Args:
        source: folder of the official archives, or of folders of their content.
        split: `train` or `valid`.
        job: what to make, and where.

    Returns:
        The arguments for `prepare`: the job (with `keep_hr` set if needed), HR images, LR images by scale.

    Raises:
        FileNotFoundError: there are no HR images.
        ValueError: an archive is damaged, or a folder holds no image; or sub-images are to be cut from `HR.lmdb`.
    """
    name = f"DIV2K_{split}_HR"
    place = locate(source, name)
    existing = job.out / "HR.lmdb"
    if place is None and existing.is_dir():
        if job.sub_images:
            raise ValueError(
                f"{existing} may already be cut into sub-images, and there is neither {source / f'{name}.zip'} nor a "
                "folder of that name to cut again: put one there, or leave out --sub-images."
            )
        job, place = replace(job, keep_hr=True), existing
    if place is None:
        raise FileNotFoundError(
            f"There is neither {source / f'{name}.zip'} nor a folder of that name (looked for from {Path.cwd()}): "
            f"download the archive from {BASE_URL}, or use --download."
        )
    hr = _find_and_print(place)
    if len(hr) != IMAGE_COUNTS[split]:
        print(f"{place} has {len(hr)} images; DIV2K's {split} has {IMAGE_COUNTS[split]}. Continuing with these.")
    lr = {}
    if any(recipe.degradation.kind == "BI" for recipe in job.recipes):
        places = {scale: _locate_lr(source, split, scale) for scale in job.scales}
        lr = {scale: _find_and_print(place) for scale, place in places.items() if place is not None}
    return job, hr, lr


def _find_and_print(place: Path) -> list[Source]:
    images = find_images(place, print)
    print(f"{place}: {len(images)} images")
    return images


def _locate_lr(source: Path, split: str, scale: int) -> Path | None:
    if scale == 8:  # published in another year, under another name
        return locate(source, f"DIV2K_{split}_LR_x8")
    folder = source / f"DIV2K_{split}_LR_bicubic" / f"X{scale}"
    return folder if folder.is_dir() else locate(source, f"DIV2K_{split}_LR_bicubic_X{scale}")


def locate(source: Path, name: str) -> Path | None:
    """Return the folder of that name or, if there is none, the zip archive; None if there is neither."""
    for place in (source / name, source / f"{name}.zip"):
        if place.exists():
            return place
    return None


def fetch(source: Path, splits: Iterable[str], base_url: str = BASE_URL) -> None:
    """Download HR archives; existing archives and folders are kept.

    Raises:
        The errors of `download`.
    """
    for split in splits:
        name = f"DIV2K_{split}_HR"
        if not (source / name).exists():  # an archive that exists is kept by `download`
            download(f"{base_url.rstrip('/')}/{name}.zip", source / f"{name}.zip", SHA256[f"{name}.zip"])
