"""Pairs of HR and LR images, with the LR from disk or made on the fly, in the form BasicSR trains on."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from rcan_plugin.degradations import degrade

from .pairs import Pair, find_pairs
from .store import ImageStore

log = logging.getLogger("basicsr")


class DegradationPairedDataset(Dataset[dict[str, Any]]):
    """Options and items of BasicSR's `PairedImageDataset`; without `dataroot_lq` it makes the LR itself.

    An item is `{lq, gt, lq_path, gt_path}`: float32 tensors, C x H x W, RGB, range 0 to 1. In validation of 8-bit
    colour they equal those of `PairedImageDataset` bit for bit. In training they are a random crop, flipped and
    turned; a crop's LR made on the fly equals the same crop of the whole image's LR, value for value.

    Random choices come from torch's generator of the process at hand, which BasicSR's `manual_seed` and torch's
    DataLoader seed: the same seed, workers and ranks give the same samples, another epoch gives others. (BasicSR's own
    data sets use Python's generator, which its workers set back to the same state at every epoch.)

    Options (`opt`):
        phase: `train`, `val` or `test`; scale: set by BasicSR from the option file's top level.
        dataroot_gt: folder or LMDB (`*.lmdb`) of HR images.
        dataroot_lq: the same of LR images; left out, the LR is made on the fly as `degradation` says.
        degradation: {type: BI}, how the LR is or was made.
        meta_info_file: text file whose lines begin with the HR names to take.
        gt_filename_tmpl, filename_tmpl: how HR and LR names are made from the name both share, `{}_HR_x4`.
        gt_size: side of the HR crop in pixels; use_hflip, use_rot: as in BasicSR (training only).
        color: `y` for luma alone; mean, std: as in BasicSR.

    Raises:
        FileNotFoundError: a folder, LMDB or listed image is missing.
        ValueError: options or images that cannot be trained on; the text names option or file, value and remedy.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.opt = opt
        self.train = _option(opt, "phase") == "train"
        self.scale = _option(opt, "scale")
        self.gt = _store(opt, "dataroot_gt")
        self.lq = None if opt.get("dataroot_lq") is None else _store(opt, "dataroot_lq")
        self.degradation = _degradation(opt, needed=self.lq is None)
        self.pairs = find_pairs(
            self.gt,
            self.lq,
            gt_template=opt.get("gt_filename_tmpl") or "{}",
            lq_template=opt.get("filename_tmpl") or "{}",
            meta_info_file=opt.get("meta_info_file"),
        )
        if self.train:
            _check_training(opt, len(self.pairs))
        for pair in self.pairs:
            self._check_sizes(pair)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.pairs[index]
        gt = self.gt.read(pair.gt)
        lq = None if pair.lq is None or self.lq is None else self.lq.read(pair.lq)
        gt, lq = self._training_crop(gt, lq) if self.train else self._whole(gt, lq)
        gt_path = self.gt.path(pair.gt)
        return {
            "lq": self._tensor(lq),
            "gt": self._tensor(gt),
            # Without an LR file, BasicSR names results after the HR.
            "lq_path": gt_path if pair.lq is None or self.lq is None else self.lq.path(pair.lq),
            "gt_path": gt_path,
        }

    def _whole(self, gt: np.ndarray, lq: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        if lq is None:
            lq = degrade(gt, self.scale, **self.degradation)
        # HR images that are no multiple of the scale lose the rest, as in the papers.
        return gt[: lq.shape[0] * self.scale, : lq.shape[1] * self.scale], lq

    def _training_crop(self, gt: np.ndarray, lq: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(int(torch.randint(2**63 - 1, ())))
        scale, size = self.scale, self.opt["gt_size"] // self.scale
        top = int(random.integers(gt.shape[0] // scale - size + 1))
        left = int(random.integers(gt.shape[1] // scale - size + 1))
        if lq is None:
            lq = degrade(gt, scale, region=(top, left, size, size), **self.degradation)
        else:
            lq = lq[top : top + size, left : left + size]
        gt = gt[top * scale : (top + size) * scale, left * scale : (left + size) * scale]

        hflip, vflip, transpose = random.random(3) < 0.5
        if hflip and self.opt["use_hflip"]:
            gt, lq = gt[:, ::-1], lq[:, ::-1]
        if vflip and self.opt["use_rot"]:
            gt, lq = gt[::-1], lq[::-1]
        if transpose and self.opt["use_rot"]:
            gt, lq = gt.transpose(1, 0, 2), lq.transpose(1, 0, 2)
        return gt, lq

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        """B, G, R or gray integers, H x W x C, to R, G, B floats from 0 to 1, C x H x W."""
        values = image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
        if self.opt.get("color") == "y" and values.shape[2] == 3:
            from basicsr.utils import bgr2ycbcr  # on first use, so that this module does not need BasicSR to be read

            values = bgr2ycbcr(np.ascontiguousarray(values), y_only=True)[..., None]
        tensor = torch.from_numpy(np.ascontiguousarray(values[..., ::-1].transpose(2, 0, 1)))
        if self.opt.get("mean") is not None or self.opt.get("std") is not None:
            from torchvision.transforms.functional import normalize

            normalize(tensor, self.opt["mean"], self.opt["std"], inplace=True)
        return tensor

    def _check_sizes(self, pair: Pair) -> None:
        gt = self.gt.header(pair.gt)
        height, width = gt.height // self.scale, gt.width // self.scale
        if self.lq is not None and pair.lq is not None:
            lq = self.lq.header(pair.lq)
            if (lq.height, lq.width) != (height, width):
                raise ValueError(
                    f"{self.gt.describe(pair.gt)} is {gt.height}x{gt.width} and {self.lq.describe(pair.lq)} is "
                    f"{lq.height}x{lq.width}: for scale {self.scale} it should be {height}x{width}. Check scale and "
                    "that the two folders belong together."
                )
        size = self.opt["gt_size"] if self.train else self.scale
        if min(gt.height, gt.width) < size:
            raise ValueError(
                f"{self.gt.describe(pair.gt)} is {gt.height}x{gt.width}, smaller than the "
                f"{'patch, gt_size' if self.train else 'scale,'} {size}: remove it"
                f"{' or lower gt_size' if self.train else ''}."
            )


def _option(opt: Mapping[str, Any], name: str) -> Any:
    if opt.get(name) is None:
        raise ValueError(f"data set {opt.get('name', '?')}: option {name} is missing.")
    return opt[name]


def _store(opt: Mapping[str, Any], option: str) -> ImageStore:
    root = _option(opt, option)
    try:
        store = ImageStore(root)
    except (FileNotFoundError, ValueError) as error:
        hint = " `python scripts/prepare_div2k.py` makes it." if "DIV2K" in str(root) else ""
        raise type(error)(f"data set {opt.get('name', '?')}: {option}: {error}{hint}") from None
    backend = (opt.get("io_backend") or {}).get("type", "lmdb" if store.is_lmdb else "disk")
    if backend != ("lmdb" if store.is_lmdb else "disk"):
        raise ValueError(
            f"data set {opt.get('name', '?')}: io_backend type {backend!r} and {option} {root!r} disagree: "
            "lmdb reads folders named *.lmdb, disk reads folders of image files."
        )
    return store


def _degradation(opt: Mapping[str, Any], needed: bool) -> dict[str, Any]:
    given = opt.get("degradation")
    if given is None:
        if needed:
            raise ValueError(
                f"data set {opt.get('name', '?')}: neither dataroot_lq nor degradation is given: name the LR folder, "
                "or say how to make the LR, degradation: {type: BI}."
            )
        return {}
    settings = dict(given)
    return {"kind": settings.pop("type", None), **settings}


def _check_training(opt: Mapping[str, Any], images: int) -> None:
    name, size, scale = opt.get("name", "?"), _option(opt, "gt_size"), opt["scale"]
    if size % scale:
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
