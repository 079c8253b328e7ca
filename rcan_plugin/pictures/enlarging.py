"""Enlarges a picture with a network: prepares the network's input, and converts its output to the picture's type."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from rcan_plugin._checks import require_whole
from rcan_plugin.pictures.alpha import enlarged_rows, fill_hidden
from rcan_plugin.pictures.picture import Picture, white_value

Upscale = Callable[[np.ndarray], np.ndarray]


def enlarge(picture: Picture, upscale: Upscale, scale: int, *, channels: int = 3) -> Picture:
    """Enlarge a picture with a network.

    Args:
        picture: the picture.
        upscale: maps float32 H x W x channels, range 0 to 1, to (H * scale) x (W * scale) x channels.
        scale: integer scale factor of `upscale`.
        channels: channels of the network, 3 or 1; see `network_input`.

    Returns:
        The picture with new pixels, of the same type and with the same number of channels; see `enlarge_rows`.

    Raises:
        ValueError: the output of `upscale` has another size, or the picture has colours and the network one channel.
    """
    strips = enlarge_rows(picture, [upscale(network_input(picture, channels))], scale)
    pixels = np.concatenate(list(strips))
    if picture.alpha is None:
        return dataclasses.replace(picture, color=pixels)
    return dataclasses.replace(picture, color=pixels[..., :-1], alpha=pixels[..., -1])


def network_input(picture: Picture, channels: int = 3) -> np.ndarray:
    """Return the colours of a picture as input for a network.

    Colours under transparent pixels are replaced, so that they do not bleed into edges; see `alpha.fill_hidden`.

    Args:
        picture: the picture. Gray is repeated in three channels for a network of three.
        channels: channels of the network, 3 or 1.

    Returns:
        float32 H x W x channels, range 0 to 1.

    Raises:
        ValueError: the picture has colours and the network has one channel.
    """
    if picture.color.shape[2] > channels:
        raise ValueError("the picture has colours and the network has one channel: choose weights for colour pictures.")
    color = _unit_range(picture.color)
    if picture.alpha is not None:
        fill_hidden(color, _unit_range(picture.alpha))
    return np.repeat(color, channels, axis=2) if color.shape[2] < channels else color


def _unit_range(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) / np.float32(white_value(values.dtype))


def enlarge_rows(picture: Picture, strips: Iterable[np.ndarray], scale: int) -> Iterator[np.ndarray]:
    """Convert the output of a network to pixels of the picture's type, strip by strip.

    Values are clipped to the range 0 to 1; integers are rounded to the nearest, halves up. Gray is the luma (BT.601) of
    three channels. Alpha is enlarged by MATLAB's bicubic.

    Args:
        picture: the picture that the network enlarges.
        strips: finished rows from top to bottom, float32 rows x (W * scale) x channels.
        scale: integer scale factor of the network.

    Yields:
        rows x (W * scale) x (1 or 3, and 1 more for alpha), of the type of the picture.

    Raises:
        ValueError: a strip has another width, or there are more or fewer than H * scale rows.
    """
    require_whole("scale", scale)
    height, width = picture.height * scale, picture.width * scale
    top = 0
    for strip in strips:
        rows = len(strip)
        colors = picture.color.shape[2]
        if strip.ndim != 3 or strip.shape[1] != width or strip.shape[2] not in (colors, 3) or top + rows > height:
            raise ValueError(
                f"the network returned {strip.shape} after {top} rows; expected {width} columns and {height} rows in "
                f"all, of {colors} channels, for a picture of {picture.width} x {picture.height} at scale {scale}."
            )
        if strip.shape[2] != colors:
            strip = _luma(strip)
        parts = [to_type(strip, picture.color.dtype)]
        if picture.alpha is not None:
            parts.append(enlarged_rows(picture.alpha, scale, top, rows)[..., None])
        yield np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]
        top += rows
    if top != height:
        raise ValueError(f"the network returned {top} rows; expected {height}.")


def _luma(rgb: np.ndarray) -> np.ndarray:
    """Luma, rows x columns x 1 (ITU-R BT.601, as Pillow converts to gray); exact where the channels are equal."""
    red, green, blue = (rgb[..., [channel]] for channel in range(3))
    return green + 0.299 * (red - green) + 0.114 * (blue - green)


def to_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert values of 0 to 1 to a type of pixels: clipped, integers rounded to the nearest, halves up.

    Examples:
        >>> to_type(np.array([-0.1, 0.5, 1.2], np.float32), np.dtype(np.uint8))
        array([  0, 128, 255], dtype=uint8)
    """
    clipped = np.clip(values, 0, 1).astype(np.float32, copy=False)
    if dtype.kind == "f":
        return clipped.astype(dtype, copy=False)
    clipped *= white_value(dtype)
    clipped += 0.5
    return clipped.astype(dtype)
