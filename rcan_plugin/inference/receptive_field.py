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
"""Sides in pixels of the images with which a network is tried. The largest radius that can be found is 240."""
SHIFTS = (1, 2, 4, 8, 16)
"""Candidates for `ReceptiveField.multiple`: factors of pixel unshuffling, sides of windows."""
TOLERANCE = 1e-4
"""Largest difference by rounding in deep float32 networks, relative to the largest value."""
SIZE_ERRORS = (RuntimeError, ValueError, AssertionError, IndexError)
"""Errors that networks raise for an image of unsuitable size or channels."""


@dataclass(frozen=True)
class ReceptiveField:
    """The part of the input that affects a pixel of the result.

    Attributes:
        radius: largest distance in input pixels, in each direction, of an input that affects a result.
        multiple: crops that begin at multiples of it give the values of the whole image.
    """

    radius: int
    multiple: int = 1


def find_receptive_field(upscale: Upscale, image: Tensor) -> ReceptiveField | None:
    """Find the receptive field of a network. For the deepest networks this takes seconds.

    A column of an image is set to NaN, which convolutions, activations and normalisations propagate: results that are
    NaN depend on this column. Then results of crops are compared with those of the whole image. Both axes are tested.

    Args:
        upscale: the network, in float32 on the CPU, in evaluation mode.
        image: N x C x H x W, a small image that the network accepts.

    Returns:
        The receptive field. None if a result depends on the whole image (global pooling), on a pixel's position in it
        (attention in windows), or on more pixels than were tried.
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
    """How far NaN spreads from columns in the middle of an image; None if it reaches the border or does not spread."""
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
    """The smallest shift by which a crop gives the values of the whole image, except `radius` columns at its border."""
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
    """Convolve by matrix products: Winograd and Fourier algorithms spread NaN beyond the filter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.14 warns about Intel's GPUs
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.nnpack.flags(enabled=False):
            yield
