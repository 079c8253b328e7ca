"""`Upscaler`: upscales images given as NumPy arrays, within the free memory."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from rcan_plugin._checks import require_whole
from rcan_plugin.inference.arrays import check_image, check_result, to_array
from rcan_plugin.inference.memory import TooLittleMemory, is_out_of_memory
from rcan_plugin.inference.parts import Parts
from rcan_plugin.inference.precision import choose_device, choose_precision
from rcan_plugin.inference.runner import Runner
from rcan_plugin.inference.sizes import find_sizes
from rcan_plugin.inference.tiles import SMALLEST_TILE
from rcan_plugin.weights.loading import Weights, read

ROWS = 64
"""Most rows of the result in a strip."""


class Upscaler:
    """Upscales images: `larger = upscaler(image)`.

    With `tile="auto"` the result equals that of the whole image wherever this is possible:

    - A network with a limited receptive field upscales tiles that overlap by the receptive field: exact.
    - RCAN, whose attention pools over the whole image, computes its features at once, and the rest, which needs most of
      the memory, in strips: exact. If the features do not fit, tiles are used, which change the result, with a warning.
      With `exact` the features are kept in main memory instead, strip by strip, which is slower.
    - Other networks with global pooling upscale the whole image; if it does not fit, tiles are used, with a warning.

    Args:
        weights: a file of weights, what `weights.read` returns, or a network.
        tile: side of tiles in LR pixels, including overlap; it is never changed. `auto`: as large as fits; halved when
            memory runs out. None: the whole image at once.
        ensemble: average over eight flips and rotations (`self_ensemble`): takes eight times as long.
        precision: `fp32`, `bf16`, `fp16` (overflows in RCAN), or `auto`: bf16 if the device has units for it.
        device: device of torch, such as `cuda:1`. None: a GPU if there is one.
        compile: compile the repeated blocks; no effect on a CPU.
        exact: never use tiles that change the result. If `tile` is a number, RCAN's strips have this height.
        scale: the scale to use, for networks with several scales (MDSR).

    Attributes:
        scale: scale of the network.
        channels, out_channels: channels of images and of results.

    Raises:
        ValueError: an argument is wrong, or the network does not upscale images.
        FileNotFoundError: the file of weights does not exist.

    Examples:
        >>> import numpy as np
        >>> from rcan_plugin.archs.rcan_arch import RCANArch
        >>> network = RCANArch(num_feat=16, num_group=1, num_block=1, upscale=2)
        >>> upscaler = Upscaler(network)  # or Upscaler("FILE.safetensors")
        >>> larger = upscaler(np.full((20, 30, 3), 128, np.uint8))
        >>> larger.shape, larger.dtype.name
        ((40, 60, 3), 'uint8')
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | Weights | nn.Module,
        *,
        tile: str | int | None = "auto",
        ensemble: bool = False,
        precision: str = "auto",
        device: str | torch.device | None = None,
        compile: bool = False,
        exact: bool = False,
        scale: int | None = None,
    ) -> None:
        if tile is not None and tile != "auto":
            require_whole("tile", tile, SMALLEST_TILE, " (LR pixels), 'auto' or None")
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        network = _network(weights).to(self.device)
        arguments = _arguments(network, scale)
        runner = Runner(network, precision=self.precision, channels_last=True, compiled=compile)
        known = getattr(network, "num_in_ch", None)
        candidates = (known,) if isinstance(known, int) else (3, 1, 4)
        with torch.no_grad():
            sizes = find_sizes(lambda lq: network(lq, *arguments), candidates, self.device)
        self.scale, self.channels, self.out_channels = sizes.scale, sizes.channels, sizes.out_channels
        self._parts = Parts(runner, arguments, sizes, tile=tile, ensemble=ensemble, exact=exact)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Upscale an image.

        Args:
            image: H x W x C, uint8, uint16, or float32 of range 0 to 1.

        Returns:
            H * scale x W * scale x out_channels, of the same type and range.

        Raises:
            TypeError, ValueError: the image is wrong, or tiles of the given size are impossible.
            FloatingPointError: the result is not finite, or black.
            MemoryError: there is too little memory; the message says what to do.
        """
        height, width = image.shape[:2] if isinstance(image, np.ndarray) and image.ndim == 3 else (0, 0)
        strips = self.rows(image)
        out = np.empty((height * self.scale, width * self.scale, self.out_channels), image.dtype)
        done = 0
        for strip in strips:
            out[done : done + len(strip)] = strip
            done += len(strip)
        return out

    def rows(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """Upscale an image and yield the result from top to bottom, in strips of rows that are finished.

        Arguments and errors are those of a call; the image is checked before the first strip is asked for.
        """
        check_image(image, self.channels)
        return self._checked_rows(image)

    @torch.no_grad()
    def _checked_rows(self, image: np.ndarray) -> Iterator[np.ndarray]:
        height, width = image.shape[:2]
        done = 0
        try:
            for strip in self._parts.strips(image):
                strip = strip[..., : height * self.scale - done, : width * self.scale]
                end = done + strip.shape[2]
                if end == done:
                    continue
                check_result(strip, image[done // self.scale : -(-end // self.scale)], self.precision)
                for part in strip.split(ROWS, 2):  # the conversion needs several times the memory of its input
                    yield to_array(part, image.dtype)
                done = end
            return
        except Exception as error:
            if isinstance(error, TooLittleMemory) or not is_out_of_memory(error):
                raise
        # Outside of `except`, so that the tensors of the failed call have been freed.
        raise TooLittleMemory(f"out of memory for an image of {width}x{height}: {self._parts.remedy}")


def _network(weights: str | os.PathLike[str] | Weights | nn.Module) -> nn.Module:
    if isinstance(weights, nn.Module):
        return copy.deepcopy(weights).eval().float().requires_grad_(False)
    if isinstance(weights, str | os.PathLike):
        weights = read(weights)
    return weights.build().eval().float().requires_grad_(False)


def _arguments(network: nn.Module, scale: int | None) -> tuple[int, ...]:
    """Arguments of the network's forward pass after the image: the scale, if it has several."""
    scales = getattr(network, "scales", None)
    if not isinstance(scales, Sequence):
        return ()
    if scale is None and len(scales) == 1:
        return (scales[0],)
    if scale is None or scale not in scales:
        raise ValueError(
            f"scale is {scale}: {type(network).__name__} has {', '.join(map(str, scales))}; choose one (--scale)."
        )
    return (scale,)
