"""One RCAB as one autograd function of Triton kernels: four launches forward, six backward.

Nothing waits for the GPU and no shape depends on data, so the function can be recorded in a CUDA graph after it has run
once without one (Triton compiles at the first call).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from rcan_plugin.kernels import configs, conv
from rcan_plugin.kernels.attention import Gates, attend, attend_backward
from rcan_plugin.kernels.configs import launch
from rcan_plugin.kernels.conv import convolve, pack
from rcan_plugin.kernels.gradients import cudnn_weight_gradient, parameter_gradients, weight_gradients


def interprets() -> bool:
    """True if the kernels run in Triton's interpreter: `TRITON_INTERPRET=1` was set when they were imported."""
    return not isinstance(conv.conv3x3, triton.runtime.JITFunction)


def _forward(
    x: Tensor, parameters: tuple[Tensor, ...], res_scale: float, save: bool
) -> tuple[Tensor, tuple[Tensor, ...], Gates | None]:
    """Output, the intermediate results y1, y2 and packed weights, and the gates (`save` only)."""
    n, c, height, width = x.shape
    settings = launch("conv", c, n * height * width)
    weight_1, bias_1, weight_2, bias_2, *attention = parameters
    packed_1, packed_2 = pack(weight_1, weight_2, x.dtype)
    y1, _ = convolve(x, packed_1, settings, bias=bias_1, relu=True)
    y2, sums = convolve(y1, packed_2, settings, bias=bias_2, sums=True)
    output, gates = attend(x, y2, sums, tuple(attention), res_scale, launch("pointwise", c, n * height * width), save)
    return output, (y1, y2, packed_1, packed_2), gates


class _RCAB(torch.autograd.Function):
    """Arguments and result of `rcab`; `x` is channels-last, biases and attention parameters are contiguous."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, res_scale: float, *parameters: Tensor) -> Tensor:
        output, intermediate, gates = _forward(x, parameters, res_scale, save=True)
        assert gates is not None
        ctx.res_scale = res_scale
        ctx.save_for_backward(x, *intermediate, *gates, *parameters)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y1, y2, packed_1, packed_2, mean, hidden, gate, *rest = ctx.saved_tensors
        parameters = tuple(rest)
        gates = Gates(mean, hidden, gate)
        n, c, height, width = x.shape
        pixels = n * height * width
        settings = launch("conv", c, pixels)
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_y2, attention = attend_backward(
            grad, y2, gates, parameters[4], parameters[6], ctx.res_scale, launch("pointwise", c, pixels)
        )
        grad_y1, bias_1_rows = convolve(grad_y2, packed_2, settings, transposed=True, mask=y1, sums=True)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x, _ = convolve(grad_y1, packed_1, settings, transposed=True, add=grad)
        if not any(ctx.needs_input_grad[2:]):
            return (grad_x, None, *(None for _ in parameters))
        if configs.WEIGHT_GRADIENT == "cudnn":
            partial_1 = cudnn_weight_gradient(x, grad_y1, packed_1)
            partial_2 = cudnn_weight_gradient(y1, grad_y2, packed_2)
        else:
            weights = launch("weight_gradient", c, pixels)
            partial_1, partial_2 = weight_gradients(x, grad_y1, y1, grad_y2, weights)
        gradients = parameter_gradients(parameters, partial_1, partial_2, bias_1_rows, gates, attention)
        needed = (g if needs else None for g, needs in zip(gradients, ctx.needs_input_grad[2:], strict=True))
        return (grad_x, None, *needed)


@torch.compiler.disable
def run(x: Tensor, parameters: tuple[Tensor, ...], res_scale: float, dtype: torch.dtype) -> Tensor:
    """See `rcan_plugin.kernels.rcab`; arguments are checked there."""
    x = x.to(dtype).contiguous(memory_format=torch.channels_last)
    dense = tuple(p if p.ndim == 4 and p.shape[2] == 3 else p.contiguous() for p in parameters)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, *dense)):
        result: Tensor = _RCAB.apply(x, res_scale, *dense)
        return result
    return _forward(x, dense, res_scale, save=False)[0]
