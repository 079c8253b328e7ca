"""Launch settings of the Triton kernels: a fixed table, so that no benchmark runs during training.

`python -m rcan_plugin.kernels.tuning` searches for better settings on the card at hand and prints them.
"""

from __future__ import annotations

from typing import NamedTuple

CHANNELS = (16, 32, 64)
"""Supported numbers of channels: powers of two (tile sides must be), at least 16 (the least that `tl.dot` takes)."""

LARGE = 100_000
"""Pixels of a batch (N * H * W) from which the settings for large inputs apply. 16 x 48 x 48 is 36,864."""

WEIGHT_GRADIENT = "triton"
"""Library that computes the weight gradients of the 3x3 convolutions: `triton` (`weight_gradient`) or `cudnn`."""

MAX_ROWS = 64
"""Most partial sums that a kernel adds up by itself. More are first reduced by a kernel of their own."""


WEIGHTS_PER_PROGRAM = 256
"""Weights that one program casts, or whose partial gradients it adds up; a power of two."""


class Launch(NamedTuple):
    """Settings of one kernel.

    Attributes:
        block: pixels per tile, a power of two, at least 16.
        warps: warps per program.
        stages: depth of the software pipeline of loads. Pipelined loads skip L1, loads with 1 stage go through it.
        splits: `weight_gradient` only: parts that the pixels are divided into, each with its own partial sums.
    """

    block: int
    warps: int
    stages: int
    splits: int = 1


# Origin: 64 channels: `python -m rcan_plugin.kernels.tuning --seconds 36` on an H100 80GB, torch 2.11, Triton 3.6,
# 2026-11-27: convolution 11.6 us at 16 x 48 x 48 and 32.6 us at 1 x 270 x 480 (blocks of 256 pixels: 17.2 and 33.9),
# pointwise 17.2 and 56.0 us. `weight_gradient` keeps 3 stages, within 2 % of the best: it then takes 96 KiB of shared
# memory, and two programs fit a multiprocessor. The settings for 32 and 16 channels are estimates.
TABLE: dict[tuple[str, int, bool], Launch] = {
    ("conv", 64, False): Launch(64, 4, 2),
    ("conv", 64, True): Launch(128, 4, 3),
    ("conv", 32, False): Launch(128, 4, 4),
    ("conv", 32, True): Launch(128, 4, 4),
    ("conv", 16, False): Launch(128, 4, 4),
    ("conv", 16, True): Launch(256, 4, 4),
    ("pointwise", 64, False): Launch(64, 4, 1),
    ("pointwise", 64, True): Launch(64, 4, 1),
    ("pointwise", 32, False): Launch(128, 4, 1),
    ("pointwise", 32, True): Launch(128, 4, 1),
    ("pointwise", 16, False): Launch(256, 4, 1),
    ("pointwise", 16, True): Launch(256, 4, 1),
    ("weight_gradient", 64, False): Launch(64, 4, 3, splits=44),
    ("weight_gradient", 64, True): Launch(64, 4, 3, splits=44),
    ("weight_gradient", 32, False): Launch(64, 4, 4, splits=44),
    ("weight_gradient", 32, True): Launch(64, 4, 4, splits=44),
    ("weight_gradient", 16, False): Launch(128, 4, 4, splits=44),
    ("weight_gradient", 16, True): Launch(128, 4, 4, splits=44),
}
"""Settings by kernel, channels, and whether the batch is large (`LARGE`)."""


def launch(kernel: str, channels: int, pixels: int) -> Launch:
    """Settings of a kernel (`conv`, `pointwise` or `weight_gradient`) for a batch of `pixels` (N * H * W) pixels."""
    return TABLE[kernel, channels, pixels >= LARGE]
