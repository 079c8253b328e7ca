"""The test sets Set5, Set14, B100, Urban100 and Manga109: from the layouts that people have to `ROOT/Set5/HR`, ..."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import sys
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from rcan_plugin.images.sources import READING_FAILS, Source, find_images, key_of
from rcan_plugin.images.store import SUFFIXES

COUNTS = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "Manga109": 109}
"""The test sets, and how many images each has."""

LAYOUTS = (
    "Set5/HR/*, Set5/original/*, Set5/*, OriginalTestData/Set5/*, Set5/image_SRF_4/*_SRF_4_HR.png, "
    "HR/Set5/x4/*_HR_x4.png, Set5/GTmod12/*, in a folder or in a zip or tar archive"
)
SCALES = (2, 3, 4, 8)
LOSSLESS = frozenset(["BMP", "PNG", "PPM", "TIFF"])  # Pillow's names

# What folders, in lower case, say of the images in them.
ALIASES = {name.lower(): name for name in COUNTS} | {"bsd100": "B100", "bsds100": "B100"}
SET = re.compile(rf"({'|'.join(ALIASES)})((?:[ _-](?:sr|hr|gt|master|main))*)")
WHOLE = re.compile(r"hr|gt|originals?|originaltestdata|ground_?truth|images?")
CROPPED = re.compile(r"(?:image_)?(?:srf_?|(?:hr|gt)?_?(?:x|mod))([2348])")
MOD12 = re.compile(r"(?:hr|gt)?_?mod12")
NOT_HR = re.compile(r"l[rq].*|sr|bicubic.*|results?|visualization")

# What the names of images say. SelfExSR has the output of many methods beside the HR: `img_001_SRF_4_SRCNN`.
HR_STEM = re.compile(r"(.+?)(?:_SRF_([2348]))?_(?:HR|GT)(?:_x([2348]))?", re.IGNORECASE)
NOT_HR_STEM = re.compile(r".+_(?:SRF_\d.*|x\d|L[RQ](?:B[ID]|DN)?(?:_?x\d)?|bicubic|nearest)", re.IGNORECASE)


class Kind(IntEnum):
    """What the images of a set are, the best first; `HALF` is never used."""

    ORIGINAL = 0
    CROPPED = 1
    MOD12 = 2
    HALF = 3


WORDS = {
    Kind.ORIGINAL: "originals",
    Kind.CROPPED: "HR cropped to multiples of the scale",
    Kind.MOD12: "cropped to multiples of 12 (GTmod12)",
    Kind.HALF: "half the size of the others' (SelfExSR's x2 of Urban100; its x4 has the full size)",
}


@dataclass(frozen=True)
class Candidate:
    """An HR image of a test set, as its path tells.

    Attributes:
        name: the test set.
        kind: what the image is.
        place: where its set is, for messages; the same for all images of one kind that belong together.
        key: the image's name in the result, without ending.
        scale: what it was cropped for, 0 if for none.
        source: the image.
    """

    name: str
    kind: Kind
    place: str
    key: str
    scale: int
    source: Source


def prepare_benchmarks(
    paths: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str], say: Callable[[str], object] = print
) -> list[str]:
    """Lay out the test sets that the paths hold as `root/Set5/HR`, ..., each whole or not at all.

    Args:
        paths: folders and zip or tar archives; each is a test set or holds some.
        root: the folder to lay them out in; a set that is there already is kept.
        say: is given, line by line, what was recognised and what was done.

    Returns:
        The sets that were refused; nothing was written for them, and `say` was given the reasons.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: a path cannot be read or holds no HR image of a test set; nothing was written.
    """
    root = Path(root).expanduser()
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file; expected a folder, or the name of a new one.")
    _remove_unfinished(root)  # of a run that was killed
    try:
        found = [
            candidate
            for number, path in enumerate(paths)
            for candidate in find_candidates(Path(path).expanduser(), root / "unpacked.part" / str(number))
        ]
        refused, missing = [], []
        for name in COUNTS:
            of_set = [candidate for candidate in found if candidate.name == name]
            if not of_set:
                missing.append(name)
                continue
            try:
                _prepare_set(name, of_set, root, say)
            except ValueError as error:
                say(f"{name}: refused: {error}")
                refused.append(name)
        if missing:
            say(f"Not found: {', '.join(missing)}.")
        return refused
    finally:
        _remove_unfinished(root)


def _remove_unfinished(root: Path) -> None:
    for name in ("unpacked", *COUNTS):
        shutil.rmtree(root / f"{name}.part", ignore_errors=True)


def find_candidates(path: Path, unpacked: Path) -> list[Candidate]:
    """The HR images of test sets in a folder or archive; a tar archive is unpacked to `unpacked`.

    Raises:
        FileNotFoundError: there is no such path.
        ValueError: it cannot be read, or holds no such image.
    """
    is_tar = path.is_file() and not zipfile.is_zipfile(path)
    if is_tar:
        _unpack(path, unpacked)
    sources = find_images(unpacked if is_tar else path)
    found = [candidate for source in sources if (candidate := recognise(path, source))]
    if not found:
        seen = list({PurePosixPath(source.name).parent: source.name for source in sources}.values())
        more = f" and {len(seen) - 5} more folders" if len(seen) > 5 else ""
        raise ValueError(
            f"{path}: none of its {len(sources)} images is known as HR of {', '.join(COUNTS)}. There are "
            f"{', '.join(seen[:5])}{more}. Known layouts: {LAYOUTS}. Rename the folders, and give that of a set or the "
            "one above."
        )
    return found


def _unpack(path: Path, folder: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise ValueError(
            f"{path}: Python {sys.version.split()[0]} cannot unpack a tar archive safely: unpack it yourself and give "
            "the folder, or use the newest release of this Python."
        )
    folder.mkdir(parents=True)
    try:
        with tarfile.open(path) as archive:
            images = (member for member in archive if PurePosixPath(member.name).suffix.lower() in SUFFIXES)
            shown = tqdm(images, desc=f"unpacking {path.name}", unit="image", leave=False)
            archive.extractall(folder, shown, filter="data")
            while archive.fileobj and archive.fileobj.read(1 << 20):
                pass  # the checksum of what is compressed is at its end
    except tarfile.FilterError as error:
        raise ValueError(f"{path} is not to be trusted, and nothing of it is used: {error}.") from None
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        reason = str(error).partition(":\n")[0]  # below it, one line for each way of compression
        raise ValueError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as a zip or tar archive ({reason}): fetch it again."
        ) from None
    if not any(folder.iterdir()):
        raise ValueError(f"{path} holds no image (looked for {', '.join(sorted(SUFFIXES))}).")


def recognise(path: Path, source: Source) -> Candidate | None:
    """Which image of which test set `source` is, by the folders' names and its own; None if it is not known as HR.

    Args:
        path: the folder or archive that `source` is in; of its folders only the last counts, an archive counts as a
            folder of its name without ending.
        source: the image.
    """
    top = path.name if path.name not in ("", "..") else path.resolve().name
    if path.is_file():
        top = re.sub(r"(\.tar)?\.\w+$", "", top, flags=re.IGNORECASE)
    below = PurePosixPath(source.name).parts[:-1]
    folders = [folder.lower() for folder in (top, *below)]
    sets = [(depth, match) for depth, folder in enumerate(folders) if (match := SET.fullmatch(folder))]
    stem = HR_STEM.fullmatch(source.stem)
    if not sets or any(map(NOT_HR.fullmatch, folders)) or (not stem and NOT_HR_STEM.fullmatch(source.stem)):
        return None
    depth, match = sets[-1]
    # In a set, a folder of unknown meaning may hold some method's output.
    if not all(any(known.fullmatch(name) for known in (WHOLE, CROPPED, MOD12)) for name in folders[depth + 1 :]):
        return None
    scales = [cropped[1] for folder in folders if (cropped := CROPPED.fullmatch(folder))]
    scale = int((stem and (stem[2] or stem[3])) or (scales[-1] if scales else 0))
    # `Set5/x4` may be LR, and `Set5_SR` results: there, HR must be said.
    says_hr = stem or any(folder.startswith(("hr", "gt", "original", "ground")) for folder in folders)
    if (scale or "sr" in match[2]) and not says_hr:
        return None

    name = ALIASES[match[1]]
    if any(map(MOD12.fullmatch, folders)):
        kind, scale = Kind.MOD12, 0
    elif name == "Urban100" and stem and stem[2] == "2":
        # Bicubic has 26.6 dB on these; on the x4 HR it has what is published, 26.9 dB at x2 and 23.1 dB at x4.
        kind = Kind.HALF
    else:
        kind = Kind.CROPPED if scale else Kind.ORIGINAL
    inside = "/".join(below[:depth] if scale else below)
    place = f"{path}{': ' if path.is_file() else '/'}{inside}" if inside else str(path)
    return Candidate(name, kind, place, key_of(stem[1] if stem else source.stem), scale, source)


def _prepare_set(name: str, found: list[Candidate], root: Path, say: Callable[[str], object]) -> None:
    groups: dict[tuple[Kind, str], list[Candidate]] = {}
    for candidate in found:
        groups.setdefault((candidate.kind, candidate.place), []).append(candidate)
    counts = {group: len({image.key for image in images}) for group, images in groups.items()}
    texts = {(kind, place): f"{counts[kind, place]} images, {WORDS[kind]}, in {place}" for kind, place in groups}
    whole = [group for group in groups if counts[group] == COUNTS[name] and group[0] != Kind.HALF]
    if not whole:
        examples = [f"{text} (such as {groups[group][0].source.name})" for group, text in texts.items()]
        more = f"; and {len(examples) - 3} more" if len(examples) > 3 else ""
        raise ValueError(
            f"found {'; '.join(examples[:3])}{more}. Expected {COUNTS[name]} HR images: complete them, or give another "
            "source."
        )
    chosen = min(whole, key=lambda group: group[0])  # the best kind, and of that the first given
    what = _describe(groups[chosen], _write(groups[chosen], root / f"{name}.part" / "HR"))
    kept = _keep_or_move(root / f"{name}.part", root / name)
    say(f"{name}: {COUNTS[name]} images, {what}, from {chosen[1]}{': is there already, kept' if kept else ''}")
    for group, text in texts.items():
        if group != chosen:
            say(f"  passed over: {text}")


def _by_key(images: list[Candidate]) -> dict[str, dict[int, Source]]:
    """The files of each image by their scale.

    Raises:
        ValueError: two files are the same image, or an image lacks a scale that another has.
    """
    crops: dict[str, dict[int, Source]] = {}
    for image in images:
        other = crops.setdefault(image.key, {}).setdefault(image.scale, image.source)
        if other is not image.source:
            raise ValueError(
                f"{other.name} and {image.source.name} in {image.place} would both be named {image.key}: remove one."
            )
    scales = {image.scale for image in images}
    for key, of_scale in crops.items():
        if lacking := scales - of_scale.keys():
            raise ValueError(
                f"{key} in {images[0].place} is there at {_listed(of_scale)} but not at {_listed(lacking)}: complete "
                f"the images of {_listed(lacking)}, or remove all of them."
            )
    return crops


def _write(images: list[Candidate], folder: Path) -> set[str]:
    """Write one set's images to a new folder; gives the formats that they came in."""
    crops = _by_key(images)
    folder.mkdir(parents=True)
    formats, bad = set(), []
    for key, of_scale in tqdm(crops.items(), desc=images[0].name, unit="image", leave=False):
        try:
            formats.add(_write_image(folder, key, of_scale))
        except ValueError as error:
            bad.append(str(error))
    if bad:
        raise ValueError("\n  ".join([f"{len(bad)} of {len(crops)} images in {images[0].place} are of no use:", *bad]))
    return formats


