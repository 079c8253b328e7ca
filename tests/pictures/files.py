"""Files as people have them, each with the pixels that are right for it, told by other means than by reading it."""

import itertools
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

from tests.pictures import profiles

Values = np.ndarray


def noise(height: int, width: int, channels: int, dtype=np.uint8, seed: int = 0) -> Values:
    """Random pixels, H x W x C; alpha, the last of 2 or 4 channels, has transparent, opaque and other pixels."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)
    if channels in (2, 4):
        values[..., -1] = np.array([0, 0.5, 1])[rng.integers(0, 3, (height, width))] * np.iinfo(dtype).max
    return values


def png(values: Values, bits: int, colour: int, extra: bytes = b"", width: int | None = None, height: int = 0) -> bytes:
    """A PNG of rows as they are: what no library writes, such as 16-bit gray with alpha."""
    rows = np.ascontiguousarray(values, values.dtype.newbyteorder(">"))
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(
        ">IIBBBBB", rows.shape[1] if width is None else width, height or len(rows), bits, colour, 0, 0, 0
    )
    content = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif(orientation: int | None = None) -> Image.Exif:
    tags = Image.Exif()
    tags[271] = "Maker"
    if orientation:
        tags[274] = orientation
    tags.get_ifd(34665)[36867] = "2024:05:06 07:08:09"
    tags.get_ifd(34665)[40962] = 9
    tags.get_ifd(34853)[1] = "N"
    return tags


def to_opencv(values: Values) -> Values:
    """R, G, B to B, G, R and back; gray stays."""
    return values if values.shape[2] < 3 else values[..., [2, 1, 0, 3][: values.shape[2]]]


def saved(values: Values, **options) -> Callable[[Path], Values]:
    """Saved by Pillow, in the format of the suffix, without loss."""

    def make(path: Path) -> Values:
        Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(path, **options)
        return values

    return make


def with_loss(values: Values, **options) -> Callable[[Path], Values]:
    """Saved by Pillow; right is what Pillow makes of it, turned as EXIF says."""

    def make(path: Path) -> Values:
        Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(path, **options)
        with Image.open(path) as image:
            return np.atleast_3d(np.asarray(image))

    return make


def written(content: bytes, right: Values) -> Callable[[Path], Values]:
    def make(path: Path) -> Values:
        path.write_bytes(content)
        return right

    return make


def by_tifffile(stored: Values, right: Values | None = None, **options) -> Callable[[Path], Values]:
    def make(path: Path) -> Values:
        tifffile.imwrite(path, stored, **options)
        return np.atleast_3d(stored) if right is None else right

    return make


def by_opencv(values: Values, *options: int) -> Callable[[Path], Values]:
    def make(path: Path) -> Values:
        cv2.imwrite(str(path), to_opencv(values), options)
        return values

    return make


def palette(colours: Values, transparency=None, **options) -> Callable[[Path], Values]:
    """A picture of a palette of R, G, B; right is R, G, B, and A if there is transparency."""
    indices = noise(7, 9, 1, seed=5)[..., 0] % len(colours)

    def make(path: Path) -> Values:
        image = Image.fromarray(indices).convert("P")
        image.putpalette(colours.tobytes())
        if transparency is None:
            image.save(path, **options)
            return colours[indices]
        image.save(path, transparency=transparency, **options)
        if isinstance(transparency, int):
            opacity = np.where(np.arange(len(colours)) == transparency, 0, 255)
        else:
            opacity = np.frombuffer(transparency.ljust(len(colours), b"\xff"), np.uint8)
        return np.dstack([colours[indices], opacity[indices].astype(np.uint8)])

    return make


def image_of(image: Image.Image, right: Values, **options) -> Callable[[Path], Values]:
    def make(path: Path) -> Values:
        image.save(path, **options)
        return right

    return make


def planes(mode: str, *values: int) -> Image.Image:
    """A picture of one colour in a mode that has no arrays."""
    return Image.merge(mode, [Image.new("L", (4, 3), value) for value in values])


def one_colour(*rgb: int) -> Values:
    return np.full((3, 4, 3), rgb, np.uint8)


GRAY, RGB, RGBA, LA = (noise(7, 9, channels, seed=channels) for channels in (1, 3, 4, 2))
GRAY16, RGB16, RGBA16, LA16 = (noise(7, 9, channels, np.uint16, seed=channels) for channels in (1, 3, 4, 2))
DIM16 = RGB16 % 200  # 16 bits whose values would fit into 8
FLOATS = np.random.default_rng(6).random((7, 9, 3)).astype(np.float32)
FLOATS_A = np.dstack([FLOATS, RGBA[..., 3] / np.float32(255)])
COLOURS = noise(1, 12, 3, seed=8)[0]
BITS = noise(7, 16, 1, seed=9) > 127
FOUR = noise(7, 8, 1, seed=10) % 4  # gray of 2 bits
INKS = np.array(list(itertools.product((0, 255), repeat=4)), np.uint8).reshape(4, 4, 4)
INKS_RGB = np.array([[profiles.srgb_of_ink(*(ink // 255)) for ink in row] for row in INKS], np.uint8)
LAB = profiles.lab((200, 90, 60))


def keyed(values: Values, key: Values) -> Values:
    """Values with an alpha that is zero where they equal the key."""
    peak = np.iinfo(values.dtype).max
    return np.dstack([values, np.where((values == key).all(2), 0, peak).astype(values.dtype)])


def key16(values: Values) -> bytes:
    """The key of one pixel, as PNG's tRNS has it."""
    return values[2, 3].astype(">u2").tobytes()


