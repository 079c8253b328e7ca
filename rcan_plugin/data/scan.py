"""Scans a data set's files before training: pairs, sizes, and whether stored LR images were made as the options say."""

from __future__ import annotations

import logging
import math
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
import torch

from rcan_plugin._files import describe_error
from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.remarks import File, remarks
from rcan_plugin.degradations import identify, matches_up_to_ties
from rcan_plugin.degradations.record import Recipe, Record
from rcan_plugin.degradations.resizers import resemblance
from rcan_plugin.images.pairs import Pair, find_pairs, forms_differ
from rcan_plugin.images.store import Header, ImageStore

IDENTIFIED_PAIRS = 3
"""How many pairs are compared with the options' degradation if stored LR images have no record."""

COMMANDS = {"DIV2K": "rcan prepare-div2k", "benchmark": "rcan prepare-benchmarks FOLDER_OR_ARCHIVE"}
"""Commands that make the data of the project's option files, by a folder in their paths."""

_kept: dict[DatasetOptions, Scan] = {}


@dataclass
class Scan:
    """The files of a data set.

    Attributes:
        gt: HR images.
        lq: LR images; None where they are made on the fly.
        pairs: names, sorted.
        sizes: height and width of the HR images, in the pairs' order.
        messages: level and text of what a user should know, for the log.
    """

    gt: ImageStore
    lq: ImageStore | None
    pairs: list[Pair]
    sizes: list[tuple[int, int]] = field(default_factory=list)
    messages: list[tuple[int, str]] = field(default_factory=list)


def scan(options: DatasetOptions) -> Scan:
    """Find the pairs and check their sizes, by headers; identify the degradation of stored LR images.

    Returns:
        The result that `keep_scan` kept for equal options, once; otherwise that of a new scan.

    Raises:
        FileNotFoundError: a folder, LMDB or listed image is missing.
        ValueError: images that cannot be trained on; names the file, its value and a remedy.
    """
    result = _kept.pop(options, None) or _scan(options)
    _check_number_of_samples(options, len(result.pairs))  # the number of processes may have changed since
    return result


def keep_scan(options: DatasetOptions) -> None:
    """Scan a data set now and keep the result for the next `scan` of equal options. Raises what `scan` raises."""
    _kept[options] = _scan(options)


def kept_scan(options: DatasetOptions) -> Scan | None:
    """Return what `keep_scan` kept for equal options, and keep it."""
    return _kept.get(options)


def forget_scans() -> None:
    """Drop the results of `keep_scan` that were not used."""
    _kept.clear()


def _scan(options: DatasetOptions) -> Scan:
    gt = _open_store(options, "dataroot_gt", options.dataroot_gt)
    lq = None if options.dataroot_lq is None else _open_store(options, "dataroot_lq", options.dataroot_lq)
    pairs = find_pairs(
        gt,
        lq,
        gt_template=options.gt_template,
        lq_template=options.lq_template,
        meta_info_file=options.meta_info_file,
    )
    _check_number_of_samples(options, len(pairs))
    result = Scan(gt, lq, pairs)
    _check_result_names(options, result)
    _check_headers(options, result)
    if lq is not None:
        _check_degradation(options, result, lq)
    return result


def _open_store(options: DatasetOptions, key: str, root: str) -> ImageStore:
    try:
        store = ImageStore(root)
        store.check_keys()
    except (OSError, ValueError) as error:
        command = next((command for folder, command in COMMANDS.items() if folder in Path(root).parts), None)
        hint = f" `{command}` makes it." if command and not isinstance(error, PermissionError) else ""
        kind = type(error) if isinstance(error, OSError) else ValueError
        raise kind(f"data set {options.name}: {key}: {describe_error(error)}{hint}") from None
    if options.backend not in (None, "lmdb" if store.is_lmdb else "disk"):
        raise ValueError(
            f"data set {options.name}: io_backend type is {options.backend!r} and {key} is {root!r}: "
            "lmdb reads folders named *.lmdb, disk reads folders of image files."
        )
    return store


def _check_number_of_samples(options: DatasetOptions, images: int) -> None:
    """BasicSR drops a batch that is not full: an epoch needs one full batch on each rank."""
    if options.training is None:
        return
    ratio, batch = options.training.enlarge_ratio, options.training.batch_size
    ranks = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    samples = math.ceil(images * ratio / ranks)
    if samples < batch:
        raise ValueError(
            f"data set {options.name}: {samples} samples an epoch ({images} images x dataset_enlarge_ratio {ratio} / "
            f"{ranks} processes) are fewer than one batch of {batch}, so BasicSR would train nothing: set "
            f"dataset_enlarge_ratio to {math.ceil(batch * ranks / images)} or more."
        )


