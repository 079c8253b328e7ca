"""Finds the channels, sizes and scale of a network by running it on small images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from rcan_plugin.inference.common import Upscale, scale_of
from rcan_plugin.inference.receptive_field import SHIFTS, SIZE_ERRORS

SIDES = (1, 8, 16, 32, 64)


@dataclass(frozen=True)
class Sizes:
    """Channels, sizes and scale of a network.

    Attributes:
        scale: scale of the network.
        channels, out_channels: channels of images and of results.
        least: smallest side that it accepts, in pixels.
        multiple: accepted sides are `least` plus multiples of this number.
    """

    scale: int
    channels: int
    out_channels: int
    least: int = 1
    multiple: int = 1

    def padded(self, image: np.ndarray, multiple: int = 1) -> np.ndarray:
        """Pad an image, H x W x C, to sides that the network accepts and that are multiples of `multiple`.

        It is padded on the right and at the bottom, by reflection, as in networks that pad their input themselves.
        """
        multiple = max(multiple, self.multiple)
        height, width = (max(side, self.least) + -max(side, self.least) % multiple for side in image.shape[:2])
        if (height, width) == image.shape[:2]:
            return image
        return np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), "reflect")


def find_sizes(upscale: Upscale, channels: Iterable[int], device: torch.device) -> Sizes:
    """Find the channels, the size multiple and the scale of a network.

    Args:
        upscale: the network.
        channels: numbers of channels to try.
        device: of the network.

    Raises:
        ValueError: it accepts no image, or does not multiply both sides by the same whole number.
    """
    reason: Exception | None = None
    for count in channels:
        for side in SIDES:
            image = torch.full((1, count, side, side), 0.5, device=device)
            try:
                sr = upscale(image)
            except SIZE_ERRORS as error:
                reason = reason or error
                continue
            multiple = next((shift for shift in SHIFTS if _takes(upscale, image, side + shift)), side)
            return Sizes(scale_of(image, sr), count, sr.shape[1], side, multiple)
    raise ValueError(f"the network accepts no small image: {reason}")


def _takes(upscale: Upscale, image: torch.Tensor, side: int) -> bool:
    try:
        upscale(image.new_full((*image.shape[:2], side, side), 0.5))
    except SIZE_ERRORS:
        return False
    return True
