"""Converts an item: decodes its images, makes LR images, cuts and encodes them. Several items run in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from rcan_plugin.degradations import Identification, identify, matches_up_to_ties, noise_rng
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.images.decode import ImageError
from rcan_plugin.images.sources import Source
from rcan_plugin.preparation.encode import EncodedImage, encode
from rcan_plugin.preparation.items import Item, SubImages, UnusableImage
from rcan_plugin.preparation.plan import THREADS
from rcan_plugin.preparation.targets import Target, raw_bytes

_IN_FLIGHT = 60 << 20
"""Bytes of HR images that threads may hold. With the images made from them, five times as many bytes, the total stays
below 600 MB."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Conversion:
    """The result of converting one item.

    Attributes:
        values: encoded images by the name of their LMDB.
        deviations: by the name of the LMDB, how a given LR image was made if it differs from most of its set.
        unusable: images that cannot be used; if there are any, the other fields are incomplete.
    """

    values: dict[str, list[EncodedImage]] = field(default_factory=dict)
    deviations: dict[str, str] = field(default_factory=dict)
    unusable: list[UnusableImage] = field(default_factory=list)


def convert(item: Item, targets: Sequence[Target], codec: str, sub_images: SubImages | None) -> Conversion:
    """Decode the images of an item, make LR images, and encode the values of all targets."""
    result = Conversion()
    images: dict[int, np.ndarray] = {}
    for scale in [1, *(target.scale for target in targets if target.given)]:
        try:
            images[scale] = item.read(scale)
        except ImageError as error:
            result.unusable.append(UnusableImage(item.source(scale).place, str(error)))
    if result.unusable:
        return result

    hr = images[1]
    for target in targets:
        recipe = target.recipe
        if recipe is None or target.given:
            image = images[target.scale]
        else:
            image = recipe.degradation.apply(hr, target.scale, rng=noise_rng(recipe.seed, item.key))
        if recipe and target.given and (other := identify_if_different(recipe, hr, image, target.scale)):
            result.deviations[target.name] = str(other)
            if not other.belongs:
                reason = f"does not show its HR image ({other.reason})"
                result.unusable.append(UnusableImage(item.lr[target.scale].place, reason))
        parts = _cut(item, image, target.scale, sub_images)
        result.values[target.name] = [encode(key, part, codec) for key, part in parts]
    return result


def identify_if_different(recipe: Recipe, hr: np.ndarray, lr: np.ndarray, scale: int) -> Identification | None:
    """Identify a given LR image if it differs from what `recipe` makes; None if it does not."""
    return None if matches_up_to_ties(recipe.degradation.apply(hr, scale), lr) else identify(hr, lr)


def _cut(item: Item, image: np.ndarray, scale: int, sub_images: SubImages | None) -> Iterator[tuple[str, np.ndarray]]:
    """The sub-images of an image with their keys, or the image itself."""
    if sub_images is None:
        yield item.key, image
        return
    side = sub_images.size // scale
    for number, (top, left) in enumerate(sub_images.windows(*item.size()), start=1):
        top, left = top // scale, left // scale
        yield f"{item.key}_s{number:03d}", image[top : top + side, left : left + side]


def find_all_unusable(
    items: Sequence[Item], sources: Iterable[Source], targets: Sequence[Target], known: Sequence[UnusableImage]
) -> list[UnusableImage]:
    """Decode and convert everything without writing, to find the unusable images that headers do not show.

    Args:
        items: items that can be converted, by their headers.
        sources: all images.
        targets: the HR target and the given targets.
        known: the unusable images found so far.
    """
    checked = {image.place for image in known}
    checked |= {source.place for item in items for source in (item.hr, *item.lr.values())}
    tasks: list[Callable[[], list[UnusableImage]]] = [
        *(partial(_convert_unusable, item, targets) for item in items),
        *(partial(_decode_unusable, source) for source in sources if source.place not in checked),
    ]
    results = map_in_order(lambda task: task(), tasks)
    return [image for _, images in tqdm(results, "checking", len(tasks), unit="image") for image in images]


def _convert_unusable(item: Item, targets: Sequence[Target]) -> list[UnusableImage]:
    return convert(item, targets, "raw", None).unusable


def _decode_unusable(source: Source) -> list[UnusableImage]:
    try:
        source.decode()
    except ImageError as error:
        return [UnusableImage(source.place, str(error))]
    return []


def thread_count(items: Sequence[Item]) -> int:
    """Return the number of cores, or fewer if the images that the threads hold would exceed the memory limit."""
    return max(1, min(THREADS, _IN_FLIGHT * len(items) // raw_bytes(Target(), items, None)))


def map_in_order(work: Callable[[T], R], items: Iterable[T], threads: int = THREADS) -> Iterator[tuple[T, R]]:
    """Yield each item with the result of `work`, in order; threads work a few items ahead.

    Threads, not processes: decoding, encoding, hashing and NumPy release the GIL, so that nothing is copied between
    processes and no worker process can be killed unnoticed.
    """
    pending: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(work, item)))
                if len(pending) > threads + 2:
                    first, result = pending.popleft()
                    yield first, result.result()
            while pending:
                first, result = pending.popleft()
                yield first, result.result()
        finally:
            pool.shutdown(cancel_futures=True)
