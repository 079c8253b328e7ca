"""HR images, and LR images given or made, into LMDBs side by side: `OUT/HR.lmdb`, `OUT/LRBI_x2.lmdb`, ..."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import filelock
import lmdb
import numpy as np
from tqdm import tqdm

from rcan_plugin.degradations import Identification, identify, matches_up_to_ties, noise_rng
from rcan_plugin.degradations.record import Recipe, Record
from rcan_plugin.images.decode import BadImageError, decode
from rcan_plugin.images.sources import Source
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.plan import THREADS, Bad, Item, SubImages, make_plan
from rcan_plugin.preparation.targets import Target, encode, fingerprint, given_targets, png_share, raw_bytes
from rcan_plugin.preparation.writer import Value, Writer, move_into_place, read_checksums

_IN_FLIGHT = 60 << 20
"""Bytes of HR images that threads may hold: with what is made of them, five times as much, all stays below 600 MB."""

T = TypeVar("T")
R = TypeVar("R")

_LOCK = "lock"
_PLAN = "plan"  # the file that says what the folder beside it is half made of

Made = tuple[dict[str, list[Value]], dict[str, str]]
"""Of one image the values for each LMDB, and what is odd about LR images given."""


class BadImagesError(ValueError):
    """Images that cannot be used, all of them in `bad`. Nothing was written."""

    def __init__(self, bad: Iterable[Bad]) -> None:
        self.bad = sorted(set(bad))
        super().__init__(f"{len({one.place for one in self.bad})} images cannot be used")


@dataclass(frozen=True)
class Job:
    """What `prepare` is to make of the images of one set.

    Attributes:
        out: folder of the LMDBs, made if need be. What is half made stands in `OUT.part`.
        recipes, scales: LR images to have: each recipe at each scale; made where they are not given.
        codec: `raw` (binary PNM, cropped without decoding) or `png` (as BasicSR's tools write it).
        sub_images: size and step in HR pixels, to cut all images into squares.
        skip_bad: leave out what cannot be used, instead of refusing all.
        keep_hr: the HR images are those of `OUT/HR.lmdb`, which stays as it is, and so do LR images made of it before.
    """

    out: Path
    recipes: Sequence[Recipe] = ()
    scales: Sequence[int] = ()
    codec: str = "raw"
    sub_images: tuple[int, int] | None = None
    skip_bad: bool = False
    keep_hr: bool = False


def prepare(job: Job, hr: Sequence[Source], lr: Mapping[int, Sequence[Source]] | None = None) -> list[Target]:
    """Make the LMDBs of a set, or take them up, or keep them; say what is done, with progress.

    Args:
        job: what is to be made.
        hr: HR images.
        lr: LR images that are given, by scale.

    Returns:
        What stands in `job.out` now, HR first.

    Raises:
        BadImagesError: images cannot be used, and `skip_bad` is not set.
        FileExistsError: an LMDB stands there that was made of other images or in another way.
        OSError: no space, or the folder cannot be written to; the text says what is kept.
        RuntimeError: another run is at work on the same folder.
        ValueError: settings that do not fit the images, or an `out` that cannot be made.
    """
    if job.out.name in ("", "..") or (job.out.exists() and not job.out.is_dir()):
        raise ValueError(f"{job.out} cannot be the folder of the LMDBs: name one, which is made if it is not there.")
    lr = lr or {}
    sub_images = SubImages.of(*job.sub_images, [*job.scales, *lr]) if job.sub_images else None
    items, bad = make_plan(hr, lr, sub_images, max(job.scales, default=1))
    given = given_targets(items, lr) if items else []
    if not items or (bad and not job.skip_bad):
        sources = [*hr, *(source for sources in lr.values() for source in sources)]
        raise BadImagesError([*bad, *_look_closer(items, sources, [Target(), *given], bad)])
    targets = [Target(), *given, *_to_be_made(job, given)]
    made_of = {target: fingerprint(target, items, job.codec, sub_images) for target in targets}

    with _held(job.out) as work:
        missing = [target for target in targets if not _is_there(job, target, made_of[target])]
        if missing:
            with _in_words(work):
                _start(work, "".join(made_of.values()))
            _say_uneven(items, targets, sub_images)
            _check_space(job, work, items, sum(raw_bytes(target, items, sub_images) for target in missing))
            with _in_words(work):
                _write(job, work, missing, items, sub_images, made_of, bad)
    _check_keys(job.out, targets)
    return targets


@contextmanager
def _held(out: Path) -> Iterator[Path]:
    """The folder to work in, which no other run works in meanwhile; it remains where a later run can go on with it."""
    place = out.resolve() if out.is_symlink() else out
    # On the same disk, so that what is made can be moved into place.
    work = place / ".part" if place.is_mount() else place.with_name(place.name + ".part")
    lock = filelock.FileLock(work / _LOCK, timeout=0)
    try:
        work.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in work.iterdir()}
        if names - {_LOCK} and _PLAN not in names:
            raise FileExistsError(f"it holds {min(names - {_LOCK})}, which is not of a run before")
        lock.acquire()
    except filelock.Timeout:
        raise RuntimeError(f"another run is at work on {out} ({work / _LOCK} is held): wait for it.") from None
    except OSError as error:
        raise OSError(f"{work} cannot be worked in ({error}): choose another folder.") from None
    try:
        yield work
    except BaseException as error:
        if isinstance(error, BadImagesError) or not (work / _PLAN).exists():
            _remove(work)
        raise
    else:
        _remove(work)
    finally:
        lock.release()


def _remove(work: Path) -> None:
    _clear(work)
    shutil.rmtree(work)


def _clear(work: Path) -> None:
    """Remove what is half made, and not what tells that this is our folder."""
    for left in list(work.iterdir()):
        if left.name not in (_LOCK, _PLAN):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _write(
    job: Job,
    work: Path,
    targets: Sequence[Target],
    items: Sequence[Item],
    sub_images: SubImages | None,
    made_of: Mapping[Target, str],
    bad: list[Bad],
) -> None:
    """Fill the LMDBs of `targets` and move them into place."""
    largest = max(raw_bytes(target, items, sub_images) for target in targets)
    writer = Writer(work, [target.name for target in targets], _map_size(largest))
    try:
        bad = sorted({*bad, *_fill(writer, items, targets, job, sub_images)})
    finally:
        writer.close()
    if (bad and not job.skip_bad) or not writer.done:
        raise BadImagesError(bad)
    odd = writer.notes()
    for target in targets:
        files = _files_beside(target, [item for item in items if item.key in writer.done], bad)
        if target.recipe and not _say_odd(target, odd, len(writer.done)):
            Record(target.recipe, target.scale, writer.count(target.name)).write(writer.path(target.name))
        move_into_place(writer.finish(target.name, made_of[target], files), job.out / f"{target.name}.lmdb")
    for one in bad:
        print(f"left out: {one}")


def _to_be_made(job: Job, given: Sequence[Target]) -> list[Target]:
    there = {(one.scale, one.recipe.degradation.kind) for one in given if one.recipe}
    return [
        _as_recorded(job, Target(scale, recipe))
        for recipe in job.recipes
        for scale in job.scales
        if (scale, recipe.degradation.kind) not in there
    ]


def _as_recorded(job: Job, target: Target) -> Target:
    """What stands there under that name, if it is to stay."""
    record = Record.read(job.out / f"{target.name}.lmdb") if job.keep_hr else None
    return Target(target.scale, record.recipe) if record else target


def _fill(
    writer: Writer, items: Sequence[Item], targets: Sequence[Target], job: Job, sub_images: SubImages | None
) -> list[Bad]:
    """Write what is not written yet; after a bad image, unless they are skipped, only look for more of them."""
    bad: list[Bad] = []

    def make(item: Item) -> Made | list[Bad]:
        return _make(item, targets, job.codec, sub_images)

    todo = [item for item in items if item.key not in writer.done]
    if len(todo) < len(items):
        print(f"{writer.folder}: taking up {len(items) - len(todo)} images of {len(items)} from a run that was stopped")
    with tqdm(desc=job.out.name, total=len(items), initial=len(items) - len(todo), unit="image") as progress:
        for item, result in in_order(make, todo, _threads(items)):
            if isinstance(result, list):
                bad += result
            elif job.skip_bad or not bad:
                writer.put(item.key, result[0], result[1] or None)
            progress.update()
        writer.commit()
    return bad


def _make(item: Item, targets: Sequence[Target], codec: str, sub_images: SubImages | None) -> Made | list[Bad]:
    """What one image becomes, or why it cannot be used."""
    images: dict[int, np.ndarray] = {}
    bad = []
    for scale in [1, *(target.scale for target in targets if target.given)]:
        try:
            images[scale] = item.read(scale)
        except BadImageError as error:
            bad.append(Bad(item.source(scale).place, str(error)))
    if bad:
        return bad

    hr, values, odd = images[1], {}, {}
    for target in targets:
        if target.recipe is None or target.given:
            image = images[target.scale]
        else:
            image = target.recipe.degradation.apply(hr, target.scale, rng=noise_rng(target.recipe.seed, item.key))
        if target.recipe and target.given and (found := _unlike(target.recipe, hr, image, target.scale)):
            odd[target.name] = str(found)
            if not found.belongs:
                bad.append(Bad(item.lr[target.scale].place, f"does not show its HR image ({found.reason})"))
        values[target.name] = [encode(key, part, codec) for key, part in _parts(item, image, target.scale, sub_images)]
    return bad or (values, odd)


def _unlike(recipe: Recipe, hr: np.ndarray, lr: np.ndarray, scale: int) -> Identification | None:
    """What a given LR image is, if it is not what most are."""
    return None if matches_up_to_ties(recipe.degradation.apply(hr, scale), lr) else identify(hr, lr)


def _parts(item: Item, image: np.ndarray, scale: int, sub_images: SubImages | None) -> Iterator[tuple[str, np.ndarray]]:
    if sub_images is None:
        yield item.key, image
        return
    side = sub_images.size // scale
    for number, (top, left) in enumerate(sub_images.windows(*item.at(1)), start=1):
        top, left = top // scale, left // scale
        yield f"{item.key}_s{number:03d}", image[top : top + side, left : left + side]


def _files_beside(target: Target, items: Sequence[Item], bad: Sequence[Bad]) -> dict[str, str]:
    sources = {item.key: item.lr[target.scale] if target.given else item.hr for item in items}
    files = {
        "renamed.txt": "".join(f"{key}\t{one.name}\n" for key, one in sources.items() if one.stem != key),
        "skipped.txt": "".join(f"{one}\n" for one in bad),
    }
    return {name: text for name, text in files.items() if text}


def _say_odd(target: Target, notes: Mapping[str, Mapping[str, str]], images: int) -> int:
    """Given LR images that were not made as the others: how many, and which."""
    odd = {key: note[target.name] for key, note in notes.items() if target.name in note}
    if odd:
        print(f"{target.name}: {len(odd)} of {images} pairs are not as the others, so it gets no degradation.json:")
    for key, text in odd.items():
        print(f"  {key}: {text}")
    return len(odd)


def _say_uneven(items: Sequence[Item], targets: Sequence[Target], sub_images: SubImages | None) -> None:
    uneven = sum(any(side % target.scale for side in item.at(1) for target in targets) for item in items)
    if uneven and not sub_images:
        print(
            f"{uneven} HR images are no multiple of every scale: BasicSR's own PairedImageDataset does not train on "
            "them; DegradationPairedDataset does, without the rest of their rows and columns."
        )


def _is_there(job: Job, target: Target, made_of: str) -> bool:
    final = job.out / f"{target.name}.lmdb"
    if not final.exists():
        return False
    try:
        known = read_checksums(final)
    except ValueError as error:
        raise FileExistsError(f"{error}: look at it with scripts/verify_lmdb.py, or remove {final}.") from None
    kept = job.keep_hr and not target.given
    if not kept and (known is None or known["made_of"] != made_of):
        raise FileExistsError(
            f"{final} is there and was made of other images (or of copies of another date), or in another way: "
            "remove it to make it anew, or choose another folder."
        )
    print(f"{final} is there already: kept.")
    return True


def _start(work: Path, plan: str) -> None:
    """Keep what a stopped run of the same plan left, and nothing else."""
    file = work / _PLAN
    if file.is_file() and file.read_text() == plan:
        return
    _clear(work)
    file.write_text(plan)


def _check_keys(out: Path, targets: Iterable[Target]) -> None:
    stores = [ImageStore(out / f"{target.name}.lmdb") for target in targets]
    for store in stores[1:]:
        if other := set(stores[0].names) ^ set(store.names):
            raise FileExistsError(
                f"{stores[0].root}, made before, and {store.root} differ in {len(other)} images, {min(other)!r} among "
                "them, because some cannot be used by now: remove both, and run this again."
            )


def _look_closer(
    items: Sequence[Item], sources: Iterable[Source], targets: Sequence[Target], bad: Sequence[Bad]
) -> list[Bad]:
    """What else is bad, by the pixels of all that is not in `bad`; nothing is written."""
    known = {one.place for one in bad} | {source.place for item in items for source in (item.hr, *item.lr.values())}
    tasks: list[Callable[[], Made | list[Bad]]] = [partial(_make, item, targets, "raw", None) for item in items]
    tasks += [partial(_unreadable, source) for source in sources if source.place not in known]
    results = in_order(lambda task: task(), tasks)
    return [
        one
        for _, result in tqdm(results, "checking", len(tasks), unit="image")
        if isinstance(result, list)
        for one in result
    ]


def _unreadable(source: Source) -> list[Bad]:
    try:
        decode(source)
    except BadImageError as error:
        return [Bad(source.place, str(error))]
    return []


def _threads(items: Sequence[Item]) -> int:
    """As many as there are cores, unless the images that they hold would take too much memory together."""
    return max(1, min(THREADS, _IN_FLIGHT * len(items) // raw_bytes(Target(), items, None)))


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int = THREADS) -> Iterator[tuple[T, R]]:
    """Results of `work` in the items' order, made by threads that run a few items ahead, and no more.

    Threads, since decoding, encoding, sums and checksums let go of Python's lock: nothing is sent to and fro, and no
    process can die behind our back.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > threads + 2:
                    first, result = waiting.popleft()
                    yield first, result.result()
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _map_size(raw: int) -> int:
    """Of address space, not of disk: room for any image as PNG, for the tree, and for what a taken-up run repeats."""
    return raw + raw // 8 + (1 << 30)


def _check_space(job: Job, work: Path, items: Sequence[Item], raw: int) -> None:
    """Say what both codecs take, and refuse what does not fit.

    Raises:
        OSError: there is not enough space.
    """
    sizes = {"raw": raw, "png": int(png_share(items) * raw)}
    written = sum(file.stat().st_blocks * 512 for file in work.rglob("data.mdb"))
    free = shutil.disk_usage(work).free
    said = f"{_gb(sizes['raw'])} as raw, about {_gb(sizes['png'])} as png"
    print(f"{job.out}: {len(items)} images, {said}; taking {job.codec}; {_gb(free)} free")
    if free < (needed := sizes[job.codec] - written):
        other = ", or --codec png" if job.codec == "raw" else ""
        raise OSError(
            f"{work} needs {_gb(needed)} more and has {_gb(free)} free: make room or choose another folder{other}."
        )


def _gb(count: float) -> str:
    return f"{count / 1e9:.3g} GB"


@contextmanager
def _in_words(work: Path) -> Iterator[None]:
    """Says in words what LMDB and the disk say in numbers."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise OSError(
            f"writing stopped: {error} ({_gb(shutil.disk_usage(work).free)} free). What is written is kept in {work}: "
            "free some space, or mend what is wrong with the disk, and run the same command again to go on; or remove "
            "that folder."
        ) from None
