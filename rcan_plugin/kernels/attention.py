"""Channel attention, scale and skip of an RCAB in one kernel, and their gradients.

Per image, with y the output of the second convolution (RCAN paper, equations 7 to 10):

    mean = sum of y over pixels / (H * W)
    hidden = max(w1 @ mean + b1, 0)
    gate = sigmoid(w2 @ hidden + b2)
    output = x + res_scale * gate * y

With g the gradient of the output and dot = sum of g * y over pixels, the gradient of y is `g * scale + shift`:

    scale = res_scale * gate
    d_gate = res_scale * dot * gate * (1 - gate)         gradient before the sigmoid
    d_hidden = (w2^T @ d_gate) where hidden > 0
    shift = w1^T @ d_hidden / (H * W)

Everything per channel is float32. S is the number of hidden channels, SP the power of two from S upwards.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from rcan_plugin.kernels.configs import MAX_ROWS, Launch
from rcan_plugin.kernels.conv import collapse


class Gates(NamedTuple):
    """What the backward pass needs of the attention, float32: `mean` and `gate` [N, C], `hidden` [N, SP]."""

    mean: Tensor
    hidden: Tensor
    gate: Tensor


@triton.jit
def sum_rows(rows: tl.tensor, n_rows: tl.tensor, stride: tl.tensor, column: tl.tensor, ROWS: tl.constexpr) -> tl.tensor:
    """Column sums of `rows` [n_rows, stride], of the columns `column`; ROWS is a power of two, at least n_rows."""
    row = tl.arange(0, ROWS)
    return tl.sum(tl.load(rows + row[:, None] * stride + column[None, :], mask=(row < n_rows)[:, None], other=0.0), 0)


@triton.jit(do_not_specialize=["pixels", "n_rows"])
def attend_kernel(
    x: tl.tensor,
    y: tl.tensor,
    sums: tl.tensor,
    w1: tl.tensor,
    b1: tl.tensor,
    w2: tl.tensor,
    b2: tl.tensor,
    output: tl.tensor,
    saved_mean: tl.tensor,
    saved_hidden: tl.tensor,
    saved_gate: tl.tensor,
    pixels: tl.tensor,
    n_rows: tl.tensor,
    res_scale: tl.tensor,
    SAVE: tl.constexpr,
    S: tl.constexpr,
    SP: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    C: tl.constexpr,
) -> None:
    """One tile of BLOCK pixels of one image. Every program computes its image's gate: that is cheaper than a launch."""
    tile = tl.program_id(0)
    n = tl.program_id(1)
    channel = tl.arange(0, C)
    s = tl.arange(0, SP)
    real = s < S
    mean = sum_rows(sums + n * n_rows * C, n_rows, C, channel, ROWS) / pixels
    down = tl.load(w1 + s[:, None] * C + channel[None, :], mask=real[:, None], other=0.0).to(tl.float32)
    up = tl.load(w2 + channel[:, None] * S + s[None, :], mask=real[None, :], other=0.0).to(tl.float32)
    hidden = tl.sum(down * mean[None, :], 1) + tl.load(b1 + s, mask=real, other=0.0).to(tl.float32)
    hidden = tl.maximum(hidden, 0.0)
    gate = tl.sigmoid(tl.sum(up * hidden[None, :], 1) + tl.load(b2 + channel).to(tl.float32))
    if SAVE and tile == 0:
        tl.store(saved_mean + n * C + channel, mean)
        tl.store(saved_hidden + n * SP + s, hidden)
        tl.store(saved_gate + n * C + channel, gate)
    p = tile * BLOCK + tl.arange(0, BLOCK)
    valid = (p < pixels)[:, None]
    pointers = n * pixels * C + p[:, None] * C + channel[None, :]
    value = tl.load(y + pointers, mask=valid, other=0.0).to(tl.float32) * (res_scale * gate)[None, :]
    value += tl.load(x + pointers, mask=valid, other=0.0).to(tl.float32)
    tl.store(output + pointers, value.to(output.dtype.element_ty), mask=valid)


