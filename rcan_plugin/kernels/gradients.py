"""Gradients of an RCAB's parameters.

Two steps, without atomics, so that the result does not depend on the order of programs: partial sums per part of the
pixels (`weight_gradient_kernel`, and the sums that other kernels leave), then one kernel that adds them up and writes
all eight gradients in the dtype and strides of the parameters.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from rcan_plugin.kernels import configs
from rcan_plugin.kernels.attention import AttentionGradients, Gates
from rcan_plugin.kernels.configs import Launch
from rcan_plugin.kernels.conv import even_taps, tap_strides


@triton.jit(do_not_specialize=["height", "width", "pixels", "per_split"])
def weight_gradient_kernel(
    image_1: tl.tensor,
    grad_1: tl.tensor,
    image_2: tl.tensor,
    grad_2: tl.tensor,
    partial: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    pixels: tl.tensor,
    per_split: tl.tensor,
    BLOCK: tl.constexpr,
    C: tl.constexpr,
) -> None:
    """Three taps (one row of the 3x3 window) of one convolution, over `per_split` of the batch's N * H * W pixels.

    `partial` [2, splits, 9, C_out, C_in]: sum over pixels p of `grad[p, c_out] * image[p + tap, c_in]`, float32.
    """
    split = tl.program_id(0)
    dy = tl.program_id(1) - 1
    layer = tl.program_id(2)
    if layer == 0:
        image = image_1
        grad = grad_1
    else:
        image = image_2
        grad = grad_2
    channel = tl.arange(0, C)
    first = split * per_split
    last = tl.minimum(first + per_split, pixels)
    left = tl.zeros((C, C), tl.float32)
    centre = tl.zeros((C, C), tl.float32)
    right = tl.zeros((C, C), tl.float32)
    for start in range(first, last, BLOCK):
        p = start + tl.arange(0, BLOCK)
        row = p // width % height
        column = p % width
        valid = p < last
        g = tl.load(grad + p[:, None] * C + channel[None, :], mask=valid[:, None], other=0.0)
        g = tl.trans(g)
        valid = valid & (row + dy >= 0) & (row + dy < height)
        pointers = image + (p + dy * width)[:, None] * C + channel[None, :]
        a = tl.load(pointers - C, mask=(valid & (column > 0))[:, None], other=0.0)
        b = tl.load(pointers, mask=valid[:, None], other=0.0)
        c = tl.load(pointers + C, mask=(valid & (column + 1 < width))[:, None], other=0.0)
        left = tl.dot(g, a, left)
        centre = tl.dot(g, b, centre)
        right = tl.dot(g, c, right)
    part = layer * tl.num_programs(0) + split
    out = partial + (part * 9 + (dy + 1) * 3) * C * C + channel[:, None] * C + channel[None, :]
    tl.store(out, left)
    tl.store(out + C * C, centre)
    tl.store(out + 2 * C * C, right)


@triton.jit
def reduce_weight(
    partial: tl.tensor,
    output: tl.tensor,
    out_stride: tl.tensor,
    in_stride: tl.tensor,
    tap_stride: tl.tensor,
    block: tl.tensor,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
    C: tl.constexpr,
) -> None:
    """Add up the partial sums [SPLITS, 9, C_out, C_in] of BLOCK weights."""
    i = block * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), tl.float32)
    for split in tl.static_range(SPLITS):
        acc += tl.load(partial + split * 9 * C * C + i)
    tap = i // (C * C)
    c_out = i // C % C
    c_in = i % C
    pointers = output + c_out * out_stride + c_in * in_stride + tap * tap_stride
    tl.store(pointers, acc.to(output.dtype.element_ty))


@triton.jit
def reduce_vector(
    rows: tl.tensor, output: tl.tensor, n_rows: tl.tensor, ROWS: tl.constexpr, K: tl.constexpr, REAL: tl.constexpr
) -> None:
    """Column sums of `rows` [n_rows, K]; the first REAL columns are stored."""
    k = tl.arange(0, K)
    acc = tl.zeros((ROWS, K), tl.float32)
    for start in range(0, n_rows, ROWS):
        row = start + tl.arange(0, ROWS)
        acc += tl.load(rows + row[:, None] * K + k[None, :], mask=(row < n_rows)[:, None], other=0.0)
    tl.store(output + k, tl.sum(acc, 0).to(output.dtype.element_ty), mask=k < REAL)


@triton.jit(do_not_specialize=["batch", "n_rows"])
def parameter_gradients_kernel(
    partial_1: tl.tensor,
    partial_2: tl.tensor,
    bias_1_rows: tl.tensor,
    bias_2_rows: tl.tensor,
    d_gate: tl.tensor,
    d_hidden: tl.tensor,
    mean: tl.tensor,
    hidden: tl.tensor,
    weight_1: tl.tensor,
    bias_1: tl.tensor,
    weight_2: tl.tensor,
    bias_2: tl.tensor,
    down: tl.tensor,
    down_bias: tl.tensor,
    up: tl.tensor,
    up_bias: tl.tensor,
    batch: tl.tensor,
    n_rows: tl.tensor,
    out_1: tl.tensor,
    in_1: tl.tensor,
    tap_1: tl.tensor,
    out_2: tl.tensor,
    in_2: tl.tensor,
    tap_2: tl.tensor,
    SPLITS: tl.constexpr,
    S: tl.constexpr,
    SP: tl.constexpr,
    BLOCK: tl.constexpr,
    C: tl.constexpr,
) -> None:
    """Program 0: the attention's gradients; 1: the biases; the others: the weights of both convolutions."""
    program = tl.program_id(0)
    if program == 0:
        channel = tl.arange(0, C)
        s = tl.arange(0, SP)
        grad_down = tl.zeros((SP, C), tl.float32)
        grad_up = tl.zeros((SP, C), tl.float32)
        for n in range(batch):
            from_gate = tl.load(d_gate + n * C + channel)
            from_hidden = tl.load(d_hidden + n * SP + s)
            grad_down += from_hidden[:, None] * tl.load(mean + n * C + channel)[None, :]
            grad_up += tl.load(hidden + n * SP + s)[:, None] * from_gate[None, :]
        real = (s < S)[:, None]
        tl.store(down + s[:, None] * C + channel[None, :], grad_down.to(down.dtype.element_ty), mask=real)
        tl.store(up + channel[None, :] * S + s[:, None], grad_up.to(up.dtype.element_ty), mask=real)
    elif program == 1:
        reduce_vector(bias_1_rows, bias_1, n_rows, 64, C, C)
        reduce_vector(bias_2_rows, bias_2, batch, 16, C, C)
        reduce_vector(d_hidden, down_bias, batch, 16, SP, S)
        reduce_vector(d_gate, up_bias, batch, 16, C, C)
    else:
        block = program - 2
        per_layer: tl.constexpr = 9 * C * C // BLOCK
        if block < per_layer:
            reduce_weight(partial_1, weight_1, out_1, in_1, tap_1, block, SPLITS, BLOCK, C)
        else:
            reduce_weight(partial_2, weight_2, out_2, in_2, tap_2, block - per_layer, SPLITS, BLOCK, C)


