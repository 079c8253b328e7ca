"""Reads a file into a `Picture`."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from PIL import UnidentifiedImageError
from PIL.ImageFile import ImageFile

from rcan_plugin._files import require_file
from rcan_plugin.images.decode import ImageError
from rcan_plugin.images.header import open_image
from rcan_plugin.pictures import exif as exif_blocks
from rcan_plugin.pictures import kinds, orientation, tiffs
from rcan_plugin.pictures.decoding import Decoded, decode, decode_shallow
from rcan_plugin.pictures.picture import Picture, PictureError

MAX_PIXELS = 178_956_970
"""Default limit of pixels of a picture: that of Pillow. Larger pictures may be crafted to fill the memory."""

_FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "DIB", "PPM", "TGA", "JPEG2000", "QOI")
_IPTC = 0x0404
"""Resource of Photoshop's segment (Adobe Photoshop File Formats Specification, "Image Resource IDs")."""
_WITH_EXTRAS = ("MPO", "HEIF")  # formats of a main picture with depth maps, gain maps or other views


def read(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture from a file.

    Kept as they are: 8 or 16 bits (by the type of the file), floats from 0 to 1, gray or colour, alpha, ICC profile,
    EXIF, resolution. Palettes become RGB, or RGBA if they have transparency; black and white becomes gray. CMYK with a
    profile and Lab become sRGB. EXIF's orientation is applied to the pixels and set to 1; its thumbnail is dropped.

    Args:
        path: the file.
        max_pixels: refuse pictures with more pixels, before they are decoded.

    Raises:
        PictureError: it is damaged, animated, too large, of a kind that cannot be enlarged, or not a picture.
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, a device, ...
        OSError: it cannot be read.
    """
    path = Path(path)
    require_file("input", path)
    with path.open("rb") as file:
        head = file.read(kinds.HEAD_BYTES)
    try:
        if reason := kinds.refusal(path.name, head):
            raise PictureError(reason)
        return _read_tiff(path, max_pixels) if kinds.is_tiff(head) else _read(path, head, max_pixels)
    except (PictureError, ImageError) as error:
        raise PictureError(f"{path} {error}.") from None
    except UnidentifiedImageError:
        raise PictureError(f"{path} is damaged, not a picture, or of an unknown format: convert it to PNG.") from None
    except MemoryError:
        raise PictureError(f"{path} needs more memory than there is: cut it into parts.") from None
    except Exception as error:  # Pillow and tifffile raise almost any exception for a damaged file
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"{path} is damaged or cut short ({reason}): fetch or make it again.") from None


def _read(path: Path, head: bytes, max_pixels: int) -> Picture:
    """Read a picture of any format except TIFF."""
    if kinds.is_heif(head):
        _register_heif()
    with path.open("rb") as file, open_image(file) as image:
        form = image.format or ""
        if form not in _FORMATS:
            raise PictureError(f"is a {form} file, which is not supported: convert it to PNG or TIFF")
        _check_pixels(image.width, image.height, max_pixels)
        extras = _check_frames(image)
        decoded = decode(path, image, head)
        turn = orientation.valid(image.getexif().get(exif_blocks.ORIENTATION))  # Pillow also knows XMP's and AVIF's
        exif, damaged = _exif(image)
        dpi = _valid_dpi(image.info.get("dpi"), turn)
        return _picture(decoded, turn, form, dpi, exif, (*extras, *damaged, *_not_kept(image)))


def _read_tiff(path: Path, max_pixels: int) -> Picture:
    page = tiffs.inspect(path)
    _check_pixels(page.width, page.height, max_pixels)
    turn = as_stored = orientation.valid(page.orientation)
    if page.deep:
        color, alpha, remarks = tiffs.read_deep(path)
        decoded = Decoded(color, alpha, page.icc, tuple(remarks))
    else:
        with path.open("rb") as file, open_image(file) as image:
            image.load()
            decoded = decode_shallow(image, page.icc)
            turn = orientation.valid(image.getexif().get(exif_blocks.ORIENTATION))  # 1: Pillow has turned the pixels
    return _picture(decoded, turn, "TIFF", _valid_dpi(page.dpi, as_stored), page.exif, page.remarks)


def _picture(decoded: Decoded, turn: Any, form: str, dpi: Any, exif: bytes | None, remarks: tuple[str, ...]) -> Picture:
    """Make a picture from decoded pixels: rotate them upright and adapt the metadata."""
    alpha = decoded.alpha
    return Picture(
        orientation.turned(decoded.color, turn),
        None if alpha is None else orientation.turned(alpha, turn),
        icc=decoded.icc,
        exif=exif,
        dpi=dpi,
        format=form,
        remarks=(*remarks, *decoded.remarks),
    )


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureError(
            f"has {width} x {height} pixels, more than the limit of {max_pixels:,}, which protects against files that "
            f"are made to fill the memory: if you trust it, raise the limit: --max-pixels {width * height}"
        )
    if not width * height:
        raise PictureError("has no pixels: make it again")


def _check_frames(image: ImageFile) -> tuple[str, ...]:
    """Refuse animations. Returns remarks on pictures besides the main one."""
    frames = getattr(image, "n_frames", 1)
    if frames == 1:
        return ()
    if image.format in _WITH_EXTRAS:
        return (f"of its {frames} images (views, depth, gain maps) only the main one is enlarged",)
    raise PictureError(f"is animated ({frames} frames): export its frames as PNG, or save the one you mean")


def _exif(image: ImageFile) -> tuple[bytes | None, tuple[str, ...]]:
    """Return EXIF for upright pixels, and a remark if it is damaged."""
    try:
        exif = image.info.get("exif") or (image.getexif().tobytes() if "Raw profile type exif" in image.info else None)
        return (exif_blocks.upright(exif) if exif else None), ()
    except Exception as error:  # Pillow raises almost any exception for damaged EXIF
        return None, (f"its EXIF is damaged and not kept ({error})",)


def _not_kept(image: ImageFile) -> list[str]:
    """Remarks on metadata that are not copied to the result; keys are those of Pillow's readers.

    ImageMagick writes "raw profiles" into texts of PNG. Photoshop writes an empty IPTC record if there is none.
    """
    info = image.info
    photoshop = info.get("photoshop")
    found = {
        "XMP": info.get("xmp") or info.get("XML:com.adobe.xmp") or info.get("Raw profile type xmp"),
        "IPTC": (photoshop.get(_IPTC) if isinstance(photoshop, dict) else None) or info.get("Raw profile type iptc"),
    }
    return [f"its {name} is not kept" for name, content in found.items() if content]


def _valid_dpi(dpi: Any, turn: int) -> tuple[float, float] | None:
    """Return a resolution for upright pixels, or None if it has no meaning."""
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not all(math.isfinite(value) and value > 0 for value in (x, y)):
        return None
    return (y, x) if orientation.swaps_sides(turn) else (x, y)


def _register_heif() -> None:
    """Make Pillow read HEIF, which needs the optional package pillow-heif.

    Raises:
        PictureError: the package is missing.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise PictureError(
            "is HEIF (HEIC): install pillow-heif (pip install pillow-heif), or convert it to PNG"
        ) from None
    register_heif_opener()