@triton.jit(do_not_specialize=["pixels", "per_program"])
def gate_sums_kernel(
    grad: tl.tensor,
    y: tl.tensor,
    sums: tl.tensor,
    pixels: tl.tensor,
    per_program: tl.tensor,
    BLOCK: tl.constexpr,
    C: tl.constexpr,
) -> None:
    """Sums over `per_program` pixels of one image, [N, programs, 2 * C]: of grad * y, and of grad."""
    n = tl.program_id(1)
    channel = tl.arange(0, C)
    first = tl.program_id(0) * per_program
    last = tl.minimum(first + per_program, pixels)
    dot = tl.zeros((BLOCK, C), tl.float32)
    total = tl.zeros((BLOCK, C), tl.float32)
    for start in range(first, last, BLOCK):
        p = start + tl.arange(0, BLOCK)
        pointers = n * pixels * C + p[:, None] * C + channel[None, :]
        g = tl.load(grad + pointers, mask=(p < last)[:, None], other=0.0).to(tl.float32)
        dot += g * tl.load(y + pointers, mask=(p < last)[:, None], other=0.0).to(tl.float32)
        total += g
    out = sums + (n * tl.num_programs(0) + tl.program_id(0)) * 2 * C + channel
    tl.store(out, tl.sum(dot, 0))
    tl.store(out + C, tl.sum(total, 0))


@triton.jit(do_not_specialize=["pixels", "n_rows"])
def attend_backward_kernel(
    grad: tl.tensor,
    sums: tl.tensor,
    hidden: tl.tensor,
    gate: tl.tensor,
    w1: tl.tensor,
    w2: tl.tensor,
    grad_y: tl.tensor,
    d_gate: tl.tensor,
    d_hidden: tl.tensor,
    bias_sums: tl.tensor,
    pixels: tl.tensor,
    n_rows: tl.tensor,
    res_scale: tl.tensor,
    S: tl.constexpr,
    SP: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    C: tl.constexpr,
) -> None:
    """One tile of BLOCK pixels of one image: gradient of y. The first tile stores the gradients per image as well.

    `sums` [N, n_rows, 2 * C] comes from `gate_sums_kernel`. `bias_sums` [N, C]: the gradient of y, summed over pixels.
    """
    tile = tl.program_id(0)
    n = tl.program_id(1)
    channel = tl.arange(0, C)
    s = tl.arange(0, SP)
    real = s < S
    dot = sum_rows(sums + n * n_rows * 2 * C, n_rows, 2 * C, channel, ROWS)
    g = tl.load(gate + n * C + channel)
    scale = res_scale * g
    before_sigmoid = dot * scale * (1.0 - g)
    down = tl.load(w1 + s[:, None] * C + channel[None, :], mask=real[:, None], other=0.0).to(tl.float32)
    up = tl.load(w2 + channel[None, :] * S + s[:, None], mask=real[:, None], other=0.0).to(tl.float32)
    before_relu = tl.sum(up * before_sigmoid[None, :], 1)
    before_relu = tl.where(tl.load(hidden + n * SP + s) > 0, before_relu, 0.0)
    total_shift = tl.sum(down * before_relu[:, None], 0)
    shift = total_shift / pixels
    if tile == 0:
        total = sum_rows(sums + n * n_rows * 2 * C, n_rows, 2 * C, C + channel, ROWS)
        tl.store(d_gate + n * C + channel, before_sigmoid)
        tl.store(d_hidden + n * SP + s, before_relu)
        tl.store(bias_sums + n * C + channel, total * scale + total_shift)
    p = tile * BLOCK + tl.arange(0, BLOCK)
    valid = (p < pixels)[:, None]
    pointers = n * pixels * C + p[:, None] * C + channel[None, :]
    value = tl.load(grad + pointers, mask=valid, other=0.0).to(tl.float32) * scale[None, :] + shift[None, :]
    tl.store(grad_y + pointers, value.to(grad_y.dtype.element_ty), mask=valid)


