"""Reads image pairs, whole or as random crops; makes LR images on the fly if none are stored."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from rcan_plugin.data.options import DatasetOptions, TrainingOptions
from rcan_plugin.data.stream import RandomNumbers
from rcan_plugin.data.tensors import to_floats
from rcan_plugin.degradations import noise_rng
from rcan_plugin.images.buffers import buffer
from rcan_plugin.images.pairs import Pair
from rcan_plugin.images.store import ImageStore, Window
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample

UPSAMPLE_REACH = 2
"""LR pixels on each side of a bicubically upsampled pixel that affect its value."""

HFLIP, VFLIP, TRANSPOSE = 1, 2, 4
"""Bits of an orientation."""

Images = tuple[np.ndarray, np.ndarray]
"""An HR and an LR image, H x W x C, B, G, R or gray: uint8 or uint16, and a pre-upsampled LR image float32."""


class PairReader:
    """Reads pairs of HR and LR images; if no LR image is stored, it is made from the HR image.

    Args:
        gt: HR images.
        lq: LR images, or None to make them as the options' `recipe` says.
        options: options of the data set.
    """

    def __init__(self, gt: ImageStore, lq: ImageStore | None, options: DatasetOptions) -> None:
        self.gt, self.lq, self.recipe = gt, lq, options.recipe
        self.decoding: dict[str, Any] = {"keep_depth": options.pixels.keep_depth, "channels": options.pixels.channels}
        self.upsample = {scale: BicubicUpsample(scale) for scale in options.scales} if options.pre_upsample else None

    def whole(self, pair: Pair, scale: int) -> Images:
        """Both whole images; the HR image is cropped to a multiple of the scale, as in the papers.

        The noise of a degradation depends only on the recipe's seed and the file name.
        """
        gt = self.gt.read(pair.gt, **self.decoding)
        if self.lq is not None:
            lq = self.lq.read(pair.lq, **self.decoding)
        else:
            lq = self._degrade(gt, scale, noise_rng(self.recipe.seed if self.recipe else 0, self.gt.stem(pair.gt)))
        gt = gt[: lq.shape[0] * scale, : lq.shape[1] * scale]
        return gt, lq if self.upsample is None else _upsampled(lq, self.upsample[scale])

    def random_crop(
        self, pair: Pair, hr_shape: tuple[int, int], scale: int, numbers: RandomNumbers, training: TrainingOptions
    ) -> Images:
        """A crop of both images, flipped and transposed.

        Args:
            pair: names of the images.
            hr_shape: height and width of the HR image.
            scale: HR pixels per LR pixel.
            numbers: random numbers for the position, the orientation and the noise.
            training: size of the crop, and which orientations are allowed.
        """
        lq_shape = hr_shape[0] // scale, hr_shape[1] // scale
        size = training.hr_size(scale)
        if self.upsample is None:
            images = self._aligned_crop(pair, lq_shape, scale, numbers, size // scale)
        else:
            images = self._upsampled_crop(pair, lq_shape, scale, numbers, size, self.upsample[scale])
        allowed = HFLIP * training.use_hflip | (VFLIP | TRANSPOSE) * training.use_rot
        orientation = numbers.orientation & allowed
        return _oriented(images[0], "gt", orientation), _oriented(images[1], "lq", orientation)

    def _aligned_crop(
        self, pair: Pair, lq_shape: tuple[int, int], scale: int, numbers: RandomNumbers, lq_size: int
    ) -> Images:
        """A crop that begins at an LR pixel."""
        top, left = numbers.top % (lq_shape[0] - lq_size + 1), numbers.left % (lq_shape[1] - lq_size + 1)
        return self.window(pair, (top, left, lq_size, lq_size), lq_shape, scale, numbers.noise)

    def _upsampled_crop(
        self,
        pair: Pair,
        lq_shape: tuple[int, int],
        scale: int,
        numbers: RandomNumbers,
        size: int,
        upsample: BicubicUpsample,
    ) -> Images:
        """A crop that begins at any HR pixel, and the same crop of the upsampled LR image."""
        starts = [number % (side * scale - size + 1) for number, side in zip(numbers[:2], lq_shape, strict=True)]
        # The LR pixels under the crop and around it; fewer at the image's border, where `upsample` repeats the last.
        firsts = [max(0, start // scale - UPSAMPLE_REACH) for start in starts]
        ends = [
            min(side, -(-(start + size) // scale) + UPSAMPLE_REACH)
            for start, side in zip(starts, lq_shape, strict=True)
        ]
        (top, left), (bottom, right) = firsts, ends
        gt, lq = self.window(pair, (top, left, bottom - top, right - left), lq_shape, scale, numbers.noise)
        y, x = (start - first * scale for start, first in zip(starts, firsts, strict=True))
        return gt[y : y + size, x : x + size], _upsampled(lq, upsample)[y : y + size, x : x + size]

    def window(self, pair: Pair, window: Window, lq_shape: tuple[int, int], scale: int, noise_seed: int) -> Images:
        """The part of both images under a window.

        Args:
            pair: names of the images.
            window: (top, left, height, width) in LR pixels.
            lq_shape: height and width of the LR image.
            scale: HR pixels per LR pixel.
            noise_seed: seed of DN's noise.
        """
        if self.lq is not None:
            gt = self.gt.crop(pair.gt, _scaled(window, scale), use="gt", **self.decoding)
            return gt, self.lq.crop(pair.lq, window, use="lq", **self.decoding)
        assert self.recipe is not None  # the options require one
        # Read no more of the HR image than the LR window depends on.
        reach = self.recipe.degradation.reach(scale)
        (top, left, height, width), (rows, columns) = window, lq_shape
        first_row, first_column = max(0, top - reach), max(0, left - reach)
        end_row, end_column = min(rows, top + height + reach), min(columns, left + width + reach)
        needed = (first_row, first_column, end_row - first_row, end_column - first_column)
        source = self.gt.crop(pair.gt, _scaled(needed, scale), use="gt", **self.decoding)
        inside = (top - first_row, left - first_column, height, width)
        rng = np.random.default_rng(noise_seed) if self.recipe.degradation.kind == "DN" else None
        lq = self._degrade(source, scale, rng, inside)
        top, left, height, width = _scaled(inside, scale)
        return source[top : top + height, left : left + width], lq

    def _degrade(
        self, gt: np.ndarray, scale: int, rng: np.random.Generator | None, region: Window | None = None
    ) -> np.ndarray:
        assert self.recipe is not None  # the options require one
        return self.recipe.degradation.apply(gt, scale, rng=rng, region=region)


def _scaled(window: Window, scale: int) -> Window:
    top, left, height, width = window
    return top * scale, left * scale, height * scale, width * scale


def _oriented(image: np.ndarray, use: str, orientation: int) -> np.ndarray:
    """Flip and transpose an image; the result is in a buffer named after `use`."""
    hflip, vflip = orientation & HFLIP, orientation & VFLIP
    if hflip or vflip:
        target = buffer(f"{use} flipped", image.shape, image.dtype)
        image = cv2.flip(image, -1 if hflip and vflip else 1 if hflip else 0, dst=target)
    if orientation & TRANSPOSE:
        target = buffer(f"{use} transposed", (image.shape[1], image.shape[0], *image.shape[2:]), image.dtype)
        image = cv2.transpose(image, dst=target)
    return image.reshape(*image.shape[:2], -1)  # OpenCV drops the axis of a single channel


def _upsampled(lq: np.ndarray, upsample: BicubicUpsample) -> np.ndarray:
    """Integers, H x W x C, to float32 from 0 to 1 of the HR image's size."""
    planes = to_floats(np.ascontiguousarray(lq.transpose(2, 0, 1)))
    return upsample(planes[None])[0].permute(1, 2, 0).numpy()