def _write_image(folder: Path, key: str, crops: Mapping[int, Source]) -> str:
    """Copy an original, or write the union of its crops as PNG; gives its format."""
    read = {scale: _read(source) for scale, source in crops.items()}
    if 0 in crops:
        content, image = read[0]
        ending = PurePosixPath(crops[0].name).suffix.lower()
        (folder / f"{key}{ending}").write_bytes(content)
        return str(image.format)
    try:
        united = unite({scale: np.asarray(image) for scale, (_, image) in read.items()})
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    Image.fromarray(united).save(folder / f"{key}.png")
    return "PNG"


def _read(source: Source) -> tuple[bytes, Image.Image]:
    try:
        content = source.read()
    except READING_FAILS as error:
        raise ValueError(f"{source.name}: cannot be read ({error}): fetch it again") from None
    try:
        return content, decode(content)
    except ValueError as error:
        raise ValueError(f"{source.name}: {error}") from None


def _describe(images: list[Candidate], formats: set[str]) -> str:
    kind, scales = images[0].kind, sorted({image.scale for image in images})
    if kind == Kind.ORIGINAL:
        lossy = "" if formats <= LOSSLESS else "; of the published sets only B100 was ever in a lossy format"
        return f"{WORDS[kind]} ({', '.join(sorted(formats))}{lossy})"
    if kind == Kind.MOD12:
        return f"{WORDS[kind]}: figures may differ slightly from published ones"
    layout = " (SelfExSR layout)" if "_srf_" in images[0].source.stem.lower() else ""
    united = f"{'united from ' if len(scales) > 1 else ''}{_listed(scales)} HR{layout}"
    exact = [scale for scale in SCALES if any(scale % present == 0 for present in scales)]
    if set(exact) >= {2, 3, 4}:
        return united
    return f"{united}, exact at {_listed(exact)} only: at other scales a few rows and columns may be missing"


