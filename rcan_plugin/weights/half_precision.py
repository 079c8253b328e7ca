"""ONNX files in fp16: conversion, and what a network computes when every value is rounded to fp16."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

FP16_MAX = torch.finfo(torch.float16).max
BOUND = 2 / 255
"""Largest difference of an fp16 file from the network in float32, range 0 to 1: two levels of 8 bits."""
IN_FLOAT32 = ("GlobalAveragePool", "ReduceMean")
"""Operators that stay in float32. Attention averages over the whole image: a sum of 2,000,000 pixels overflows in fp16,
and not every runtime sums in float32."""

Network = TypeVar("Network", bound=nn.Module)


def convert(path: Path) -> None:
    """Convert an ONNX file to fp16, in place. Input and output stay float32, so that callers need not change."""
    import onnx
    from onnxruntime.transformers import float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about constants out of range; `Rounding` detects their effect
        model = float16.convert_float_to_float16(
            onnx.load(path), keep_io_types=True, op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *IN_FLOAT32]
        )
    onnx.save(model, path)


@torch.no_grad()
def check(network: nn.Module, run: Callable[[Tensor], Tensor], like: Tensor) -> list[str]:
    """Compute test images in fp16, and compare them with the network in float32.

    Args:
        network: the network.
        run: computes with the fp16 file.
        like: an image of noise, N x C x H x W, range 0 to 1; the other test images have its shape.

    Returns:
        A sentence that compares the largest value and the largest difference with their bounds.

    Raises:
        ValueError: a value is above `FP16_MAX`, or a result differs by more than `BOUND`.
    """
    peak, largest, in_half = 0.0, 0.0, rounded(network)
    for image in _images(like):
        expected = network(image)
        with Rounding() as rounding:
            out = in_half(image)
        peak = max(peak, rounding.peak)
        if peak > FP16_MAX:
            raise ValueError(
                f"values inside the network reach {peak:.3g} on a test image, and fp16 holds up to {FP16_MAX:g}: "
                "export it without fp16"
            )
        # ONNX Runtime on a CPU computes in float32 with the file's fp16 weights, so both comparisons are needed.
        for result in (out, run(image)):
            difference = float((result - expected).abs().max())
            if not difference <= BOUND:
                raise ValueError(
                    f"in fp16 the result for a test image differs by {difference:.2g}, allowed is {BOUND:.2g}: export "
                    "it without fp16"
                )
            largest = max(largest, difference)
    return [
        f"fp16 differs from float32 by at most {largest:.2g} on test images (allowed: {BOUND:.2g} of the range 0 to "
        f"1), and values inside reach {peak:.3g} (fp16 holds up to {FP16_MAX:g}). Other images may reach more: where a "
        "result is black or not finite, use a file without fp16."
    ]


def _images(like: Tensor) -> Iterator[Tensor]:
    """Test images that drive values far: noise, white, and halves of black and white."""
    yield like
    yield torch.ones_like(like)
    halves = torch.zeros_like(like)
    halves[..., like.shape[-1] // 2 :] = 1
    yield halves


def rounded(network: Network) -> Network:
    """Return a copy of a network whose weights and constants are rounded to fp16 and stored in float32."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for values in (*network.parameters(), *network.buffers()):
            if values.is_floating_point():
                values.copy_(_to_half_and_back(values))
    return network


class Rounding(TorchFunctionMode):
    """In this context each result of a torch function is rounded to fp16, as on a GPU that sums in float32.

    Computing in fp16 itself takes minutes on CPUs that have no instructions for it.

    Attributes:
        peak: largest absolute value of a result before it is rounded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0.0

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.dtype == torch.float32 and out.numel():
            self.peak = max(self.peak, float(out.abs().max()))
            return _to_half_and_back(out)
        return out


def _to_half_and_back(values: Tensor) -> Tensor:
    return values.half().to(values.dtype)
