"""Pairs of HR and LR images, with the LR image stored or made on the fly, in the form that BasicSR trains on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from rcan_plugin.data.crops import PairReader
from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.scan import scan
from rcan_plugin.data.stream import RANGE, SampleIndex, draws_at, random_numbers_of
from rcan_plugin.data.tensors import to_tensor
from rcan_plugin.data.transport import PackedUint8

log = logging.getLogger("basicsr")


class DegradationPairedDataset(Dataset[dict[str, Any]]):
    """Options and items of BasicSR's `PairedImageDataset`; without `dataroot_lq` it makes the LR images itself.

    An item is `{lq, gt, lq_path, gt_path}`: float32 tensors, C x H x W, RGB, range 0 to 1. In validation of 8-bit
    colour they equal those of `PairedImageDataset` bit for bit. In training they are a random crop, flipped and
    transposed at random; an LR crop made on the fly equals the same crop of the whole LR image, value for value.

    If the index is a `stream.SampleIndex`, the random choices depend only on the seed and the position in the run's
    stream of samples. With other indices they come from torch's generator of this process, which is seeded by BasicSR's
    `manual_seed` and torch's DataLoader: the same seed and numbers of workers and ranks give the same samples, and each
    epoch has new ones. (BasicSR's own data sets use Python's generator, which its workers reset at every epoch.)

    Options (`opt`):
        phase: `train`, `val` or `test`.
        scale: set by BasicSR from the option file's top level; otherwise the data set's own.
        pre_upsample: true: upsample the LR image to the HR image's size by bicubic interpolation (`BicubicUpsample`),
            without rounding, for networks whose `upscale` is 1.
        scales: [2, 3, 4] instead of `scale`, in training, for one network that serves several scales. With
            `pre_upsample` one is drawn for each sample; without, one for each batch, the same on all ranks, and the
            item has a `scale`. (BasicSR's own `train.py` on several GPUs draws the same for every epoch;
            `rcan_plugin.train` does not.)
        dataroot_gt: folder or LMDB (`*.lmdb`) of HR images.
        dataroot_lq: folder or LMDB of LR images; without it LR images are made on the fly as `degradation` says.
        degradation: {type: BI|BD|DN, border, sigma, kernel_size, noise, seed}: how LR images are made, or were made:
            compared with the `degradation.json` of stored LR images, or without one with the first pairs. DN's noise
            is new for every training sample; in validation it depends only on seed and file name.
        meta_info_file: text file that lists the HR images to take, one a line: `NAME` or `NAME (h,w,c)`.
        gt_filename_tmpl, filename_tmpl: how HR and LR names are made from the name that both share, `{}_HR_x4`.
        gt_size: side of the HR crop in pixels, or instead lq_size: side of the LR crop (training only). Without
            `pre_upsample` gt_size is a multiple of the scale.
        use_hflip, use_rot: as in BasicSR (training only).
        keep_depth: true keeps 16 bits (range 0 to 1 of 65,535) where BasicSR cuts to 8.
        channels: 1 keeps gray images gray and converts colour to luma before anything else; 3 by default.
        color: `y`: convert both images to luma; mean, std: as in BasicSR.

    Raises:
        FileNotFoundError: a folder, LMDB or listed image is missing.
        ValueError: options or images that cannot be trained on; names the option or file, its value and a remedy.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.opt = opt  # BasicSR and its models read it
        self.options = DatasetOptions.read(opt)
        files = scan(self.options)
        for level, text in files.messages:
            log.log(level, "%s", text)
        self.gt, self.lq, self.pairs, self.sizes = files.gt, files.lq, files.pairs, files.sizes
        self.reader = PairReader(self.gt, self.lq, self.options)
        pixels = self.options.pixels
        # Workers may send uint8 if nothing else is computed from the floats.
        self.packable = self.options.training is not None and not pixels.luma and pixels.mean is None
        self.ranks = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        self.batches = 0  # made by this process

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._sample(index)

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """The samples of a batch, as DataLoaders ask for them.

        In a worker 8-bit images may be `PackedUint8`, which torch's `default_collate` supports; a custom `collate_fn`
        must handle it.
        """
        worker = torch.utils.data.get_worker_info()
        packed = self.packable and worker is not None
        scale = self._scale_of_batch(indices[0], worker)
        return [self._sample(index, scale, packed) for index in indices]

    def _scale_of_batch(self, first: int, worker: Any) -> int | None:
        """The scale that the samples of a batch share on all ranks; None where each draws its own."""
        scales = self.options.scales
        if len(scales) == 1 or self.options.pre_upsample:
            return None
        if isinstance(first, SampleIndex):
            number = first.shared
        elif self.ranks == 1:
            number = int(torch.randint(RANGE, ()))
        else:
            # Ranks do not know each other's samples from BasicSR's sampler, but all of them count batches alike.
            batch = self.batches if worker is None else worker.id + self.batches * worker.num_workers
            self.batches += 1
            number = draws_at(0, f"batch {batch}")[0]
        return scales[number % len(scales)]

    def _sample(self, index: int, scale: int | None = None, packed: bool = False) -> dict[str, Any]:
        """One item; `scale` is drawn unless given; `packed` leaves 8-bit images to the main process to convert."""
        pair, scales, training = self.pairs[index], self.options.scales, self.options.training
        if training is None:
            gt, lq = self.reader.whole(pair, scales[0])
        else:
            numbers = random_numbers_of(index)
            scale = scale or scales[numbers.scale % len(scales)]
            gt, lq = self.reader.random_crop(pair, self.sizes[index], scale, numbers, training)
        item = {
            "lq": self._tensor(lq, packed),
            "gt": self._tensor(gt, packed),
            # BasicSR names results after the LR image; without an LR file, after the HR image.
            "lq_path": (self.lq or self.gt).path(pair.lq),
            "gt_path": self.gt.path(pair.gt),
        }
        return {**item, "scale": scale} if self.options.scale_in_item else item

    def _tensor(self, image: np.ndarray, packed: bool) -> torch.Tensor | PackedUint8:
        if packed and image.dtype == np.uint8:  # torch supports few operations on uint16
            return PackedUint8.pack(image)
        return to_tensor(image, self.options.pixels)
