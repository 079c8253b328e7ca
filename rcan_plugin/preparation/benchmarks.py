"""Lays out the test sets Set5, Set14, B100, Urban100 and Manga109 as option files name them: `ROOT/Set5/HR`, ..."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from tqdm import tqdm

from rcan_plugin._files import naming, require_writable
from rcan_plugin.images.decode import ImageError, decode_verified
from rcan_plugin.images.header import SUFFIXES
from rcan_plugin.images.sources import Source, find_images
from rcan_plugin.preparation.crops import exact_scales, unite
from rcan_plugin.preparation.layouts import COUNTS, KIND_NAMES, LAYOUTS, Candidate, Kind, recognise

_LOSSLESS = frozenset(["BMP", "PNG", "PPM", "TIFF"])  # Pillow's names
_SHOWN = 5  # unknown folders named in an error message


def prepare_benchmarks(
    paths: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str], say: Callable[[str], object] = print
) -> list[str]:
    """Lay out the test sets in `paths` as `root/Set5/HR`, ..., each completely or not at all.

    Args:
        paths: folders and zip or tar archives; each is a test set or contains test sets.
        root: the folder of the result; sets that exist in it are kept.
        say: called with each line about what was recognised and done.

    Returns:
        The sets that were refused: nothing was written for them, and `say` was called with the reasons.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: a path cannot be read or holds no HR image of a test set, or `root` is a file; nothing was written.
        OSError: a path may not be read, or `root` may not be written to.
    """
    root = Path(root).expanduser()
    require_writable("folder of the result", root)
    _remove_unfinished(root)  # left by a run that was killed
    try:
        candidates = [
            candidate
            for number, path in enumerate(paths)
            for candidate in find_candidates(Path(path).expanduser(), root / "unpacked.part" / str(number))
        ]
        refused, missing = [], []
        for name in COUNTS:
            of_set = [candidate for candidate in candidates if candidate.name == name]
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
    """Return the HR images of test sets in a folder or archive; a tar archive is unpacked to `unpacked`.

    Raises:
        FileNotFoundError: there is no such path.
        ValueError: it cannot be read, or holds no such image.
    """
    is_tar = path.is_file() and not zipfile.is_zipfile(path)
    if is_tar:
        _unpack(path, unpacked)
    sources = find_images(unpacked if is_tar else path)
    candidates = [candidate for source in sources if (candidate := recognise(path, source))]
    if not candidates:
        examples = list({PurePosixPath(source.name).parent: source.name for source in sources}.values())
        more = f" and {len(examples) - _SHOWN} more folders" if len(examples) > _SHOWN else ""
        raise ValueError(
            f"{path}: none of its {len(sources)} images is known as HR of {', '.join(COUNTS)}. It holds "
            f"{', '.join(examples[:_SHOWN])}{more}. Known layouts: {LAYOUTS}. Rename the folders, and give a "
            "set's folder or the one above."
        )
    return candidates


def _unpack(path: Path, folder: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise ValueError(
            f"{path}: Python {sys.version.split()[0]} cannot unpack a tar archive safely: unpack it yourself and give "
            "the folder, or use the newest release of this Python."
        )
    with path.open("rb"):
        pass  # raises if the file may not be read
    folder.mkdir(parents=True)
    try:
        with naming(folder), tarfile.open(path) as archive:
            images = (member for member in archive if PurePosixPath(member.name).suffix.lower() in SUFFIXES)
            progress = tqdm(images, desc=f"unpacking {path.name}", unit="image", leave=False)
            archive.extractall(folder, progress, filter="data")
            while archive.fileobj and archive.fileobj.read(1 << 20):
                pass  # read to the end, where the checksum of the compression is
    except tarfile.FilterError as error:
        raise ValueError(f"{path} is unsafe and is not used: {error}.") from None
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        reason = str(error).partition(":\n")[0]  # the rest has a line for each kind of compression
        raise ValueError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as a zip or tar archive ({reason}): fetch it again."
        ) from None
    if not any(folder.iterdir()):
        raise ValueError(f"{path} holds no image (looked for {', '.join(sorted(SUFFIXES))}).")


def _prepare_set(name: str, candidates: list[Candidate], root: Path, say: Callable[[str], object]) -> None:
    groups: dict[tuple[Kind, str], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.kind, candidate.place), []).append(candidate)
    counts = {group: len({image.key for image in images}) for group, images in groups.items()}
    texts = {(kind, place): f"{counts[kind, place]} images, {KIND_NAMES[kind]}, in {place}" for kind, place in groups}
    complete = [group for group in groups if counts[group] == COUNTS[name]]
    if not complete:
        examples = [f"{text} (such as {groups[group][0].source.name})" for group, text in texts.items()]
        more = f"; and {len(examples) - 3} more" if len(examples) > 3 else ""
        raise ValueError(
            f"found {'; '.join(examples[:3])}{more}. Expected {COUNTS[name]} HR images: add the missing ones, or give "
            "another source."
        )
    chosen = min(complete, key=lambda group: group[0])  # the best kind; of several, the first given
    description = _describe(groups[chosen], _write(groups[chosen], root / f"{name}.part" / "HR"))
    kept = _keep_or_move(root / f"{name}.part", root / name)
    say(f"{name}: {COUNTS[name]} images, {description}, from {chosen[1]}{': exists already, kept' if kept else ''}")
    for group, text in texts.items():
        if group != chosen:
            say(f"  not used: {text}")


def _write(images: list[Candidate], folder: Path) -> set[str]:
    """Write the images of one set to a new folder; return their file formats."""
    sources = _by_key(images)
    folder.mkdir(parents=True)
    formats, errors = set(), []
    for key, by_scale in tqdm(sources.items(), desc=images[0].name, unit="image", leave=False):
        try:
            formats.add(_write_image(folder, key, by_scale))
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ValueError(
            "\n  ".join([f"{len(errors)} of {len(sources)} images in {images[0].place} cannot be used:", *errors])
        )
    return formats


def _by_key(images: list[Candidate]) -> dict[str, dict[int, Source]]:
    """The files of each image by their scale.

    Raises:
        ValueError: two files are the same image, or an image lacks a scale that another has.
    """
    sources: dict[str, dict[int, Source]] = {}
    for image in images:
        other = sources.setdefault(image.key, {}).setdefault(image.scale, image.source)
        if other is not image.source:
            raise ValueError(
                f"{other.name} and {image.source.name} in {image.place} would both be named {image.key}: remove one."
            )
    scales = {image.scale for image in images}
    for key, by_scale in sources.items():
        if lacking := scales - by_scale.keys():
            raise ValueError(
                f"{key} in {images[0].place} exists at {_listed(by_scale)} but not at {_listed(lacking)}: add the "
                f"missing images of {_listed(lacking)}, or remove all of them."
            )
    return sources


def _write_image(folder: Path, key: str, by_scale: Mapping[int, Source]) -> str:
    """Copy the original, or write the union of crops as PNG; return the file format."""
    images = {scale: _read(source) for scale, source in by_scale.items()}
    if 0 in by_scale:
        content, _, file_format = images[0]
        suffix = PurePosixPath(by_scale[0].name).suffix.lower()
        _write_file(folder / f"{key}{suffix}", content)
        return file_format
    try:
        united = unite({scale: pixels for scale, (_, pixels, _) in images.items()})
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    _write_file(folder / f"{key}.png", cv2.imencode(".png", united)[1].tobytes())
    return "PNG"


def _write_file(path: Path, content: bytes) -> None:
    with naming(path):
        path.write_bytes(content)


def _read(source: Source) -> tuple[bytes, np.ndarray, str]:
    """Read an 8-bit RGB or gray image; return the encoded image, pixels and file format."""
    try:
        header, content = source.header(), source.read()
        if header.bits != 8:
            raise ImageError(f"has {header.bits} bits a value; expected 8: convert it")
        return content, decode_verified(content), header.file_format or PurePosixPath(source.name).suffix[1:].upper()
    except ImageError as error:
        raise ValueError(f"{source.name}: {error}") from None


def _describe(images: list[Candidate], formats: set[str]) -> str:
    kind, scales = images[0].kind, sorted({image.scale for image in images})
    if kind == Kind.ORIGINAL:
        lossy = "" if formats <= _LOSSLESS else "; of the published sets only B100 was ever in a lossy format"
        return f"{KIND_NAMES[kind]} ({', '.join(sorted(formats))}{lossy})"
    if kind == Kind.MOD12:
        return f"{KIND_NAMES[kind]}: figures may differ slightly from published ones"
    layout = " (SelfExSR layout)" if "_srf_" in images[0].source.stem.lower() else ""
    text = f"{'united from ' if len(scales) > 1 else ''}{_listed(scales)} HR{layout}"
    exact = exact_scales(scales)
    if {2, 3, 4} <= set(exact):
        return text
    return f"{text}, exact at {_listed(exact)} only: at other scales a few rows and columns may be missing"


def _listed(scales: Iterable[int]) -> str:
    *most, last = [f"x{scale}" for scale in sorted(scales)]
    return f"{', '.join(most)} and {last}" if most else last


def _keep_or_move(finished: Path, target: Path) -> bool:
    """Rename the finished set to `target`. Returns True if `target` exists with the same images: those are kept.

    Raises:
        ValueError: `target` exists with other images.
    """
    if not target.exists():
        finished.rename(target)
        return False
    new, existing = _files(finished / "HR"), _files(target / "HR")
    differing = sorted(
        name
        for name in new.keys() | existing.keys()
        if name not in new or name not in existing or not _same_pixels(new[name], existing[name])
    )
    if differing:
        raise ValueError(
            f"{target} exists, and the images in its HR differ ({len(differing)} of them, such as {differing[0]}): "
            "move it away, or choose another root."
        )
    return True


def _files(folder: Path) -> dict[str, Path]:
    files = folder.glob("*")  # empty if there is no folder
    return {file.name: file for file in files if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")}


def _same_pixels(path: Path, other: Path) -> bool:
    contents = path.read_bytes(), other.read_bytes()
    if contents[0] == contents[1]:
        return True
    try:
        first, second = (decode_verified(content) for content in contents)
    except ImageError:  # the existing file may be damaged
        return False
    return np.array_equal(first, second)