def _check_headers(options: DatasetOptions, result: Scan) -> None:
    """Fill in `result.sizes`; check all sizes and kinds of pixels before time is spent on training."""
    files = []
    for pair in result.pairs:
        gt = result.gt.header(pair.gt)
        result.sizes.append((gt.height, gt.width))
        for scale in options.scales:
            _check_large_enough(options, result.gt, pair, gt, scale)
        files.append(File(result.gt, pair.gt, gt))
        if result.lq is not None:
            lq = result.lq.header(pair.lq)
            _check_ratio(result.gt.describe(pair.gt), gt, result.lq.describe(pair.lq), lq, options.scales[0])
            files.append(File(result.lq, pair.lq, lq))
    result.messages += remarks(files, options.pixels.keep_depth)
    if options.pixels.keep_depth:
        text = f"Data set {options.name} keeps 16 bits; BasicSR's metrics and the images it saves have 8 bits."
        result.messages.append((logging.INFO, text))


def _check_result_names(options: DatasetOptions, result: Scan) -> None:
    """Check that no two results of a validation have one name: that of the LR image without folders and suffix."""
    store = result.lq or result.gt
    by_name: dict[str, str] = {}
    for pair in result.pairs if options.training is None else ():
        name = PurePath(store.path(pair.lq)).stem
        other = by_name.setdefault(unicodedata.normalize("NFC", name), pair.lq)
        if other != pair.lq:
            raise ValueError(
                f"data set {options.name}: the results of {store.describe(other)} and {store.describe(pair.lq)} would "
                f"both be named {name!r}{forms_differ(other, pair.lq)}: rename or remove one."
            )


def _check_ratio(gt_name: str, gt: Header, lq_name: str, lq: Header, scale: int) -> None:
    expected = gt.height // scale, gt.width // scale
    if (lq.height, lq.width) != expected:
        raise ValueError(
            f"{gt_name} is {gt.height}x{gt.width} and {lq_name} is {lq.height}x{lq.width}; expected "
            f"{expected[0]}x{expected[1]} for scale {scale}. Check scale, and that the two belong together."
        )


def _check_large_enough(options: DatasetOptions, store: ImageStore, pair: Pair, header: Header, scale: int) -> None:
    """Require an HR image as large as a crop; in validation as large as one LR pixel."""
    height, width = header.height, header.width
    used = height // scale * scale, width // scale * scale
    training = options.training
    if min(used) >= (training.hr_size(scale) if training else scale):
        return
    if training is None:
        limit = f"scale {scale}: remove it."
    elif training.gt_size is not None:
        limit = f"gt_size {training.gt_size}: remove it or lower gt_size."
    else:
        limit = f"lq_size {training.lq_size} x {scale}: remove it or lower lq_size."
    size = f"{height}x{width}" + (f", at scale {scale} {used[0]}x{used[1]}" if used != (height, width) else "")
    raise ValueError(f"{store.describe(pair.gt)} is {size}, smaller than {limit}")


def _check_degradation(options: DatasetOptions, result: Scan, lq: ImageStore) -> None:
    """Compare the options with the record of stored LR images; without one, with the first images."""
    (scale,) = options.scales  # several are refused with dataroot_lq
    record = Record.read(lq.root)
    if record is not None:
        expected = options.recipe or record.recipe
        if record.scale != scale or record.recipe.at(scale) != expected.at(scale):
            raise ValueError(
                f"data set {options.name}: {lq.root} was made as x{record.scale} {record.recipe}, and the options say "
                f"x{scale} {expected}: correct scale and degradation, or name other data."
            )
        if record.images != len(lq):
            raise ValueError(f"{lq.root} was made of {record.images} images and holds {len(lq)}: make the data again.")
        return
    if options.recipe is None:
        return
    for pair in result.pairs[:IDENTIFIED_PAIRS]:
        # Decode as stored: neither cut to 8 bits nor converted to luma.
        images = result.gt.read(pair.gt, keep_depth=True), lq.read(pair.lq, keep_depth=True)
        if images[0].dtype == images[1].dtype and not _made_by(options.recipe, *images, scale):
            identification = identify(*images)
            likeness = resemblance(*images, identification)
            text = (
                f"Data set {options.name}: the options say x{scale} {options.recipe}, and {lq.describe(pair.lq)} "
                f"looks like {identification}" + (f"; {likeness}" if likeness else "")
            )
            result.messages.append((logging.WARNING, text))


def _made_by(recipe: Recipe, gt: np.ndarray, lq: np.ndarray, scale: int) -> bool:
    """Whether a degradation made an LR image from an HR image."""
    degradation = recipe.degradation
    if degradation.kind != "DN":
        return matches_up_to_ties(degradation.apply(gt, scale), lq)
    # Noise of the same strength from another seed is accepted; the estimate is off by less than a tenth.
    identification, noise = identify(gt, lq), degradation.noise or 0.0
    return identification.kind == "DN" and abs((identification.noise or 0.0) - noise) < 0.1 * noise
