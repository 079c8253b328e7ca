"""The RCAB in plain PyTorch, float64, and how far a result is from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

NAMES = ("x", "weight_1", "bias_1", "weight_2", "bias_2", "down", "down_bias", "up", "up_bias")

TOLERANCE = {torch.float32: 5e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Relative error in the 2-norm.

float32: sums of up to 576 products, unit roundoff 6e-8, errors that partly cancel: 3e-7 measured.
float16 (unit roundoff 4.9e-4): inputs are exact; y1, y2, their gradients and the results are rounded, so a result has a
few independent roundings of at most 4.9e-4: 4e-4 measured. bfloat16: the same with 3.9e-3.
A wrong tap, sign or missing term gives an error of 1e-1 and more.
"""

CANCELLING = {"down": 8, "down_bias": 8}
"""Factors on the tolerance. These gradients are sums over channels of few terms of both signs, in the order of `up`'s
gradient, that cancel in part: ten times the error of the others measured in float16 with 16 channels."""


def parameters(channels: int, squeezed: int, dtype: torch.dtype, device: str = "cpu") -> list[Tensor]:
    """Random parameters in the order of `rcab` that keep the scale of their input, and hidden units of both signs."""
    generator = torch.Generator().manual_seed(channels + squeezed)

    def normal(*shape: int, fan_in: int) -> Tensor:
        return torch.randn(*shape, generator=generator) / fan_in**0.5

    c, s = channels, squeezed
    values = [
        normal(c, c, 3, 3, fan_in=9 * c),
        normal(c, fan_in=1),
        normal(c, c, 3, 3, fan_in=9 * c),
        normal(c, fan_in=1),
        normal(s, c, 1, 1, fan_in=c),
        normal(s, fan_in=1).abs(),  # hidden units that live, so that every gradient is tested
        normal(c, s, 1, 1, fan_in=s),
        normal(c, fan_in=1),
    ]
    return [value.to(device, dtype).requires_grad_() for value in values]


def images(n: int, c: int, height: int, width: int, dtype: torch.dtype, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """An input and an output gradient, channels-last."""
    generator = torch.Generator().manual_seed(height * width)
    x, grad = (
        torch.randn(n, c, height, width, generator=generator).to(device, dtype, memory_format=torch.channels_last)
        for _ in range(2)
    )
    return x.requires_grad_(), grad


def rcab(x: Tensor, parameters: Sequence[Tensor], res_scale: float) -> Tensor:
    weight_1, bias_1, weight_2, bias_2, down, down_bias, up, up_bias = parameters
    y = F.conv2d(F.relu(F.conv2d(x, weight_1, bias_1, padding=1)), weight_2, bias_2, padding=1)
    hidden = F.relu(F.conv2d(y.mean((2, 3), keepdim=True), down, down_bias))
    return x + res_scale * y * torch.sigmoid(F.conv2d(hidden, up, up_bias))


def expected(
    x: Tensor, parameters: Sequence[Tensor], res_scale: float, grad: Tensor, dtype: torch.dtype | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Output and gradients of `x` and the parameters in float64; `dtype`: what `x` and 3x3 weights are rounded to."""
    rounded = [p.detach().to(dtype) if dtype and p.ndim == 4 and p.shape[2] == 3 else p.detach() for p in parameters]
    inputs = [value.detach().double().requires_grad_() for value in (x.to(dtype) if dtype else x, *rounded)]
    output = rcab(inputs[0], inputs[1:], res_scale)
    return output.detach(), list(torch.autograd.grad(output, inputs, grad.double()))


def error(result: Tensor, reference: Tensor) -> float:
    """Relative error in the 2-norm."""
    return float((result.detach().double() - reference).norm() / reference.norm())


def check(
    output: Tensor, grads: Sequence[Tensor], reference: tuple[Tensor, Sequence[Tensor]], tolerance: float
) -> None:
    """Assert that output and gradients are near the reference; the message names every one with its error."""
    errors = {"output": error(output, reference[0])}
    errors |= {name: error(g, r) for name, g, r in zip(NAMES, grads, reference[1], strict=True)}
    far = [name for name, e in errors.items() if not e <= tolerance * CANCELLING.get(name, 1)]
    assert not far, {name: f"{e:.1e}" for name, e in errors.items()}
