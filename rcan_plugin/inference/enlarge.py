"""Ways to upscale an image with a network: eight times over, in tiles, and as the RCAN authors cut it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import torch

Upscale = Callable[[torch.Tensor], torch.Tensor]
"""N x C x H x W to N x C' x sH x sW for a whole scale s from 1 on: a network, or what wraps one."""


def self_ensemble(upscale: Upscale, lq: torch.Tensor) -> torch.Tensor:
    """The mean over the eight flips and quarter turns of `lq`, each enlarged and turned back: EDSR+, RCAN+.

    As `forward_x8` of the official code, for any batch. Eight times the work and, as the results are summed one at a
    time, little more memory than the plain way (sums of half precision are kept in float32).

    Args:
        upscale: called eight times, with W x H images too.
        lq: N x C x H x W of any range. It is not changed.

    Returns:
        N x C' x sH x sW, of the type and on the device of what `upscale` returns.

    Raises:
        ValueError: `upscale` does not upscale both sides by the same whole number.

    Source: section 3.4, "Geometric Self-ensemble", of "Enhanced Deep Residual Networks for Single Image
    Super-Resolution" (CVPRW 2017).
    """
    total: torch.Tensor | None = None
    for transposed, flips in itertools.product((False, True), ((), (-1,), (-2,), (-2, -1))):
        turned = (lq.mT if transposed else lq).flip(flips).contiguous()
        sr = upscale(turned)
        _scale(turned, sr)
        sr = sr.flip(flips)
        sr = sr.mT if transposed else sr
        if total is None:
            total = torch.zeros_like(sr, dtype=_at_least_single(sr.dtype))
        total += sr
    assert total is not None  # there are eight
    return (total / 8).to(sr.dtype)


