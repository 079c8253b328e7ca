"""Decodes an open picture: converts Pillow's modes to gray or RGB with alpha; reads 16 bits, which Pillow cuts to 8."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from rcan_plugin.images.decode import decode_pixels
from rcan_plugin.images.header import read_header
from rcan_plugin.pictures.colours import cmyk_to_srgb, lab_to_srgb, srgb_profile
from rcan_plugin.pictures.kinds import hidden_depth
from rcan_plugin.pictures.picture import PictureError, white_value

_BITS_OF_RAW_MODES = {"L;2": 2, "L;4": 4}  # of gray PNGs, of which Pillow scales the values but not the key


class Decoded(NamedTuple):
    """Pixels as stored, before the orientation.

    Attributes:
        color: H x W x 1 or 3, uint8, uint16 or float32.
        alpha: H x W, of the same type, or None.
        icc: profile of the colours.
        remarks: descriptions of what was lost or converted.
    """

    color: np.ndarray
    alpha: np.ndarray | None
    icc: bytes | None
    remarks: tuple[str, ...] = ()


def decode(path: Path, image: ImageFile, head: bytes) -> Decoded:
    """Decode an open picture of any format except TIFF.

    Args:
        path: path of the file.
        image: the same file, opened but not loaded.
        head: first bytes of the file.

    Raises:
        PictureError: its pixels are of a kind that cannot be enlarged; the message does not name the file.
        Exception: almost any, for a damaged file.
    """
    with path.open("rb") as file:
        header = read_header(file)
    bits = max(header.bits if header else 8, hidden_depth(head))
    arguments = image.tile[0].args if image.tile else ()
    image.load()  # also finds damage that OpenCV tolerates
    if bits > 8 and image.format not in ("AVIF", "HEIF"):
        return _decode_deep(path, image, bits, arguments)
    bits = image.info.get("bit_depth", bits)  # of pillow-heif
    decoded = decode_shallow(image, image.info.get("icc_profile"), arguments)
    if bits > 8:
        return decoded._replace(remarks=(*decoded.remarks, f"its {bits} bits are read as 8"))
    return decoded


def decode_shallow(image: Image.Image, icc: bytes | None, arguments: Any = ()) -> Decoded:
    """Convert a loaded picture of 8 bits or less.

    Args:
        image: the picture.
        icc: its profile.
        arguments: arguments of Pillow's decoder, which include the bits per value of a gray PNG.

    Raises:
        PictureError: its pixels are of a kind that cannot be enlarged.
    """
    mode, key = image.mode, image.info.get("transparency")
    if mode == "CMYK":
        converted = np.asarray(cmyk_to_srgb(image, icc))
        return Decoded(converted, None, srgb_profile(), ("its CMYK colours are converted to sRGB",))
    if mode == "LAB":
        return Decoded(np.asarray(lab_to_srgb(image)), None, srgb_profile(), ("its Lab colours are converted to sRGB",))
    if mode in ("1", "L", "LA", "La"):
        values = np.asarray(image.convert("LA" if "a" in mode.lower() else "L"))
    elif mode in ("P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "YCbCr"):
        palette_key = mode == "P" and key is not None
        values = np.asarray(image.convert("RGBA" if palette_key or "a" in mode.lower() else "RGB"))
    else:
        raise PictureError(f"has pixels of the mode {mode}: convert it to 8-bit or 16-bit RGB")
    if values.ndim == 3 and values.shape[2] in (2, 4):
        return Decoded(values[..., :-1], values[..., -1], icc)
    color = np.atleast_3d(values)
    if mode in ("1", "L") and key is not None:
        raw_mode = str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)
        key *= 255 // (2 ** _BITS_OF_RAW_MODES.get(raw_mode, 8) - 1)
    return Decoded(color, _opacity(color, key if mode != "P" else None), icc)


def _decode_deep(path: Path, image: ImageFile, bits: int, arguments: Any) -> Decoded:
    """Decode PNG, PPM or JPEG 2000 of 9 to 16 bits."""
    icc = image.info.get("icc_profile")
    if image.mode.startswith("I") and image.format != "JPEG2000":
        values = np.asarray(image)[..., None].astype(np.uint16)
    else:
        values = np.atleast_3d(decode_pixels(path.read_bytes(), cv2.IMREAD_UNCHANGED))
        white = arguments[-1] if image.format == "PPM" else 2**bits - 1
        values = _stretched(values, white)
        channels = 1 if image.mode.startswith("I") else len(image.mode)
        has_key = "transparency" in image.info  # OpenCV may add alpha for it
        if values.dtype != np.uint16 or values.shape[2] != channels + has_key:
            raise PictureError(f"has {bits} bits in a layout that cannot be read: convert it to 16-bit PNG or TIFF")
        values = values[..., [2, 1, 0, 3][: values.shape[2]]] if channels >= 3 else values
        if has_key:
            values = values[..., :channels]
    gray = values.shape[2] < 3 or (isinstance(arguments, str) and arguments.startswith("LA"))
    color = values[..., :1] if gray else values[..., :3]
    if values.shape[2] == 4:
        return Decoded(color, values[..., 3], icc)
    return Decoded(color, _opacity(color, image.info.get("transparency")), icc)


def _stretched(values: np.ndarray, white: int) -> np.ndarray:
    """Scale 16-bit values with a lower white, such as 1023 or 4095, to a white of 65535."""
    full = int(white_value(values.dtype))
    if white == full:
        return values
    return ((values.astype(np.uint32) * full + white // 2) // white).astype(values.dtype)


def _opacity(color: np.ndarray, key: int | tuple[int, ...] | None) -> np.ndarray | None:
    """Alpha of a picture in which one colour is transparent, or None."""
    if key is None:
        return None
    return np.where((color == np.array(key)).all(2), 0, white_value(color.dtype)).astype(color.dtype)