def weight_gradients(image_1: Tensor, grad_1: Tensor, image_2: Tensor, grad_2: Tensor, settings: Launch) -> Tensor:
    """Partial sums of the weight gradients of two 3x3 convolutions with padding 1, in one launch to use the GPU better.

    Args:
        image_1, image_2: inputs of the convolutions, N x C x H x W, channels-last.
        grad_1, grad_2: gradients of their outputs, likewise.
        settings: of the kernel `weight_gradient`.

    Returns:
        float32 [2, settings.splits, 9, C_out, C_in].
    """
    n, c, height, width = image_1.shape
    pixels = n * height * width
    per_split = triton.cdiv(triton.cdiv(pixels, settings.splits), settings.block) * settings.block
    partial = image_1.new_empty((2, settings.splits, 9, c, c), dtype=torch.float32)
    weight_gradient_kernel[(settings.splits, 3, 2)](
        image_1,
        grad_1,
        image_2,
        grad_2,
        partial,
        height,
        width,
        pixels,
        per_split,
        BLOCK=settings.block,
        C=c,
        num_warps=settings.warps,
        num_stages=settings.stages,
    )
    return partial


def cudnn_weight_gradient(image: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    """One of the two from PyTorch's convolution, as one partial sum: float32 [1, 9, C_out, C_in].

    Args:
        image, grad: as in `weight_gradients`.
        weight: [C_out, 9, C_in], of their dtype; only its shape matters.
    """
    c = image.shape[1]
    kernel = weight.view(c, 3, 3, c).permute(0, 3, 1, 2)
    pair, mask = [1, 1], [False, True, False]
    result = torch.ops.aten.convolution_backward(grad, image, kernel, None, pair, pair, pair, False, [0, 0], 1, mask)[1]
    return result.permute(2, 3, 0, 1).float().contiguous().view(1, 9, c, c)


def parameter_gradients(
    parameters: tuple[Tensor, ...],
    partial_1: Tensor,
    partial_2: Tensor,
    bias_1_rows: Tensor,
    gates: Gates,
    attention: AttentionGradients,
) -> tuple[Tensor, ...]:
    """Gradients of the eight parameters, in their order, dtypes and (for usual memory formats) strides.

    Args:
        parameters: weight and bias of the two 3x3 convolutions, then of the attention's two 1x1 convolutions.
        partial_1, partial_2: partial sums of the 3x3 weights' gradients, float32 [splits, 9, C_out, C_in].
        bias_1_rows: float32 [..., C]; added over the rows, the gradient of the first bias.
        gates, attention: from `attend` and `attend_backward`.
    """
    # `empty_like` keeps the strides of usual memory formats.
    out = tuple(torch.empty_like(even_taps(p) if p.shape[2:] == (3, 3) else p) for p in parameters)
    c, s = out[0].shape[0], out[4].shape[0]
    block = min(configs.WEIGHTS_PER_PROGRAM, c * c)
    parameter_gradients_kernel[(2 + 2 * 9 * c * c // block,)](
        partial_1,
        partial_2,
        bias_1_rows,
        attention.bias,
        attention.d_gate,
        attention.d_hidden,
        gates.mean,
        gates.hidden,
        *out,
        gates.mean.shape[0],
        bias_1_rows.numel() // c,
        *tap_strides(out[0]),
        *tap_strides(out[2]),
        SPLITS=partial_1.shape[0],
        S=s,
        SP=gates.hidden.shape[1],
        BLOCK=block,
        C=c,
        num_warps=4,
    )
    return out