def tiled(
    upscale: Upscale,
    lq: torch.Tensor,
    scale: int,
    size: int,
    overlap: int,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Upscale an image crop by crop, for what does not fit into memory as a whole.

    The crops are all of one size and lie evenly, the last flush with the border; so neighbours share `overlap` pixels
    or more. Across what they share one fades linearly into the next. Every share is above 0, they sum to 1, and where
    one crop alone reaches, its values are kept bit for bit.

    Against the whole image at once, for a network that sees r pixels to each side: the same, but for rounding, farther
    than r from every border that a crop has inside the image. Nearer, the crop that lacks neighbours has a share below
    r / overlap; with an overlap of 2r that is below one half, and along each axis another crop is right there. What
    pools over its whole input, as channel attention does, differs everywhere.

    Args:
        upscale: called once a crop; crops never reach past the border of the image.
        lq: N x C x H x W of any range, H and W of any size; it may stay on the CPU. It is not changed.
        scale: of the network, from 1 on.
        size: side of a crop in LR pixels, the overlap included. A side of the image that is shorter is not cut.
        overlap: LR pixels, from 0 to half of `size`; with more, the work would grow and the result hardly change.
        device: where each crop is sent when it is its turn, and its result taken from; the whole image is never
            there. None stands for where `lq` is.

    Returns:
        N x C' x sH x sW, of the type that `upscale` returns, on the device of `lq`.

    Raises:
        ValueError: a scale, size or overlap out of range, or `upscale` enlarges by another scale.
    """
    _check_whole("scale", scale, 1, "of the network")
    _check_whole("size", size, 1, "the side of a crop in LR pixels")
    _check_whole("overlap", overlap, 0, "in LR pixels")
    if 2 * overlap > size:
        raise ValueError(
            f"overlap is {overlap} and size {size}; expected at most half of the size: "
            f"lower overlap to {size // 2}, or raise size to {2 * overlap}"
        )
    height, width = lq.shape[-2:]
    tops, lefts = _starts(height, size, overlap), _starts(width, size, overlap)

    def tile(top: int, left: int) -> torch.Tensor:
        crop = lq[..., top : top + size, left : left + size].contiguous().to(device or lq.device)
        sr = upscale(crop)
        if (actual := _scale(crop, sr)) != scale:
            raise ValueError(f"the network enlarges by another scale than {scale}: by {actual}; pass scale={actual}")
        return sr.to(lq.device)

    strips = (_join((tile(top, left) for left in lefts), lefts, width, scale, -1) for top in tops)
    return _join(strips, tops, height, scale, -2)


def official_chop(upscale: Upscale, lq: torch.Tensor, shave: int = 10, min_size: int = 160000) -> torch.Tensor:
    """Upscale an image in four or more parts, as the official RCAN code does, and did for the published figures.

    Cut once into four at the middle, whatever the size; each part is enlarged with `shave` pixels more beyond the
    cuts, which its result loses again. While such a patch has `min_size` pixels, it is cut in the same way itself.
    RCAN's channel attention pools over what it is given, so the whole image at once gives other values.

    Same values as `forward_chop` of `RCAN_TestCode/code/model/__init__.py`, whose constants these are. A side of at
    most 2 * shave pixels is not cut, as its halves would be the whole side: of 2 * shave - 1 and 2 * shave pixels
    that is what the official code enlarges twice, on shorter ones it fails. Where neither side can be cut, `min_size`
    is exceeded instead of recursing for ever.

    Args:
        upscale: of any scale, which is taken from its results.
        lq: N x C x H x W of any range and size. It is not changed.
        shave: LR pixels, from 0 on.
        min_size: LR pixels (height times width) of a patch from which on it is cut again, from 1 on.

    Returns:
        N x C' x sH x sW, of the type and on the device of what `upscale` returns.

    Raises:
        ValueError: shave or min_size out of range, or `upscale` does not upscale both sides by the same whole number.
    """
    _check_whole("shave", shave, 0, "in LR pixels")
    _check_whole("min_size", min_size, 1, "in LR pixels, height times width")
    height, width = lq.shape[-2:]
    out: torch.Tensor | None = None
    for (rows, top, bottom), (columns, left, right) in itertools.product(_halves(height, shave), _halves(width, shave)):
        patch = lq[..., rows, columns].contiguous()
        smaller = patch.shape != lq.shape
        again = smaller and patch.shape[-2] * patch.shape[-1] >= min_size
        sr = official_chop(upscale, patch, shave, min_size) if again else upscale(patch)
        s = _scale(patch, sr)
        if not smaller:
            return sr
        if out is None:
            out = sr.new_empty((*sr.shape[:-2], height * s, width * s))
        y, x = (top - rows.start) * s, (left - columns.start) * s
        kept = sr[..., y : y + (bottom - top) * s, x : x + (right - left) * s]
        out[..., top * s : bottom * s, left * s : right * s] = kept
    assert out is not None  # a side has a half at least
    return out


def _halves(side: int, shave: int) -> list[tuple[slice, int, int]]:
    """What to upscale and, of it, what to keep (from, to): `_halves(9, 2)` is [(0:6, 0, 4), (3:9, 4, 9)]."""
    half = side // 2
    reach = max(half + shave, side - half)  # the latter only without shave, for odd sides
    if reach >= side:
        return [(slice(0, side), 0, side)]
    return [(slice(0, reach), 0, half), (slice(side - reach, side), half, side)]


def _starts(side: int, size: int, overlap: int) -> list[int]:
    """Where crops begin: evenly, as few as share `overlap`. `_starts(20, 10, 2)` is [0, 5, 10]."""
    if side <= size:
        return [0]
    steps = -(-(side - size) // (size - overlap))
    return [i * (side - size) // steps for i in range(steps + 1)]


def _join(pieces: Iterable[torch.Tensor], starts: Sequence[int], side: int, scale: int, dim: int) -> torch.Tensor:
    """Lay pieces, which begin at `starts` LR pixels, along `dim`; each fades in over what the one before it covers."""
    out: torch.Tensor | None = None
    end = 0
    for piece, start in zip(pieces, starts, strict=True):
        first, length = start * scale, piece.shape[dim]
        if out is None:
            shape = list(piece.shape)
            shape[dim] = side * scale
            out = piece.new_empty(shape)
        shared = end - first
        if shared:
            share = (torch.arange(shared, dtype=_at_least_single(piece.dtype), device=piece.device) + 0.5) / shared
            below = out.narrow(dim, first, shared)
            # Not a sum of weighted values: what both agree on stays as it is, to the bit.
            below += (piece.narrow(dim, 0, shared) - below) * (share if dim == -1 else share[:, None])
        out.narrow(dim, end, length - shared).copy_(piece.narrow(dim, shared, length - shared))
        end = first + length
    assert out is not None  # there is a start at least
    return out


def _scale(lq: torch.Tensor, sr: torch.Tensor) -> int:
    (height, width), (sr_height, sr_width) = lq.shape[-2:], sr.shape[-2:]
    scale = sr_height // height
    if scale < 1 or (sr_height, sr_width) != (height * scale, width * scale):
        raise ValueError(
            f"the network made {sr_height}x{sr_width} of {height}x{width} pixels; "
            "expected both sides times the same whole number: wrap it so that it pads and crops as it needs"
        )
    return scale


def _at_least_single(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _check_whole(name: str, value: int, least: int, what: str) -> None:
    if not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}; expected a whole number from {least} on, {what}")