def _listed(scales: Iterable[int]) -> str:
    *most, last = [f"x{scale}" for scale in sorted(scales)]
    return f"{', '.join(most)} and {last}" if most else last


def decode(content: bytes) -> Image.Image:
    """Decode an encoded image to its end.

    Raises:
        ValueError: it is damaged, or neither RGB nor gray.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content))
            image.load()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(f"damaged or cut short ({reason}; {len(content)} bytes): fetch it again") from None
    transparent = " with transparency" if "transparency" in image.info else ""
    if image.mode not in ("L", "RGB") or transparent:
        raise ValueError(
            f"of Pillow's mode {image.mode}{transparent}; expected RGB or gray (L): convert it, or fetch another"
        )
    return image


def unite(crops: Mapping[int, np.ndarray]) -> np.ndarray:
    """The image that `crops`, each cut at the bottom and the right to a multiple of its scale, are of; as far as known.

    Cropped again to a scale s it is the whole image cropped to s, if `crops` has s or a divisor of it: say t. For
    the crop for t reaches at least as far as one for s, and no crop reaches past the image. A corner that no crop has
    (the height from one, the width from another) repeats the border of the largest; it is used at no such scale.

    Args:
        crops: H x W [x C] arrays by scale.

    Returns:
        An array as high as the highest of them and as wide as the widest.

    Raises:
        ValueError: they are not crops of one image.
    """
    height, width = (max(crop.shape[axis] for crop in crops.values()) for axis in (0, 1))
    largest = max(crops.values(), key=lambda crop: crop.size)
    more = [(0, height - largest.shape[0]), (0, width - largest.shape[1])] + [(0, 0)] * (largest.ndim - 2)
    united = np.pad(largest, more, mode="edge")
    for scale, crop in crops.items():
        if crop.shape != (height // scale * scale, width // scale * scale, *united.shape[2:]):
            sizes = ", ".join(f"x{scale} {crop.shape[1]}x{crop.shape[0]}" for scale, crop in crops.items())
            raise ValueError(f"not crops of one image, by their sizes or channels ({sizes}): fetch them again")
        united[: crop.shape[0], : crop.shape[1]] = crop
    for scale, crop in crops.items():
        if not np.array_equal(united[: crop.shape[0], : crop.shape[1]], crop):
            raise ValueError(f"not crops of one image: that of x{scale} has other values: fetch them again")
    return united


def _keep_or_move(made: Path, target: Path) -> bool:
    """Give the finished set its name, or say True if the same images have it already; those are kept."""
    if not target.exists():
        made.rename(target)
        return False
    new, there = _files(made / "HR"), _files(target / "HR")
    differing = sorted(
        name
        for name in new.keys() | there.keys()
        if name not in new or name not in there or not _same(new[name], there[name])
    )
    if differing:
        raise ValueError(
            f"{target} is there, and the images in its HR are others ({len(differing)} differ, such as "
            f"{differing[0]}): move it away, or choose another root."
        )
    return True


def _files(folder: Path) -> dict[str, Path]:
    found = folder.glob("*")  # none where there is no folder
    return {file.name: file for file in found if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")}


def _same(one: Path, other: Path) -> bool:
    contents = [file.read_bytes() for file in (one, other)]
    if contents[0] == contents[1]:
        return True
    try:
        first, second = (np.asarray(decode(content)) for content in contents)
    except ValueError:  # what is there may be damaged
        return False
    return np.array_equal(first, second)
