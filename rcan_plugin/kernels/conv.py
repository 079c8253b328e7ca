"""3x3 convolution of channels-last images, and its input gradient, fused with the pointwise operations that follow.

The convolution is nine matrix products, one per tap: (pixels x C) times (C x C), accumulated in float32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from rcan_plugin.kernels import configs
from rcan_plugin.kernels.configs import Launch


@triton.jit(do_not_specialize=["height", "width"])
def conv3x3(
    image: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    other: tl.tensor,
    output: tl.tensor,
    sums: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    TRANSPOSED: tl.constexpr,
    BIAS: tl.constexpr,
    RELU: tl.constexpr,
    MASK: tl.constexpr,
    ADD: tl.constexpr,
    SUMS: tl.constexpr,
    BLOCK: tl.constexpr,
    C: tl.constexpr,
) -> None:
    """One tile of BLOCK pixels (in raster order) of one image; all channels.

    `weight` is [C_out, 9, C_in]; TRANSPOSED gives the input gradient: taps mirrored, C_in and C_out exchanged.
    After the convolution, in this order: `+ bias` (BIAS), maximum with 0 (RELU), 0 where `other <= 0` (MASK),
    `+ other` (ADD), and the tile's sum per channel to `sums` [N, tiles, C] (SUMS).
    """
    tile = tl.program_id(0)
    n = tl.program_id(1)
    pixels = height * width
    p = tile * BLOCK + tl.arange(0, BLOCK)
    row = p // width
    column = p % width
    channel = tl.arange(0, C)
    offset = n * pixels * C
    acc = tl.zeros((BLOCK, C), tl.float32)
    for tap in range(9):
        dy = tap // 3 - 1
        dx = tap % 3 - 1
        inside = (p < pixels) & (row + dy >= 0) & (row + dy < height) & (column + dx >= 0) & (column + dx < width)
        a = tl.load(
            image + offset + (p + dy * width + dx)[:, None] * C + channel[None, :],
            mask=inside[:, None],
            other=0.0,
        )
        if TRANSPOSED:
            b = tl.load(weight + channel[:, None] * (9 * C) + (8 - tap) * C + channel[None, :])
        else:
            b = tl.load(weight + channel[None, :] * (9 * C) + tap * C + channel[:, None])
        acc = tl.dot(a, b, acc)
    valid = (p < pixels)[:, None]
    pointers = offset + p[:, None] * C + channel[None, :]
    if BIAS:
        acc += tl.load(bias + channel).to(tl.float32)[None, :]
    if RELU:
        acc = tl.maximum(acc, 0.0)
    if MASK:
        acc = tl.where(tl.load(other + pointers, mask=valid, other=0.0) > 0, acc, 0.0)
    if ADD:
        acc += tl.load(other + pointers, mask=valid, other=0.0).to(tl.float32)
    if SUMS:
        total = tl.sum(tl.where(valid, acc, 0.0), 0)
        tl.store(sums + (n * tl.num_programs(0) + tile) * C + channel, total)
    tl.store(output + pointers, acc.to(output.dtype.element_ty), mask=valid)


@triton.jit
def pack_kernel(
    weight_1: tl.tensor,
    weight_2: tl.tensor,
    packed: tl.tensor,
    out_1: tl.tensor,
    in_1: tl.tensor,
    tap_1: tl.tensor,
    out_2: tl.tensor,
    in_2: tl.tensor,
    tap_2: tl.tensor,
    BLOCK: tl.constexpr,
    C: tl.constexpr,
) -> None:
    """Cast the weights of both convolutions to the type of `packed` [2, C_out, 9, C_in]; any strides."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c_out = i // (9 * C)
    tap = i // C % 9
    c_in = i % C
    if tl.program_id(1) == 0:
        value = tl.load(weight_1 + c_out * out_1 + c_in * in_1 + tap * tap_1)
        tl.store(packed + i, value.to(packed.dtype.element_ty))
    else:
        value = tl.load(weight_2 + c_out * out_2 + c_in * in_2 + tap * tap_2)
        tl.store(packed + 9 * C * C + i, value.to(packed.dtype.element_ty))


