"""Plans a preparation from image headers: keys, pairs of HR and LR images, and the images that cannot be used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from rcan_plugin.degradations.identify import SCALES
from rcan_plugin.images.decode import ImageError
from rcan_plugin.images.header import Header
from rcan_plugin.images.pairs import guess_affixes, match_names
from rcan_plugin.images.sources import Source, key_of
from rcan_plugin.preparation.items import Item, SubImages, UnusableImage, UnusableImagesError

THREADS = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16)
"""At most 16: more threads would only hold more images in memory, since the disk limits the speed."""

LONGEST_KEY = 500  # bytes; LMDB accepts 511, and a sub-image's key is longer


def make_plan(
    hr: Sequence[Source],
    lr: Mapping[int, Sequence[Source]],
    sub_images: SubImages | None = None,
    largest_scale: int = 1,
) -> tuple[list[Item], list[UnusableImage]]:
    """Read the headers of all images and pair them by name, showing progress.

    Args:
        hr: HR images; their names, as `key_of` changes them, become the keys.
        lr: LR images by scale, paired with the HR images by `pairs.guess_affixes`.
        sub_images: how the images are to be cut; images smaller than a sub-image are unusable.
        largest_scale: largest scale at which LR images are to be made; smaller HR images are unusable.

    Returns:
        The items sorted by key, and the unusable images. An item with an unusable image is left out.
    """
    unusable: list[UnusableImage] = []
    headers = _read_headers([*hr, *(source for sources in lr.values() for source in sources)], unusable)
    hr_by_key = _by_key(hr, unusable)
    depths = Counter(headers[source.place].bits for source in hr if source.place in headers)
    usual_depth = max(depths, key=depths.__getitem__, default=8)
    for source in hr:
        if (header := headers.get(source.place)) and header.bits != usual_depth:
            reason = f"has {header.bits} bits a value and most images have {usual_depth}: convert it"
            unusable.append(UnusableImage(source.place, reason))
    partners = {scale: _partners(hr_by_key, sources, scale, unusable) for scale, sources in lr.items()}

    items = []
    unusable_places = {image.place for image in unusable}
    for key, source in sorted(hr_by_key.items()):
        if source.place in unusable_places:
            continue
        given = {scale: by_key[key] for scale, by_key in partners.items()}
        item = Item(key, source, headers[source.place], given)
        errors = list(_size_and_depth_errors(item, headers, sub_images, largest_scale))
        unusable += errors
        if not errors and not any(partner.place in unusable_places for partner in given.values()):
            items.append(item)
    return items, sorted(set(unusable))


def _read_headers(sources: Sequence[Source], unusable: list[UnusableImage]) -> dict[str, Header]:
    headers = {}
    with ThreadPoolExecutor(THREADS) as pool:
        pending = [(source, pool.submit(source.header)) for source in sources]
        for source, header in tqdm(pending, desc="reading headers", unit="image", leave=False):
            try:
                headers[source.place] = header.result()
            except ImageError as error:
                unusable.append(UnusableImage(source.place, str(error)))
    return headers


def _by_key(sources: Sequence[Source], unusable: list[UnusableImage]) -> dict[str, Source]:
    by_key: dict[str, Source] = {}
    for source in sources:
        key = key_of(source.stem)
        if len(key) > LONGEST_KEY:
            reason = f"its name has {len(key)} letters; at most {LONGEST_KEY} make a key: rename it"
            unusable.append(UnusableImage(source.place, reason))
        elif (other := by_key.setdefault(key, source)) is not source:
            reason = f"would get the same key, {key}, as {{}}: rename or remove one"
            unusable.append(UnusableImage(source.place, reason.format(other.place)))
            unusable.append(UnusableImage(other.place, reason.format(source.place)))
    return by_key


def _partners(
    hr: Mapping[str, Source], sources: Sequence[Source], scale: int, unusable: list[UnusableImage]
) -> dict[str, Source]:
    """The LR image of each HR key."""
    lr = _by_key(sources, unusable)
    matches = match_names(hr, lr.keys(), *guess_affixes(hr, lr))
    for key, source in hr.items():
        if key not in matches:
            reason = f"has no LR image at x{scale} (looked for {key}x{scale} and the like)"
            unusable.append(UnusableImage(source.place, reason))
    matched = set(matches.values())
    for key, source in lr.items():
        if key not in matched:
            unusable.append(UnusableImage(source.place, f"has no HR image (x{scale})"))
    return {key: lr[partner] for key, partner in matches.items()}


def _size_and_depth_errors(
    item: Item, headers: Mapping[str, Header], sub_images: SubImages | None, largest_scale: int
) -> Iterator[UnusableImage]:
    height, width = item.size()
    if min(height, width) < largest_scale:
        reason = f"is {height}x{width}, smaller than one pixel at x{largest_scale}: leave it out"
        yield UnusableImage(item.hr.place, reason)
    if sub_images and not sub_images.windows(height, width):
        reason = f"is {height}x{width}, smaller than a sub-image of {sub_images.size}: leave it out"
        yield UnusableImage(item.hr.place, reason)
    for scale, source in item.lr.items():
        header = headers.get(source.place)
        if header is None:
            continue
        if (header.height, header.width) != item.size(scale):
            expected = "{}x{}".format(*item.size(scale))
            size = f"{header.height}x{header.width}"
            reason = f"is {size}; x{scale} of {item.hr.place}, {height}x{width}, is {expected}"
            yield UnusableImage(source.place, reason)
        elif header.bits != item.header.bits:
            reason = f"has {header.bits} bits a value and its HR image has {item.header.bits}: convert it"
            yield UnusableImage(source.place, reason)


def measure_scale(hr: Sequence[Source], lr: Sequence[Source]) -> int:
    """Return the scale of a set of LR images: the ratio of mean side lengths, rounded.

    Raises:
        UnusableImagesError: none of the HR images, or none of the LR images, can be used.
        ValueError: the scale is not 2, 3, 4 or 8.
    """
    means = []
    unusable: list[UnusableImage] = []
    for sources in (hr, lr):
        headers = _read_headers(sources, unusable)
        if not headers:
            raise UnusableImagesError(unusable)
        means.append(sum(header.height + header.width for header in headers.values()) / len(headers))
    ratio = means[0] / means[1]
    scale = round(ratio)
    if scale not in SCALES or abs(ratio - scale) > 0.1 * scale:
        raise ValueError(
            f"{lr[0].place} and the other LR images are smaller than the HR images by {ratio:.3g}, on average; "
            "expected 2, 3, 4 or 8: give the folder of one scale."
        )
    return scale
