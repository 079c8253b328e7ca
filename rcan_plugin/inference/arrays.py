"""Images as NumPy arrays: checks, and conversion to tensors and back."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535, np.dtype(np.float32): 1}
"""The value of white, by type."""
RANGE_TOLERANCE = 1e-3
"""By how much float values may exceed the range 0 to 1, because of rounding."""
NOT_BLACK = 0.02
"""A part of an image with at least this mean value is not black."""


def check_image(image: np.ndarray, channels: int) -> None:
    """Check that a network with this number of channels can upscale an image.

    Raises:
        TypeError: it is not an array, or its type is not uint8, uint16 or float32.
        ValueError: its shape, its channels or its range are wrong.
    """
    if not isinstance(image, np.ndarray) or image.dtype not in WHITE:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"the image is of type {kind}; expected a NumPy array of uint8, uint16 or float32.")
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"the image has shape {image.shape}; expected height x width x channels, none of them 0.")
    if image.shape[2] != channels:
        raise ValueError(f"the image has {image.shape[2]} channels, the network takes {channels}.")
    if image.dtype == np.float32:
        low, high = float(image.min()), float(image.max())
        if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):  # NaN too
            raise ValueError(f"the image has values from {low:g} to {high:g}; expected 0 to 1 for float32.")


def to_tensor(image: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Convert H x W x C of any type to 1 x C x H x W, float32, range 0 to 1."""
    values = np.ascontiguousarray(image, dtype=np.float32)
    return torch.from_numpy(values).permute(2, 0, 1)[None].to(device) / WHITE[image.dtype]


def to_array(sr: Tensor, dtype: np.dtype) -> np.ndarray:
    """Convert 1 x C x H x W, range 0 to 1, to H x W x C of `dtype`; values are clipped, integers rounded."""
    values = sr[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy()
    largest = WHITE[dtype]
    return np.ascontiguousarray(values, np.float32) if largest == 1 else np.rint(values * largest).astype(dtype)


def check_result(sr: Tensor, image: np.ndarray, precision: torch.dtype | None) -> None:
    """Check that a result is finite, and not black unless the image is black.

    Raises:
        FloatingPointError: the result is not finite, or black; the message names the precision to choose.
    """
    fault = ""
    low, high = map(float, torch.aminmax(sr))  # NaN if any value is; needs no mask of the size of the result
    if not (math.isfinite(low) and math.isfinite(high)):
        fault = "is not finite"
    elif high <= 0 and image.mean() > NOT_BLACK * WHITE[image.dtype]:
        fault = "is black where the image is not"
    if not fault:
        return
    if precision == torch.float16:
        raise FloatingPointError(
            f"the result {fault}: float16 overflows in this network; choose precision fp32 or bf16 (--precision)."
        )
    if precision is not None:
        raise FloatingPointError(f"the result {fault}: choose precision fp32 (--precision fp32).")
    raise FloatingPointError(f"the result {fault}, in float32: the weights are damaged, or another network's.")
