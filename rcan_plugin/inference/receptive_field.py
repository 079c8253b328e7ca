"""Measures the receptive field of any network by running it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from rcan_plugin.inference.common import Upscale, scale_of

SIDES = (32, 128, 512)
"""Sides of the images on which a network is tried, in pixels: a radius of up to 240 is found."""
SHIFTS = (1, 2, 4, 8, 16)
"""Multiples at which crops may have to begin: factors of pixel unshuffling, sides of windows."""
TOLERANCE = 1e-4
"""Of the largest value: rounding of float32 in deep networks."""
SIZE_ERRORS = (RuntimeError, ValueError, AssertionError, IndexError)
"""What networks raise for an image whose size or channels they do not take."""


@dataclass(frozen=True)
class ReceptiveField:
    """What a pixel of the result depends on.

    Attributes:
        radius: how many pixels away, in the input and in each direction, a pixel may be on which a result depends.
        multiple: crops that begin at multiples of it have the values of the whole image.
    """

    radius: int
    multiple: int = 1


def find_receptive_field(upscale: Upscale, image: Tensor) -> ReceptiveField | None:
    """Find the receptive field of a network. It takes seconds for the deepest ones.

    A column of an image is set to NaN, which convolutions, activations and normalisations hand on: NaN in the result is
    what depends on it. Then crops are compared with the whole. All this along both axes.

    Args:
        upscale: the network, in float32 on the CPU, in evaluation mode.
        image: N x C x H x W, any image that is small and that the network takes.

    Returns:
        None where a result depends on the whole image (global pooling), on where a pixel is in it (attention in
        windows), or on more of it than was tried.
    """
    axes: list[Upscale] = [upscale, lambda x: upscale(x.mT.contiguous()).mT]
    with torch.no_grad():
        for side in SIDES:
            wide = torch.rand(*image.shape[:3], side, generator=torch.Generator().manual_seed(0))
            radius = 0
            for along in axes:
                if (found := _radius(along, wide)) is None:
                    break
                radius = max(radius, found)
            else:
                multiples = [_multiple(along, wide, radius) for along in axes]
                return None if None in multiples else ReceptiveField(radius, max(filter(None, multiples)))
    return None


def _radius(upscale: Upscale, image: Tensor) -> int | None:
    """How far NaN spreads from columns in the middle of an image; None: to its border, or not at all."""
    width = image.shape[-1]
    # Where pixels are unshuffled, the last column of a block reaches furthest to the left, the first to the right.
    last_of_block, first_of_block = width // 2 - 1, width // 2
    marked = image.clone()
    marked[..., last_of_block : first_of_block + 1] = torch.nan
    with _plain_convolutions():
        sr = upscale(marked)
    scale = scale_of(image, sr)
    spread = sr.isnan().flatten(0, -2).any(0).nonzero().flatten()
    if not len(spread):
        return None
    first, last = int(spread[0]) // scale, int(spread[-1]) // scale
    return None if first == 0 or last == width - 1 else max(last_of_block - first, last - first_of_block)


def _multiple(upscale: Upscale, image: Tensor, radius: int) -> int | None:
    """The least shift by which a crop gives the values of the whole, but for `radius` columns at its border."""
    whole = upscale(image)
    scale = scale_of(image, whole)
    for shift in SHIFTS:
        try:
            crop = upscale(image[..., shift:].contiguous())
        except SIZE_ERRORS:
            continue
        difference = (crop[..., radius * scale :] - whole[..., (shift + radius) * scale :]).abs()
        if difference.numel() and difference.max() <= TOLERANCE * whole.abs().max():
            return shift
    return None


@contextmanager
def _plain_convolutions() -> Iterator[None]:
    """Convolve by matrix products: Winograd's and Fourier's methods spread NaN over more than the filter covers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch 2.14, about Intel's GPUs
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.nnpack.flags(enabled=False):
            yield