def attend(
    x: Tensor,
    y: Tensor,
    sums: Tensor,
    attention: tuple[Tensor, ...],
    res_scale: float,
    settings: Launch,
    save: bool,
) -> tuple[Tensor, Gates | None]:
    """`x + res_scale * gate * y`, N x C x H x W, channels-last.

    Args:
        x, y: N x C x H x W, channels-last, of one dtype.
        sums: float32 [N, rows, C]; added over the rows, the sums of `y` over its pixels.
        attention: four: w1 [S, C, 1, 1], b1 [S], w2 [C, S, 1, 1], b2 [C], each contiguous.
        res_scale: factor on the gate.
        settings: of the kernels `pointwise`.
        save: return what the backward pass needs too.
    """
    n, c, height, width = x.shape
    pixels = height * width
    sums = collapse(sums, MAX_ROWS)
    rows, s = sums.shape[1], attention[0].shape[0]
    sp = triton.next_power_of_2(s)
    output = torch.empty_like(x, memory_format=torch.channels_last)
    gates = Gates(sums.new_empty(n, c), sums.new_empty(n, sp), sums.new_empty(n, c)) if save else None
    attend_kernel[(triton.cdiv(pixels, settings.block), n)](
        x,
        y,
        sums,
        *attention,
        output,
        *(gates or (sums, sums, sums)),  # pointers that the kernel does not use
        pixels,
        rows,
        float(res_scale),
        SAVE=save,
        S=s,
        SP=sp,
        ROWS=triton.next_power_of_2(rows),
        BLOCK=settings.block,
        C=c,
        num_warps=settings.warps,
    )
    return output, gates


class AttentionGradients(NamedTuple):
    """Gradients per image, float32.

    Attributes:
        d_gate: [N, C], before the sigmoid.
        d_hidden: [N, SP], before the ReLU.
        bias: [N, C], of the second convolution's bias.
    """

    d_gate: Tensor
    d_hidden: Tensor
    bias: Tensor


def attend_backward(
    grad: Tensor, y: Tensor, gates: Gates, w1: Tensor, w2: Tensor, res_scale: float, settings: Launch
) -> tuple[Tensor, AttentionGradients]:
    """Gradient of `y`, like `y`, and the gradients per image. Arguments as in `attend`; `grad` is channels-last."""
    n, c, height, width = y.shape
    pixels, sp = height * width, gates.hidden.shape[1]
    # About 512 programs: enough to fill a card. Whole tiles, as a rest costs as much as a tile.
    per_program = max(pixels * n // 512 // settings.block, 1) * settings.block
    programs = triton.cdiv(pixels, per_program)
    sums = gates.gate.new_empty(n, programs, 2 * c)
    gate_sums_kernel[(programs, n)](
        grad, y, sums, pixels, per_program, BLOCK=settings.block, C=c, num_warps=settings.warps
    )
    sums = collapse(sums, MAX_ROWS)
    rows = sums.shape[1]
    grad_y = torch.empty_like(y, memory_format=torch.channels_last)
    gradients = AttentionGradients(sums.new_empty(n, c), sums.new_empty(n, sp), sums.new_empty(n, c))
    attend_backward_kernel[(triton.cdiv(pixels, settings.block), n)](
        grad,
        sums,
        gates.hidden,
        gates.gate,
        w1,
        w2,
        grad_y,
        *gradients,
        pixels,
        rows,
        float(res_scale),
        S=w1.shape[0],
        SP=sp,
        ROWS=triton.next_power_of_2(rows),
        BLOCK=settings.block,
        C=c,
        num_warps=settings.warps,
    )
    return grad_y, gradients
