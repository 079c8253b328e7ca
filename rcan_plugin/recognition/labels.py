"""Reads the list of images and their classes, and finds the images in a folder."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rcan_plugin._files import require_file, require_folder
from rcan_plugin.images.header import is_image_name
from rcan_plugin.upscaling.inputs import find

_NAMED = 5
"""Most names in a message."""


@dataclass(frozen=True)
class Labelled:
    """An image and its class.

    Attributes:
        name: as in the list.
        label: number of the class, from 0.
    """

    name: str
    label: int
    path: Path


def read(labels: str | os.PathLike[str], folder: str | os.PathLike[str], first: int | None = None) -> list[Labelled]:
    """Read a list of images and classes, and find the images.

    Args:
        labels: text file (UTF-8) with lines `NAME CLASS`, as ImageNet's `val.txt`, or CSV with NAME and CLASS as its
            first columns, with or without a heading. A name may leave out the suffix, or the folders below `folder`.
        folder: folder of the images, with its subfolders.
        first: use only the first lines; RCAN's paper uses 1,000. Images without a label are then left out.

    Returns:
        The images, in the order of the list.

    Raises:
        FileNotFoundError: the list or the folder is missing.
        ValueError: a line has no class; a name is listed twice, has no image or several; an image has no label.
    """
    require_file("--labels", labels)
    require_folder("--images", folder)
    rows = _rows(Path(labels))[:first]
    paths = _paths(Path(folder))
    places = {name: _places(name, paths) for name, _ in rows}
    problems = {
        f"are listed in {labels} and not in {folder}": [name for name, found in places.items() if not found],
        f"are listed in {labels} and fit several images of {folder}": [
            name for name, found in places.items() if len(found) > 1
        ],
    }
    used = {path for found in places.values() for path in found}
    if first is None:
        left = sorted({path for found in paths.values() for path in found} - used)
        problems[f"are in {folder} and not listed in {labels}"] = [str(path.relative_to(folder)) for path in left]
    texts = [f"{in_short(names)} {what}" for what, names in problems.items() if names]
    if texts:
        raise ValueError(f"{'; '.join(texts)}: complete the list or the folder (--first N takes N lines of the list).")
    if len(used) < len(places):
        raise ValueError(f"{labels}: {in_short(_of_one_image(places))} are the same image: leave all but one out.")
    return [Labelled(name, label, places[name][0]) for name, label in rows]


def check_classes(images: Sequence[Labelled], classes: int, labels: str | os.PathLike[str]) -> None:
    """Check that a classifier has the classes of all images.

    Raises:
        ValueError: an image has a class that the classifier lacks; the message names the images.
    """
    beyond = [f"{image.name} ({image.label})" for image in images if image.label >= classes]
    if not beyond:
        return
    from_one = min(image.label for image in images) == 1 and max(image.label for image in images) == classes
    hint = "the list counts from 1: subtract 1" if from_one else "correct the list, or take the classifier's own list"
    raise ValueError(
        f"{labels}: {in_short(beyond)} have a class that the classifier lacks; it has 0 to {classes - 1}: {hint}."
    )


def in_short(names: Sequence[str]) -> str:
    """The first names, and how many there are in all.

    >>> in_short(["a", "b"]), in_short(list("abcdefgh"))
    ('a, b', 'a, b, c, d, e and 3 more')
    """
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _rows(path: Path) -> list[tuple[str, int]]:
    """Names and classes in a list, each name once."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"--labels: {path} is not UTF-8 text ({error}): save it as UTF-8.") from None
    rows: dict[str, int] = {}
    heading = True
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, label = _split(line)
        if name and label.isascii() and label.isdigit():
            if name in rows:
                raise ValueError(f"--labels: {path}, line {number}: {name} is listed twice: leave one out.")
            rows[name] = int(label)
        elif not (heading and "," in line and not is_image_name(name)):
            raise ValueError(
                f"--labels: {path}, line {number} is {line.strip()[:80]!r}; expected NAME CLASS, the class a whole "
                "number from 0 (ImageNet's val.txt, not names of classes or WordNet's ids)."
            )
        heading = False
    if not rows:
        raise ValueError(f"--labels: {path} lists no image; expected lines NAME CLASS.")
    return list(rows.items())


def _split(line: str) -> tuple[str, str]:
    """Name and class in a line; "" if one is missing."""
    if "," in line:
        name, label = [*next(csv.reader([line], skipinitialspace=True)), "", ""][:2]
    else:
        name, label = [*line.rsplit(None, 1), ""][:2]
    return name.strip(), label.strip()


def _paths(folder: Path) -> dict[str, list[Path]]:
    """The images in a folder by each name that a list may use."""
    paths = defaultdict(list)
    inputs = find([str(folder)], folder, is_image_name)
    if inputs.failures:
        path, reason = next(iter(inputs.failures.items()))
        raise ValueError(f"--images: {path}: {reason}")
    if not inputs.found:
        raise ValueError(f"--images: {folder} has no images.")
    for found in inputs.found:
        for name in _names(found.below):
            paths[name].append(found.path)
    return paths


def _names(below: Path) -> Iterable[str]:
    """Names that a list may use for an image: with and without folders, with and without suffix, each once."""
    whole = PurePosixPath(below.as_posix())
    return dict.fromkeys([str(whole), whole.name, str(whole.with_suffix("")), whole.stem])


def _places(name: str, paths: dict[str, list[Path]]) -> list[Path]:
    return paths.get(str(PurePosixPath(name.replace("\\", "/"))), [])


def _of_one_image(places: dict[str, list[Path]]) -> list[str]:
    """The first names in the list that refer to the same image."""
    names = defaultdict(list)
    for name, found in places.items():
        names[found[0]].append(name)
    return next(group for group in names.values() if len(group) > 1)
