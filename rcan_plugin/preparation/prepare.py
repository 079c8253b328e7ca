"""Makes the LMDBs of a set of images side by side: `OUT/HR.lmdb`, `OUT/LRBI_x2.lmdb`, ..."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from rcan_plugin._files import require_writable
from rcan_plugin.degradations.record import Recipe, Record
from rcan_plugin.images.sources import Source
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.checksums import read_checksums
from rcan_plugin.preparation.convert import convert, find_all_unusable, map_in_order, thread_count
from rcan_plugin.preparation.items import Item, SubImages, UnusableImage, UnusableImagesError
from rcan_plugin.preparation.plan import make_plan
from rcan_plugin.preparation.targets import Target, fingerprint, identify_given, png_share, raw_bytes
from rcan_plugin.preparation.work_folder import (
    free_bytes,
    gigabytes,
    keep_only_if_same,
    locked_folder,
    readable_disk_errors,
    used_bytes,
)
from rcan_plugin.preparation.writer import Writer, move_into_place


@dataclass(frozen=True)
class Job:
    """What `prepare` makes from the images of one set.

    Attributes:
        out: folder of the LMDBs, created if needed. Unfinished LMDBs are in `OUT.part`.
        recipes, scales: LR images wanted: each recipe at each scale. They are made unless they are given.
        codec: `raw` (binary PNM, cropped without decoding) or `png` (as BasicSR's tools write it).
        sub_images: size and step in HR pixels, to cut all images into squares.
        skip_bad: leave out unusable images instead of raising an error.
        keep_hr: the HR images are in `OUT/HR.lmdb`; it is kept unchanged, and so are LR images made from it.
    """

    out: Path
    recipes: Sequence[Recipe] = ()
    scales: Sequence[int] = ()
    codec: str = "raw"
    sub_images: tuple[int, int] | None = None
    skip_bad: bool = False
    keep_hr: bool = False


def prepare(job: Job, hr: Sequence[Source], lr: Mapping[int, Sequence[Source]] | None = None) -> list[Target]:
    """Make the LMDBs of a set, with progress messages. A stopped run is resumed; existing LMDBs are kept.

    Args:
        job: what is to be made.
        hr: HR images.
        lr: given LR images by scale.

    Returns:
        The LMDBs in `job.out`, HR first.

    Raises:
        UnusableImagesError: images cannot be used, and `skip_bad` is not set, or none remain.
        FileExistsError: an existing LMDB was made from other images or in another way.
        OSError: no space, or the folder cannot be written to; the message says what is kept.
        RuntimeError: another run is writing to the same folder.
        ValueError: the settings do not fit the images, or `out` cannot be created.
    """
    check_out(job.out)
    lr = lr or {}
    sub_images = SubImages.for_scales(*job.sub_images, [*job.scales, *lr]) if job.sub_images else None
    items, unusable = make_plan(hr, lr, sub_images, max(job.scales, default=1))
    given = identify_given(items, lr) if items else []
    if not items or (unusable and not job.skip_bad):
        sources = [*hr, *(source for sources in lr.values() for source in sources)]
        raise UnusableImagesError([*unusable, *find_all_unusable(items, sources, [Target(), *given], unusable)])
    targets = [Target(), *given, *_targets_to_make(job, given)]
    if twice := [name for name, count in Counter(target.name for target in targets).items() if count > 1]:
        raise ValueError(f"{job.out}: two LMDBs would be named {twice[0]}: make them in two folders.")
    made_of = {target: fingerprint(target, items, job.codec, sub_images) for target in targets}

    with locked_folder(job.out) as work:
        missing = [target for target in targets if not _exists(job, target, made_of[target])]
        if missing:
            with readable_disk_errors(work):
                keep_only_if_same(work, "".join(made_of.values()))
            _print_indivisible(items, targets, sub_images)
            _check_space(job, work, items, sum(raw_bytes(target, items, sub_images) for target in missing))
            with readable_disk_errors(work):
                _write(job, work, missing, items, sub_images, made_of, unusable)
    _check_same_keys(job.out, targets)
    return targets


def check_out(out: Path) -> None:
    """Check that LMDBs can be made in a folder, which is created if needed.

    Raises:
        ValueError: the folder, or one above it, is a file or has no name.
        OSError: it may not be written to, or the disk is full.
    """
    if out.name in ("", ".."):
        raise ValueError(f"{out} cannot be the folder of the LMDBs: name a folder; it is created if needed.")
    require_writable("folder of the LMDBs", out)


def _targets_to_make(job: Job, given: Sequence[Target]) -> list[Target]:
    given_kinds = {(target.scale, target.recipe.degradation.kind) for target in given if target.recipe}
    return [
        _as_recorded(job, Target(scale, recipe))
        for recipe in job.recipes
        for scale in job.scales
        if (scale, recipe.degradation.kind) not in given_kinds
    ]


def _as_recorded(job: Job, target: Target) -> Target:
    """With `keep_hr`, the existing LMDB of that name, which may have another border; otherwise the target itself."""
    record = Record.read(job.out / f"{target.name}.lmdb") if job.keep_hr else None
    return Target(target.scale, record.recipe) if record else target


def _exists(job: Job, target: Target, made_of: str) -> bool:
    """Whether the LMDB exists already. Raises an error if an LMDB of other content exists."""
    final = job.out / f"{target.name}.lmdb"
    if not final.exists():
        return False
    try:
        checksums = read_checksums(final)
    except ValueError as error:
        raise FileExistsError(f"{error}: check it with verify-lmdb, or remove {final}.") from None
    kept = job.keep_hr and not target.given
    if not kept and (checksums is None or checksums["made_of"] != made_of):
        raise FileExistsError(
            f"{final} exists and was made of other images (or of copies with another date), or in another way: "
            "remove it to make it again, or choose another folder."
        )
    print(f"{final} exists already: kept.")
    return True


def _print_indivisible(items: Sequence[Item], targets: Sequence[Target], sub_images: SubImages | None) -> None:
    count = sum(any(side % target.scale for side in item.size() for target in targets) for item in items)
    if count and not sub_images:
        print(
            f"{count} HR images have sides that are not multiples of every scale: BasicSR's PairedImageDataset does "
            "not train on them; DegradationPairedDataset does, without the remaining rows and columns."
        )


def _check_space(job: Job, work: Path, items: Sequence[Item], raw: int) -> None:
    """Print the size with both codecs.

    Raises:
        OSError: there is not enough space.
    """
    sizes = {"raw": raw, "png": int(png_share(items) * raw)}
    free = free_bytes(work)
    both = f"{gigabytes(sizes['raw'])} as raw, about {gigabytes(sizes['png'])} as png"
    print(f"{job.out}: {len(items)} images, {both}; using {job.codec}; {gigabytes(free)} free")
    needed = sizes[job.codec] - used_bytes(work)
    if free < needed:
        hint = ", or --codec png" if job.codec == "raw" else ""
        raise OSError(
            f"{work} needs {gigabytes(needed)} more and has {gigabytes(free)} free: free some space or choose another "
            f"folder{hint}."
        )


def _write(
    job: Job,
    work: Path,
    targets: Sequence[Target],
    items: Sequence[Item],
    sub_images: SubImages | None,
    made_of: Mapping[Target, str],
    unusable: Sequence[UnusableImage],
) -> None:
    """Fill the LMDBs of `targets` and move them into place."""
    largest = max(raw_bytes(target, items, sub_images) for target in targets)
    writer = Writer(work, [target.name for target in targets], _map_size(largest))
    try:
        unusable = sorted({*unusable, *_fill(writer, items, targets, job, sub_images)})
    finally:
        writer.close()
    if (unusable and not job.skip_bad) or not writer.done:
        raise UnusableImagesError(unusable)
    written = [item for item in items if item.key in writer.done]
    notes = writer.notes()
    for target in targets:
        deviations = {key: note[target.name] for key, note in notes.items() if target.name in note}
        _print_deviations(target, deviations, len(written))
        if target.recipe and not deviations:
            Record(target.recipe, target.scale, writer.count(target.name)).write(writer.path(target.name))
        texts = _texts_beside(target, written, unusable)
        move_into_place(writer.finish(target.name, made_of[target], texts), job.out / f"{target.name}.lmdb")
    for image in unusable:
        print(f"left out: {image}")


def _map_size(raw: int) -> int:
    """LMDB's `map_size`, address space rather than disk space: enough for every image as PNG, the tree, and what a
    resumed run writes again."""
    return raw + raw // 8 + (1 << 30)


def _fill(
    writer: Writer, items: Sequence[Item], targets: Sequence[Target], job: Job, sub_images: SubImages | None
) -> list[UnusableImage]:
    """Write the items that are not written yet. After an unusable image, only check the others, unless `skip_bad`."""
    unusable: list[UnusableImage] = []
    remaining = [item for item in items if item.key not in writer.done]
    done = len(items) - len(remaining)
    if done:
        print(f"{writer.folder}: resuming a stopped run: {done} images of {len(items)} are written")
    work = partial(convert, targets=targets, codec=job.codec, sub_images=sub_images)
    with tqdm(desc=job.out.name, total=len(items), initial=done, unit="image") as progress:
        for item, result in map_in_order(work, remaining, thread_count(items)):
            unusable += result.unusable
            if not result.unusable and (job.skip_bad or not unusable):
                writer.put(item.key, result.values, result.deviations or None)
            progress.update()
        writer.commit()
    return unusable


def _print_deviations(target: Target, deviations: Mapping[str, str], images: int) -> None:
    if deviations:
        print(f"{target.name}: {len(deviations)} of {images} pairs differ from the others, so that it gets no "
              "degradation.json:")  # fmt: skip
    for key, text in deviations.items():
        print(f"  {key}: {text}")


def _texts_beside(target: Target, items: Sequence[Item], unusable: Sequence[UnusableImage]) -> dict[str, str]:
    """The text files of an LMDB that are not empty: which names became other keys, which images were left out."""
    sources = {item.key: item.lr[target.scale] if target.given else item.hr for item in items}
    texts = {
        "renamed.txt": "".join(f"{key}\t{source.name}\n" for key, source in sources.items() if source.stem != key),
        "skipped.txt": "".join(f"{image}\n" for image in unusable),
    }
    return {name: text for name, text in texts.items() if text}


def _check_same_keys(out: Path, targets: Iterable[Target]) -> None:
    hr, *others = (ImageStore(out / f"{target.name}.lmdb") for target in targets)
    for store in others:
        if differing := set(hr.names) ^ set(store.names):
            raise FileExistsError(
                f"{hr.root}, made before, and {store.root} differ in {len(differing)} images, such as "
                f"{min(differing)!r}, because some can no longer be used: remove both, and run this again."
            )
