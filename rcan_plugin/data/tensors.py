"""Converts decoded images to tensors in the form that BasicSR's networks expect."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from rcan_plugin.data.options import PixelOptions
from rcan_plugin.images.buffers import buffer

WHITE = {1: 255, 2: 65535, 4: 1}
"""The value of white, by bytes a value: uint8, uint16, float32."""


def to_planes(image: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Copy an image, H x W x C, B, G, R or gray, into `planes`, C x H x W, R, G, B or gray."""
    cv2.split(image, [*planes[::-1]])
    return planes


def to_floats(values: np.ndarray) -> torch.Tensor:
    """Scale integers to floats from 0 to 1, exactly v / 255 or v / 65535; copy floats. May overwrite `values`.

    Args:
        values: uint8, uint16 or float32, of any shape.

    Returns:
        float32, of the same shape.
    """
    if values.dtype == np.float32:
        return torch.from_numpy(values).clone()
    if values.dtype != np.uint8:
        return torch.from_numpy(values).float().div_(65535)
    # v / 256 + v / 256 / 255 is v / 255, for each of the 256 values rounded to the same float. A division takes longer.
    rows = values.reshape(-1, values.shape[-1])
    floats = cv2.addWeighted(rows, 1 / 256, rows, 1 / 256 / 255, 0, dtype=cv2.CV_32F)
    return torch.from_numpy(floats).view(values.shape)


def to_tensor(image: np.ndarray, pixels: PixelOptions) -> torch.Tensor:
    """Convert an image to a tensor with `color`, `mean` and `std` applied, as BasicSR's `PairedImageDataset` does.

    Args:
        image: H x W x C, B, G, R or gray, uint8, uint16, or float32 from 0 to 1.
        pixels: its `luma`, `mean` and `std` are used.

    Returns:
        C x H x W, R, G, B or gray, float32, from 0 to 1 before mean and std.
    """
    if pixels.luma:
        from basicsr.utils import bgr2ycbcr  # on first use: the data set works without BasicSR otherwise

        luma = bgr2ycbcr(image.astype(np.float32) / np.float32(WHITE[image.itemsize]), y_only=True)
        tensor = torch.from_numpy(luma)[None]
    else:
        shape = image.shape[2], *image.shape[:2]
        tensor = to_floats(to_planes(image, buffer("planes", shape, image.dtype)))
    if pixels.mean is not None and pixels.std is not None:
        mean, std = (torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (pixels.mean, pixels.std))
        tensor.sub_(mean).div_(std)
    return tensor