@triton.jit(do_not_specialize=["n_rows", "per_program"])
def collapse_kernel(
    rows: tl.tensor, output: tl.tensor, n_rows: tl.tensor, per_program: tl.tensor, BLOCK: tl.constexpr, K: tl.constexpr
) -> None:
    """Sum groups of `per_program` rows: `rows` [N, n_rows, K] to `output` [N, programs, K]."""
    n = tl.program_id(1)
    column = tl.arange(0, K)
    first = tl.program_id(0) * per_program
    last = tl.minimum(first + per_program, n_rows)
    acc = tl.zeros((BLOCK, K), tl.float32)
    for start in range(first, last, BLOCK):
        row = start + tl.arange(0, BLOCK)
        acc += tl.load(rows + (n * n_rows + row)[:, None] * K + column[None, :], mask=(row < last)[:, None], other=0.0)
    tl.store(output + (n * tl.num_programs(0) + tl.program_id(0)) * K + column, tl.sum(acc, 0))


def convolve(
    image: Tensor,
    weight: Tensor,
    settings: Launch,
    *,
    transposed: bool = False,
    bias: Tensor | None = None,
    relu: bool = False,
    mask: Tensor | None = None,
    add: Tensor | None = None,
    sums: bool = False,
) -> tuple[Tensor, Tensor]:
    """3x3 convolution, padding 1, with an epilogue; see `conv3x3` for the order.

    Args:
        image: N x C x H x W, channels-last; as are `mask` and `add` (at most one of the two).
        weight: [C_out, 9, C_in], contiguous, dtype of `image`.
        settings: of the kernel `conv`.
        transposed: compute the input gradient from the output gradient `image` instead.
        bias: [C], any floating dtype.
        relu: replace negative values with 0.
        mask: the result is 0 where this is not positive.
        add: added to the result.
        sums: also sum the result per channel and tile, before it is rounded to the dtype of `image`.

    Returns:
        The result, like `image`, and the sums, float32 [N, tiles, C] (empty without `sums`).
    """
    n, c, height, width = image.shape
    tiles = triton.cdiv(height * width, settings.block)
    output = torch.empty_like(image, memory_format=torch.channels_last)
    totals = image.new_empty((n, tiles, c) if sums else 0, dtype=torch.float32)
    other = mask if mask is not None else add
    conv3x3[(tiles, n)](
        image,
        weight,
        image if bias is None else bias,  # a pointer that the kernel does not read
        image if other is None else other,
        output,
        totals,
        height,
        width,
        TRANSPOSED=transposed,
        BIAS=bias is not None,
        RELU=relu,
        MASK=mask is not None,
        ADD=add is not None,
        SUMS=sums,
        BLOCK=settings.block,
        C=c,
        num_warps=settings.warps,
        num_stages=settings.stages,
    )
    return output, totals


def tap_strides(weight: Tensor) -> tuple[int, int, int]:
    """Strides of C_out, C_in and tap of a [C_out, C_in, 3, 3] weight whose taps are evenly spaced (`even_taps`)."""
    return weight.stride(0), weight.stride(1), weight.stride(3)


def even_taps(weight: Tensor) -> Tensor:
    """The weight itself if it is in a usual memory format, otherwise a contiguous copy."""
    return weight if weight.stride(2) == 3 * weight.stride(3) else weight.contiguous()


def pack(weight_1: Tensor, weight_2: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Both 3x3 weights, [C, C, 3, 3] of any strides and dtype, as contiguous [C_out, 9, C_in] of `dtype`.

    Channels-last weights that already have the dtype are not copied.
    """
    c = weight_1.shape[0]
    views = weight_1.permute(0, 2, 3, 1), weight_2.permute(0, 2, 3, 1)
    if all(view.dtype == dtype and view.is_contiguous() for view in views):
        return views[0].view(c, 9, c), views[1].view(c, 9, c)
    packed = weight_1.new_empty((2, c, 9, c), dtype=dtype)
    first, second = even_taps(weight_1), even_taps(weight_2)
    block = min(configs.WEIGHTS_PER_PROGRAM, c * c)
    pack_kernel[(9 * c * c // block, 2)](
        first, second, packed, *tap_strides(first), *tap_strides(second), BLOCK=block, C=c, num_warps=4
    )
    return packed[0], packed[1]


def collapse(rows: Tensor, at_most: int) -> Tensor:
    """Sum `rows`, float32 [N, R, K], to at most `at_most` rows: float32 [N, R', K]. In a fixed order."""
    n, count, k = rows.shape
    if count <= at_most:
        return rows
    per_program = triton.cdiv(count, min(at_most, 32))
    programs = triton.cdiv(count, per_program)
    output = rows.new_empty((n, programs, k))
    collapse_kernel[(programs, n)](rows, output, count, per_program, BLOCK=16, K=k, num_warps=4)
    return output
