"""Conversion of CMYK and Lab pictures to sRGB, with ICC profiles."""

from __future__ import annotations

import functools
import io
import struct

from PIL import Image, ImageCms

from rcan_plugin.pictures.picture import PictureError

_DATE = slice(24, 36)  # of creation, in a profile's header (ICC.1:2022, 7.2)


@functools.cache
def srgb_profile() -> bytes:
    """The sRGB profile of LittleCMS, with a fixed date, so that the same picture gives the same file."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_DATE] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return bytes(profile)


def is_srgb(icc: bytes) -> bool:
    """Whether a profile's description says sRGB: then the picture looks the same without profile."""
    try:
        return "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    except (OSError, ImageCms.PyCMSError):
        return False


def cmyk_to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert CMYK to sRGB: relative colorimetric, with black point compensation, as Photoshop's default.

    Raises:
        PictureError: there is no CMYK profile, which is needed to know the colours; the message does not name the file.
    """
    remedy = "convert it to RGB in a program that knows its printing conditions"
    if icc is None:
        raise PictureError(f"has CMYK colours and no ICC profile that defines them: {remedy}")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if (space := profile.profile.xcolor_space.strip()) != "CMYK":
            raise PictureError(f"has CMYK colours and an ICC profile for {space}: {remedy}")
        return _to_srgb(image, profile)
    except (OSError, ImageCms.PyCMSError) as error:
        raise PictureError(f"has CMYK colours and an ICC profile that cannot be used ({error}): {remedy}") from None


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Convert Lab (D50) to sRGB."""
    return _to_srgb(image, ImageCms.createProfile("LAB"))


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        profile,  # type: ignore[arg-type]
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # only `inPlace` returns None
    return converted
