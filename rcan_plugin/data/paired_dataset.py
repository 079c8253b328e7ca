"""Pairs of HR and LR images, with the LR from disk or made on the fly, in the form BasicSR trains on."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from rcan_plugin.data.stream import SampleIndex, random_numbers_at, random_numbers_of
from rcan_plugin.data.transport import Levels, to_floats
from rcan_plugin.degradations import identify, matches_up_to_ties, noise_rng
from rcan_plugin.degradations.record import Recipe, Record
from rcan_plugin.images.buffers import buffer
from rcan_plugin.images.pairs import Pair, find_pairs
from rcan_plugin.images.store import ImageStore, Window
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample

log = logging.getLogger("basicsr")

PAIRS_LOOKED_AT = 3
"""How many pairs of prepared data without a record are compared with what the options say."""

REACH = 2
"""LR pixels on each side that a bicubically enlarged pixel is made of."""

MADE_BY = {"DIV2K": "prepare_div2k.py", "benchmark": "prepare_benchmarks.py FOLDER_OR_ARCHIVE"}
"""What makes the data of our option files, by a folder in their paths."""


class DegradationPairedDataset(Dataset[dict[str, Any]]):
    """Options and items of BasicSR's `PairedImageDataset`; without `dataroot_lq` it makes the LR itself.

    An item is `{lq, gt, lq_path, gt_path}`: float32 tensors, C x H x W, RGB, range 0 to 1. In validation of 8-bit
    colour they equal those of `PairedImageDataset` bit for bit. In training they are a random crop, flipped and
    turned; a crop's LR made on the fly equals the same crop of the whole image's LR, value for value.

    Random choices come with the index, if it is a `stream.SampleIndex`: then they depend on the seed and the place in
    the run's stream of samples alone. Else they come from torch's generator of the process at hand, which BasicSR's
    `manual_seed` and torch's DataLoader seed: the same seed, workers and ranks give the same samples, another epoch
    gives others. (BasicSR's own data sets use Python's, which its workers set back at every epoch.)

    Options (`opt`):
        phase: `train`, `val` or `test`; scale: set by BasicSR from the option file's top level, or else this set's own.
        pre_upsample: true: the LR image comes enlarged to the HR image's size, by bicubic (`BicubicUpsample`),
            floats that are not rounded, for networks that work on such (their `upscale` is 1).
        scales: [2, 3, 4] in the place of `scale`, in training, for one network that serves them all: with
            `pre_upsample` one is drawn for each sample; without, one for each batch, the same on all ranks, and the
            item's `scale` tells. (BasicSR's own `train.py` on several GPUs draws the same for every epoch;
            `rcan_plugin.train` does not.)
        dataroot_gt: folder or LMDB (`*.lmdb`) of HR images.
        dataroot_lq: the same of LR images; left out, the LR is made on the fly as `degradation` says.
        degradation: {type: BI|BD|DN, border, sigma, kernel_size, noise, seed}, how the LR is made, or was made: it
            is compared with the `degradation.json` of prepared data, or else with the first pairs. DN's noise is
            fresh at every draw in training, and depends on seed and file name alone in validation.
        meta_info_file: text file whose lines begin with the HR names to take.
        gt_filename_tmpl, filename_tmpl: how HR and LR names are made from the name both share, `{}_HR_x4`.
        gt_size: side of the HR crop in pixels, or in its place lq_size: that of the LR crop; use_hflip, use_rot: as in
            BasicSR (training only). With `pre_upsample` gt_size need be no multiple of the scale.
        keep_depth: true keeps 16 bits (range 0 to 1 of 65,535) where BasicSR cuts to 8.
        channels: 1 keeps gray images gray and turns colour into Y before anything else; 3 by default.
        color: `y` for luma alone, of HR and LR each; mean, std: as in BasicSR.

    Raises:
        FileNotFoundError: a folder, LMDB or listed image is missing.
        ValueError: options or images that cannot be trained on; the text names option or file, value and remedy.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.opt = opt
        self.train = _option(opt, "phase") == "train"
        self.scales = _scales(opt)
        self.pre_upsample = (
            {scale: BicubicUpsample(scale) for scale in self.scales} if _flag(opt, "pre_upsample") else None
        )
        self.gt = _store(opt, "dataroot_gt")
        self.lq = None if opt.get("dataroot_lq") is None else _store(opt, "dataroot_lq")
        self.recipe = _recipe(opt, needed=self.lq is None)
        self.reading = _reading(opt)
        # Nothing to be done to the floats: then they can be made on arrival.
        self.plain = self.train and not any(opt.get(name) for name in ("color", "mean", "std"))
        self.travelling = False
        self.batches = 0  # that this process made
        self.ranks = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        self.pairs = find_pairs(
            self.gt,
            self.lq,
            gt_template=opt.get("gt_filename_tmpl") or "{}",
            lq_template=opt.get("filename_tmpl") or "{}",
            meta_info_file=opt.get("meta_info_file"),
        )
        if self.train:
            _check_training(opt, len(self.pairs))
        self.sizes: list[tuple[int, int]] = []  # of the HR images, in the pairs' order
        self._check_images()
        if self.lq is not None:
            self._check_degradation(self.lq)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._sample(index, self._draw_scale(index))

    def _sample(self, index: int, scale: int) -> dict[str, Any]:
        pair = self.pairs[index]
        gt, lq = self._training_crop(index, scale) if self.train else self._whole(pair, scale)
        item = {
            "lq": self._tensor(lq),
            "gt": self._tensor(gt),
            # BasicSR names results after the LR; without an LR file, after the HR.
            "lq_path": (self.lq or self.gt).path(pair.lq),
            "gt_path": self.gt.path(pair.gt),
        }
        return item if self.pre_upsample or self.opt.get("scales") is None else {**item, "scale": scale}

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """The samples of a batch, as DataLoaders ask for them; in a worker their 8-bit images travel as `Levels`, which
        torch's `default_collate` knows and a `collate_fn` of one's own must expect."""
        worker = torch.utils.data.get_worker_info()
        self.travelling = self.plain and worker is not None
        common = None  # the scale of the batch
        if len(self.scales) > 1 and not self.pre_upsample:
            common = self.scales[self._chance_of_batch(indices[0], worker) % len(self.scales)]
        try:
            return [self._sample(index, common or self._draw_scale(index)) for index in indices]
        finally:
            self.travelling = False

    def _chance_of_batch(self, first: int, worker: Any) -> int:
        """A number that the samples of a batch have in common, on all ranks."""
        if isinstance(first, SampleIndex):
            return first.shared
        if self.ranks == 1:
            return random_numbers_of(first)[0]
        # Of BasicSR's sampler no rank knows where the others are; but all of them count an epoch's batches alike.
        number = self.batches if worker is None else worker.id + self.batches * worker.num_workers
        self.batches += 1
        return random_numbers_at(0, f"batch {number}")[0]

    def _draw_scale(self, index: int) -> int:
        if len(self.scales) == 1:
            return self.scales[0]
        return self.scales[(random_numbers_of(index)[2] >> 3) % len(self.scales)]  # the three bits below turn the image

    def _whole(self, pair: Pair, scale: int) -> tuple[np.ndarray, np.ndarray]:
        gt = self.gt.read(pair.gt, **self.reading)
        if self.lq is not None:
            lq = self.lq.read(pair.lq, **self.reading)
        else:
            lq = self._degrade(gt, scale, noise_rng(self.recipe.seed if self.recipe else 0, self.gt.stem(pair.gt)))
        # HR images that are no multiple of the scale lose the rest, as in the papers.
        gt = gt[: lq.shape[0] * scale, : lq.shape[1] * scale]
        return gt, lq if self.pre_upsample is None else _upsampled(lq, self.pre_upsample[scale])

    def _degrade(
        self, gt: np.ndarray, scale: int, rng: np.random.Generator | None, region: Window | None = None
    ) -> np.ndarray:
        assert self.recipe is not None  # __init__ saw to it
        return self.recipe.degradation.apply(gt, scale, rng=rng, region=region)

    def _training_crop(self, index: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
        random_numbers = random_numbers_of(index)
        lq_size = self.sizes[index][0] // scale, self.sizes[index][1] // scale
        if self.pre_upsample is None:
            size = self.gt_size(scale) // scale
            top, left = (number % (side - size + 1) for number, side in zip(random_numbers[:2], lq_size, strict=True))
            gt, lq = self._crop(self.pairs[index], (top, left, size, size), lq_size, scale, random_numbers[3])
        else:
            gt, lq = self._upsampled_crop(self.pairs[index], random_numbers, lq_size, scale, self.pre_upsample[scale])

        hflip = random_numbers[2] & 1 and self.opt["use_hflip"]
        vflip = random_numbers[2] & 2 and self.opt["use_rot"]
        transpose = random_numbers[2] & 4 and self.opt["use_rot"]
        return _turned(gt, "gt", hflip, vflip, transpose), _turned(lq, "lq", hflip, vflip, transpose)

    def gt_size(self, scale: int) -> int:
        """Side of the HR crop."""
        size: int = self.opt["gt_size"] if self.opt.get("gt_size") is not None else self.opt["lq_size"] * scale
        return size

    def _upsampled_crop(
        self,
        pair: Pair,
        random_numbers: tuple[int, ...],
        lq_size: tuple[int, int],
        scale: int,
        upsample: BicubicUpsample,
    ) -> tuple[np.ndarray, np.ndarray]:
        """A crop anywhere in the HR image, and that of the whole enlarged LR image."""
        size = self.gt_size(scale)
        starts = [number % (side * scale - size + 1) for number, side in zip(random_numbers[:2], lq_size, strict=True)]
        # The LR pixels under it and around it; at the image's border there are fewer, and `upsample` repeats the last.
        firsts = [max(0, start // scale - REACH) for start in starts]
        lasts = [min(side, -(-(start + size) // scale) + REACH) for start, side in zip(starts, lq_size, strict=True)]
        (top, left), (bottom, right) = firsts, lasts
        gt, lq = self._crop(pair, (top, left, bottom - top, right - left), lq_size, scale, random_numbers[3])
        y, x = (start - first * scale for start, first in zip(starts, firsts, strict=True))
        return gt[y : y + size, x : x + size], _upsampled(lq, upsample)[y : y + size, x : x + size]

    def _crop(
        self, pair: Pair, window: Window, lq_size: tuple[int, int], scale: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The HR and LR image of a window in LR pixels."""
        if self.lq is not None:
            gt = self.gt.crop(pair.gt, _scaled(window, scale), use="gt", **self.reading)
            return gt, self.lq.crop(pair.lq, window, use="lq", **self.reading)
        assert self.recipe is not None  # __init__ saw to it
        # No more of the HR image than the LR window is made of.
        reach = self.recipe.degradation.reach(scale)
        (top, left, height, width), (rows, columns) = window, lq_size
        first_row, first_column = max(0, top - reach), max(0, left - reach)
        last_row, last_column = min(rows, top + height + reach), min(columns, left + width + reach)
        around = (first_row, first_column, last_row - first_row, last_column - first_column)
        source = self.gt.crop(pair.gt, _scaled(around, scale), use="gt", **self.reading)
        inside = (top - first_row, left - first_column, height, width)
        rng = np.random.default_rng(seed) if self.recipe.degradation.kind == "DN" else None
        lq = self._degrade(source, scale, rng, inside)
        top, left, height, width = _scaled(inside, scale)
        return source[top : top + height, left : left + width], lq

    def _tensor(self, image: np.ndarray) -> torch.Tensor | Levels:
        """B, G, R or gray integers, or floats from 0 to 1, H x W x C, to R, G, B floats from 0 to 1, C x H x W."""
        peak = {1: 255, 2: 65535, 4: 1}[image.itemsize]
        if self.opt.get("color") == "y":
            from basicsr.utils import bgr2ycbcr  # on first use, so that this module does not need BasicSR to be read

            values = bgr2ycbcr(image.astype(np.float32) / np.float32(peak), y_only=True)
            tensor = torch.from_numpy(values)[None]
        else:
            travels = self.travelling and peak == 255  # of 16 bits torch can do little else than convert them
            shape = image.shape[2], *image.shape[:2]
            planes = np.empty(shape, np.uint8) if travels else buffer("planes", shape, image.dtype)
            cv2.split(image, [*planes[::-1]])
            if travels:
                return Levels(torch.from_numpy(planes))
            tensor = to_floats(planes)
        if self.opt.get("mean") is not None or self.opt.get("std") is not None:
            from torchvision.transforms.functional import normalize

            normalize(tensor, self.opt["mean"], self.opt["std"], inplace=True)
        return tensor

    def _check_images(self) -> None:
        """By their headers, so that the whole set is looked at before time is spent."""
        with_alpha = []
        for pair in self.pairs:
            gt = self.gt.header(pair.gt)
            self.sizes.append((gt.height, gt.width))
            if gt.alpha:
                with_alpha.append(self.gt.describe(pair.gt))
            for scale in self.scales:
                self._check_size(pair, gt.height, gt.width, scale)
            if self.lq is None:
                continue
            (scale,) = self.scales  # prepared data is of one
            lq = self.lq.header(pair.lq)
            if lq.alpha:
                with_alpha.append(self.lq.describe(pair.lq))
            expected = gt.height // scale, gt.width // scale
            if (lq.height, lq.width) != expected:
                raise ValueError(
                    f"{self.gt.describe(pair.gt)} is {gt.height}x{gt.width} and {self.lq.describe(pair.lq)} is "
                    f"{lq.height}x{lq.width}: for scale {scale} it should be {expected[0]}x{expected[1]}. Check "
                    "scale, and that the two belong together."
                )
        if with_alpha:
            log.warning("%s and %d more: alpha is dropped.", with_alpha[0], len(with_alpha) - 1)
        if self.reading["keep_depth"]:
            log.info(
                "Data set %s keeps 16 bits; BasicSR's metrics and the pictures it saves are of 8 bits all the same.",
                self.opt.get("name"),
            )

    def _check_size(self, pair: Pair, height: int, width: int, scale: int) -> None:
        """Is the HR image large enough for a crop, or for one LR pixel?"""
        used = height // scale * scale, width // scale * scale
        if min(used) >= (self.gt_size(scale) if self.train else scale):
            return
        size = f"{height}x{width}" + (f", at scale {scale} {used[0]}x{used[1]}" if used != (height, width) else "")
        if not self.train:
            asked = f"scale {scale}: remove it."
        elif self.opt.get("gt_size") is not None:
            asked = f"gt_size {self.opt['gt_size']}: remove it or lower gt_size."
        else:
            asked = f"lq_size {self.opt['lq_size']} x {scale}: remove it or lower lq_size."
        raise ValueError(f"{self.gt.describe(pair.gt)} is {size}, smaller than {asked}")

    def _check_degradation(self, lq: ImageStore) -> None:
        """Does prepared data agree with the options?"""
        (scale,) = self.scales  # prepared data is of one
        record = Record.read(lq.root)
        if record is not None:
            said = self.recipe or record.recipe
            if record.scale != scale or record.recipe.at(scale) != said.at(scale):
                raise ValueError(
                    f"data set {self.opt.get('name')}: {lq.root} was made as x{record.scale} {record.recipe}, and the "
                    f"options say x{scale} {said}: mend scale and degradation, or name other data."
                )
            if record.images != len(lq):
                raise ValueError(
                    f"{lq.root} was made of {record.images} images and holds {len(lq)}: make the data anew."
                )
        elif self.recipe is not None:
            for pair in self.pairs[:PAIRS_LOOKED_AT]:
                # As they were made: neither cut to 8 bits nor turned into Y.
                images = self.gt.read(pair.gt, keep_depth=True), lq.read(pair.lq, keep_depth=True)
                if images[0].dtype == images[1].dtype and not self._made_as_said(*images, scale):
                    log.warning(
                        "Data set %s: the options say x%d %s, and %s looks like %s",
                        self.opt.get("name"), scale, self.recipe, lq.describe(pair.lq), identify(*images),
                    )  # fmt: skip

    def _made_as_said(self, gt: np.ndarray, lq: np.ndarray, scale: int) -> bool:
        assert self.recipe is not None
        degradation = self.recipe.degradation
        if degradation.kind == "DN":
            found = identify(gt, lq)  # another noise is still of this kind; a tenth is beyond what the estimate errs
            said = degradation.noise or 0.0
            return found.kind == "DN" and abs((found.noise or 0.0) - said) < 0.1 * said
        return matches_up_to_ties(degradation.apply(gt, scale), lq)


def _scaled(window: Window, scale: int) -> Window:
    top, left, height, width = window
    return top * scale, left * scale, height * scale, width * scale


def _turned(image: np.ndarray, use: str, hflip: Any, vflip: Any, transpose: Any) -> np.ndarray:
    if hflip or vflip:
        target = buffer(f"{use} flipped", image.shape, image.dtype)
        image = cv2.flip(image, -1 if hflip and vflip else 1 if hflip else 0, dst=target)
    if transpose:
        target = buffer(f"{use} transposed", (image.shape[1], image.shape[0], *image.shape[2:]), image.dtype)
        image = cv2.transpose(image, dst=target)
    return image.reshape(*image.shape[:2], -1)  # of one channel OpenCV drops the axis


def _upsampled(lq: np.ndarray, upsample: BicubicUpsample) -> np.ndarray:
    """Integers, H x W x C, to float32 from 0 to 1 of the HR image's size."""
    planes = to_floats(np.ascontiguousarray(lq.transpose(2, 0, 1)))
    return upsample(planes[None])[0].permute(1, 2, 0).numpy()


def _option(opt: Mapping[str, Any], name: str) -> Any:
    if opt.get(name) is None:
        raise ValueError(f"data set {opt.get('name', '?')}: option {name} is missing.")
    return opt[name]


def _whole(opt: Mapping[str, Any], name: str) -> int:
    value = _option(opt, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"data set {opt.get('name', '?')}: {name} is {value!r}; expected a whole number of 1 or more.")
    return value


def _flag(opt: Mapping[str, Any], name: str) -> bool:
    value = opt.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"data set {opt.get('name', '?')}: {name} is {value!r}; expected true or false.")
    return value


def _scales(opt: Mapping[str, Any]) -> tuple[int, ...]:
    scales, name = opt.get("scales"), opt.get("name", "?")
    if scales is None:
        return (_whole(opt, "scale"),)
    if not isinstance(scales, list) or not scales or not all(type(one) is int and one >= 2 for one in scales):
        raise ValueError(f"data set {name}: scales is {scales!r}; expected whole numbers, such as [2, 3, 4].")
    for other, why in {"scale": "give one of the two", "dataroot_lq": "their LR images are made on the fly"}.items():
        if opt.get(other) is not None:
            raise ValueError(f"data set {name}: scales is {scales} and {other} is {opt[other]!r}: {why}.")
    if opt["phase"] != "train":
        raise ValueError(f"data set {name}: scales is {scales}; expected scale, one for each set that is validated.")
    return tuple(scales)


def _store(opt: Mapping[str, Any], option: str) -> ImageStore:
    root = _option(opt, option)
    try:
        store = ImageStore(root)
    except (FileNotFoundError, ValueError) as error:
        script = next((script for folder, script in MADE_BY.items() if folder in Path(root).parts), None)
        hint = f" `python scripts/{script}` makes it." if script else ""
        raise type(error)(f"data set {opt.get('name', '?')}: {option}: {error}{hint}") from None
    backend = (opt.get("io_backend") or {}).get("type", "lmdb" if store.is_lmdb else "disk")
    if backend != ("lmdb" if store.is_lmdb else "disk"):
        raise ValueError(
            f"data set {opt.get('name', '?')}: io_backend type {backend!r} and {option} {root!r} disagree: "
            "lmdb reads folders named *.lmdb, disk reads folders of image files."
        )
    return store


def _recipe(opt: Mapping[str, Any], needed: bool) -> Recipe | None:
    if opt.get("degradation") is not None:
        try:
            return Recipe.from_option(opt["degradation"])
        except ValueError as error:
            raise ValueError(f"data set {opt.get('name', '?')}: {error}") from None
    if needed:
        raise ValueError(
            f"data set {opt.get('name', '?')}: neither dataroot_lq nor degradation is given: name the LR folder, "
            "or say how to make the LR, degradation: {type: BI}."
        )
    return None


def _reading(opt: Mapping[str, Any]) -> dict[str, Any]:
    keep_depth, channels = opt.get("keep_depth", False), opt.get("channels", 3)
    name = opt.get("name", "?")
    if not isinstance(keep_depth, bool):
        raise ValueError(f"data set {name}: keep_depth is {keep_depth!r}; expected true or false.")
    if channels not in (1, 3):
        raise ValueError(f"data set {name}: channels is {channels!r}; expected 1 (gray) or 3 (colour).")
    if opt.get("color") not in (None, "y") or (opt.get("color") == "y" and channels == 1):
        raise ValueError(
            f"data set {name}: color is {opt['color']!r} and channels is {channels}; color is y or left out, and with "
            "channels: 1 it is left out."
        )
    if (opt.get("mean") is None) != (opt.get("std") is None):
        raise ValueError(f"data set {name}: of mean and std one is missing: give both, or neither.")
    return {"keep_depth": keep_depth, "channels": channels}


def _check_training(opt: Mapping[str, Any], images: int) -> None:
    name, pre_upsample = opt.get("name", "?"), opt.get("pre_upsample")
    if opt.get("lq_size") is not None:
        size = _whole(opt, "lq_size")
        if opt.get("gt_size") is not None or pre_upsample:
            raise ValueError(
                f"data set {name}: lq_size is {size}: give gt_size or lq_size, and with pre_upsample gt_size."
            )
    elif (size := _whole(opt, "gt_size")) and opt.get("scales") is not None and not pre_upsample:
        raise ValueError(
            f"data set {name}: gt_size is {size} and scales {opt['scales']}: give lq_size, of which each scale makes "
            "its HR size, or pre_upsample: true."
        )
    elif not pre_upsample and size % (scale := opt["scale"]):
        raise ValueError(
            f"data set {name}: gt_size {size} is not a multiple of scale {scale}: "
            f"use {size // scale * scale or scale} or {(size // scale + 1) * scale}."
        )
    for option in ("use_hflip", "use_rot"):
        _option(opt, option)
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    ratio, batch = opt.get("dataset_enlarge_ratio", 1), opt.get("batch_size_per_gpu", 1)
    samples = math.ceil(images * ratio / world)
    if samples < batch:
        raise ValueError(
            f"data set {name}: {samples} samples an epoch ({images} images x dataset_enlarge_ratio {ratio} / {world} "
            f"processes) are fewer than one batch of {batch}, so BasicSR would train nothing: set "
            f"dataset_enlarge_ratio to {math.ceil(batch * world / images)} or more."
        )