def packed(values: Values, bits: int) -> Values:
    """Rows of values of less than 8 bits, as PNG stores them."""
    places = np.arange(8 // bits)[::-1] * bits
    return (values.reshape(len(values), -1, 8 // bits).astype(int) << places).sum(2).astype(np.uint8)


def multiplied(values: Values) -> Values:
    """R, G, B multiplied by A, as in associated alpha."""
    peak = np.iinfo(values.dtype).max
    colors = values[..., :3].astype(np.int64) * values[..., 3:] / peak
    return np.dstack([np.rint(colors).astype(values.dtype), values[..., 3]])


FILES: dict[str, Callable[[Path], Values]] = {
    # Modes
    "gray.png": saved(GRAY),
    "colour.png": saved(RGB),
    "gray alpha.png": saved(LA),
    "colour alpha.png": saved(RGBA),
    "gray.jpg": with_loss(GRAY, quality=90),
    "colour.jpg": with_loss(RGB, quality=90),
    "progressive.JPG": with_loss(RGB, progressive=True),
    "colour.webp": saved(RGB, lossless=True),
    "alpha.webp": saved(RGBA, lossless=True, exact=True),
    "lossy.webp": with_loss(RGB, quality=80),
    "colour.avif": with_loss(RGB, quality=80),
    "alpha.avif": with_loss(RGBA, quality=80),
    "gray.bmp": saved(GRAY),
    "colour.bmp": saved(RGB),
    "colour.tga": saved(RGB),
    "alpha.tga": saved(RGBA, compression="tga_rle"),
    "colour.jp2": saved(RGB),
    "alpha.jp2": saved(RGBA),
    "gray.pgm": saved(GRAY),
    "colour.ppm": saved(RGB),
    "ascii.ppm": written(b"P3\n# text\n2 1\n255\n1 2 3 4 5 6\n", np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)),
    "colour.qoi": saved(RGB),
    "alpha.qoi": saved(RGBA),
    # Palettes and few bits
    "palette.png": palette(COLOURS),
    "palette alpha.png": palette(COLOURS, bytes([0, 90, 255, 200])),
    "palette one transparent.png": palette(COLOURS, 3),
    "palette of 16 colours.png": palette(COLOURS, bits=4),
    "palette.gif": palette(COLOURS),
    "palette transparent.gif": palette(COLOURS, 3),
    "palette.bmp": palette(COLOURS),
    "palette.tif": palette(COLOURS),
    "bits.png": written(png(packed(BITS, 1), 1, 0, width=16), BITS.astype(np.uint8) * 255),
    "bits transparent.png": written(
        png(packed(BITS, 1), 1, 0, chunk(b"tRNS", b"\0\1"), 16),
        np.dstack([BITS * np.uint8(255), ~BITS * np.uint8(255)]).astype(np.uint8),
    ),
    "2 bits transparent.png": written(
        png(packed(FOUR, 2), 2, 0, chunk(b"tRNS", b"\0\2"), 8), keyed(FOUR * np.uint8(85), np.array([170]))
    ),
    "bits.tif": image_of(Image.fromarray(BITS[..., 0]), BITS.astype(np.uint8) * 255, compression="group4"),
    "bits.pbm": image_of(Image.fromarray(BITS[..., 0]), BITS.astype(np.uint8) * 255),
    "gray key.png": written(png(GRAY, 8, 0, chunk(b"tRNS", key16(GRAY))), keyed(GRAY, GRAY[2, 3])),
    "colour key.png": written(
        png(RGB, 8, 2, chunk(b"tRNS", key16(RGB))), keyed(RGB, RGB[2, 3])
    ),
    # 16 bits
    "gray 16.png": by_opencv(GRAY16),
    "colour 16.png": by_opencv(RGB16),
    "dim 16.png": by_opencv(DIM16),
    "alpha 16.png": by_opencv(RGBA16),
    "gray alpha 16.png": written(png(LA16, 16, 4), LA16),
    "gray key 16.png": written(png(GRAY16, 16, 0, chunk(b"tRNS", key16(GRAY16))), keyed(GRAY16, GRAY16[2, 3])),
    "colour key 16.png": written(png(RGB16, 16, 2, chunk(b"tRNS", key16(RGB16))), keyed(RGB16, RGB16[2, 3])),
    "16.ppm": by_opencv(RGB16),
    "16.pgm": by_opencv(GRAY16),
    "10 bits.ppm": written(
        b"P6 9 7 1023\n" + (RGB16 >> 6).astype(">u2").tobytes(),
        np.floor((RGB16 >> 6) * (65535 / 1023) + 0.5).astype(np.uint16),
    ),
    "10 bits.pgm": written(
        b"P5 9 7 1023\n" + (GRAY16 >> 6).astype(">u2").tobytes(),
        np.floor((GRAY16 >> 6) * (65535 / 1023) + 0.5).astype(np.uint16),
    ),
    "16.jp2": by_opencv(noise(80, 70, 3, np.uint16), cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000),
    "gray 16.jp2": by_opencv(noise(80, 70, 1, np.uint16), cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000),
    # TIFF
    "gray.tif": saved(GRAY),
    "lzw.tif": saved(RGB, compression="tiff_lzw"),
    "deflate.tiff": saved(RGB, compression="tiff_adobe_deflate"),
    "jpeg.tif": with_loss(RGB, compression="jpeg"),
    "gray alpha.tif": saved(LA),
    "alpha.tif": saved(RGBA),
    "white is zero.tif": by_tifffile(255 - GRAY[..., 0], GRAY, photometric="miniswhite"),
    "white is zero 16.tif": by_tifffile(65535 - GRAY16[..., 0], GRAY16, photometric="miniswhite"),
    "gray 16.tif": by_tifffile(GRAY16[..., 0]),
    "colour 16.tif": by_tifffile(RGB16, photometric="rgb"),
    "dim 16.tif": by_tifffile(DIM16, photometric="rgb"),
    "big-endian 16.tif": by_tifffile(RGB16, photometric="rgb", byteorder=">", compression="zlib", predictor=True),
    "planes 16.tif": by_tifffile(np.moveaxis(RGB16, 2, 0).copy(), RGB16, photometric="rgb", planarconfig="separate"),
    "tiles 16.tif": by_tifffile(RGB16, photometric="rgb", tile=(16, 16)),
    "big 16.tif": by_tifffile(RGB16, photometric="rgb", bigtiff=True),
    "lzw 16.tif": by_opencv(RGB16, cv2.IMWRITE_TIFF_COMPRESSION, 5),
    "lzw alpha 16.tif": by_opencv(RGBA16, cv2.IMWRITE_TIFF_COMPRESSION, 5),
    "alpha 16.tif": by_tifffile(RGBA16, photometric="rgb", extrasamples=["unassalpha"]),
    "gray alpha 16.tif": by_tifffile(
        LA16, photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig"
    ),
    "associated 16.tif": by_tifffile(multiplied(RGBA16), RGBA16, photometric="rgb", extrasamples=["assocalpha"]),
    "associated.tif": by_tifffile(multiplied(RGBA), RGBA, photometric="rgb", extrasamples=["assocalpha"]),
    "mask 16.tif": by_tifffile(RGBA16, RGBA16[..., :3], photometric="rgb", extrasamples=["unspecified"]),
    "floats.tif": by_tifffile(FLOATS, photometric="rgb", compression="zlib"),
    "gray floats.tif": by_tifffile(FLOATS[..., 0]),
    "alpha floats.tif": by_tifffile(FLOATS_A, photometric="rgb", extrasamples=["unassalpha"]),
    "half floats.tif": by_tifffile(
        FLOATS.astype(np.float16), FLOATS.astype(np.float16).astype(np.float32), photometric="rgb"
    ),
    "lzw floats.tif": by_opencv(FLOATS, cv2.IMWRITE_TIFF_COMPRESSION, 5),
    # Colour spaces
    "cmyk.jpg": image_of(Image.fromarray(np.tile(INKS, (2, 2, 1)).repeat(8, 0).repeat(8, 1), "CMYK"),
                         np.tile(INKS_RGB, (2, 2, 1)).repeat(8, 0).repeat(8, 1), quality=100, subsampling=0,
                         icc_profile=profiles.cmyk()),
    "cmyk.tif": image_of(Image.fromarray(INKS, "CMYK"), INKS_RGB, icc_profile=profiles.cmyk()),
    "lab.tif": image_of(
        planes("LAB", round(LAB[0] * 2.55), round(LAB[1]) + 128, round(LAB[2]) + 128), one_colour(200, 90, 60)
    ),
    # BT.601: Y 100, Cb 150, Cr 90 of full range
    "ycbcr.tif": image_of(planes("YCbCr", 100, 150, 90), one_colour(47, 120, 139)),
    "ycbcr.jpg": image_of(planes("YCbCr", 100, 150, 90), one_colour(47, 120, 139), quality=100, subsampling=0),
    # Sizes
    "1x1.png": saved(noise(1, 1, 3)),
    "1x1 alpha 16.tif": by_tifffile(RGBA16[:1, :1], photometric="rgb", extrasamples=["unassalpha"]),
    "1x4000.png": saved(noise(4000, 1, 4)),
    "4000x1.tif": saved(noise(1, 4000, 3)),
    "4000x1 16.png": by_opencv(noise(1, 4000, 3, np.uint16)),
    "2x3.jpg": with_loss(noise(3, 2, 3)),
    # Names
    "a picture. of  2.5 dots.png": saved(RGB),
    "猫と犬 кошка قطة 🐈.png": by_opencv(RGB16),
    "Zoë's café.tif": by_tifffile(RGB16, photometric="rgb"),
    "-dash.png": saved(RGB),
}  # fmt: skip

CONVERTED = {"cmyk.jpg", "cmyk.tif", "lab.tif", "ycbcr.tif", "ycbcr.jpg"}
"""Files whose values are rounded when they are stored or converted: right within 2 of 255."""
