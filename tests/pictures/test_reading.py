"""Files that are refused: one line that names the file, the reason and what to do."""

import io
import struct
import sys

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from rcan_plugin.pictures import PictureError, kinds, read, tiffs
from rcan_plugin.pictures.decoding import _stretched
from tests.pictures.files import FLOATS, FOUR, GRAY16, RGB, RGB16, RGBA16, chunk, png

IMAGE, OTHER = Image.fromarray(RGB), Image.fromarray(255 - RGB)


def encoded(form: str, **options) -> bytes:
    file = io.BytesIO()
    IMAGE.save(file, form, **options)
    return file.getvalue()


def tiff(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def box(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand + bytes(100)


BITS_16, BITS_12 = (struct.pack("<HHII", 258, 3, 1, bits) for bits in (16, 12))  # entries of BitsPerSample
SEVERAL = {"save_all": True, "append_images": [OTHER]}
EIGHT_BITS = png(RGB, 8, 2)

REFUSED = {
    # Animated, several pages
    "animated.gif": (encoded("GIF", **SEVERAL), "is animated (2 frames): export its frames as PNG"),
    "animated.png": (encoded("PNG", **SEVERAL), "is animated (2 frames)"),
    "animated.webp": (encoded("WEBP", **SEVERAL), "is animated (2 frames)"),
    "animated.avif": (encoded("AVIF", **SEVERAL), "is animated (2 frames)"),
    "pages.tif": (encoded("TIFF", **SEVERAL), "has 2 pages: save the one you mean as a file of its own"),
    # No pictures, or of kinds that other programs open
    "empty.png": (b"", "is empty (0 bytes): fetch or make it again"),
    "text.png": (b"hello", "is damaged, not a picture, or of an unknown format: convert it to PNG"),
    "a.pdf": (b"%PDF-1.7\n", "is a PDF document: export it as PNG or TIFF"),
    "a.eps": (encoded("EPS"), "is a PostScript (EPS) file, which has no pixels"),
    "a.svg": (b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="x"/>', "is an SVG drawing, which has no pixels"),
    "b.svg": (b"\n<svg/>", "is an SVG drawing"),
    "a.psd": (b"8BPS\0\1", "is a Photoshop document (PSD): export it as PNG or TIFF"),
    "a.xcf": (b"gimp xcf v011", "is a GIMP document (XCF)"),
    "a.jxl": (b"\xff\x0a\0\0", "is a JPEG XL file, which Pillow does not read"),
    "a.exr": (b"\x76\x2f\x31\x01", "is an OpenEXR file with values beyond white: tone-map it"),
    "a.hdr": (b"#?RADIANCE\n", "is a Radiance HDR file with values beyond white"),
    "a.mp4": (b"\0\0\0\x18ftypmp42" + bytes(16), "is a video: export its frames as PNG"),
    "a.zip": (b"PK\x03\x04", "is an archive: unpack it"),
    "a.ico": (encoded("ICO"), "is a ICO file, which is not supported: convert it to PNG or TIFF"),
    "a.NEF": (tiff(RGB, photometric="rgb"), "is a camera's raw file: develop it and export it as 16-bit TIFF"),
    "dng.tif": (tiff(RGB, photometric="rgb", extratags=[(50706, 1, 4, b"\1\4\0\0", True)]), "raw file (DNG)"),
    # Damaged
    "cut.png": (EIGHT_BITS[:-60], "is damaged or cut short ("),
    "cut 16.png": (png(RGB16, 16, 2)[:-60], "is damaged or cut short ("),
    "cut.jpg": (encoded("JPEG")[:-20], "is damaged or cut short (image file is truncated"),
    "cut.webp": (encoded("WEBP")[:-20], "is damaged"),
    "cut.tif": (tiff(RGB, photometric="rgb")[:-60], "is damaged or cut short ("),
    "cut 16.tif": (tiff(RGB16, photometric="rgb")[:-60], "is damaged or cut short ("),
    "head.tif": (b"II*\0\x08\0\0\0", "has no page: it is cut short"),
    "head.png": (EIGHT_BITS[:20], "is damaged"),
    "changed.png": (EIGHT_BITS[:60] + b"\0\0\0" + EIGHT_BITS[63:], "is damaged or cut short ("),
    "no size.png": (png(RGB, 8, 2, width=0), "is damaged"),
    # Values that no network has learnt
    "signed.tif": (tiff(GRAY16.astype(np.int16)), "has 16-bit signed integers; expected 1 to 8 or 16 bits, or floats"),
    "32 bits.tif": (tiff(GRAY16.astype(np.uint32)), "has 32-bit unsigned integers"),
    "12 bits.tif": (tiff(GRAY16).replace(BITS_16, BITS_12), "has 12-bit unsigned integers"),
    "complex.tif": (tiff(GRAY16.astype(np.complex64)), "values of an unknown type"),
    "light.tif": (tiff(FLOATS * 40, photometric="rgb"), "has float values from 0."),
    "below zero.tif": (tiff(FLOATS - 0.5, photometric="rgb"), "expected 0 to 1: scale or tone-map it"),
    "nan.tif": (tiff(FLOATS * np.nan, photometric="rgb"), "has float values from nan to nan"),
    "cmyk 16.tif": (tiff(RGBA16, photometric="separated"), "has 16-bit CMYK colours: convert it to RGB"),
    "lab 16.tif": (tiff(RGB16, photometric="cielab"), "has 16-bit Lab colours: convert it to RGB"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name, tmp_path, capfd):
    content, reason = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PictureError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path} ")
    assert reason in message
    assert "\n" not in message and message.endswith(".")
    assert len(message) < 300 + len(str(path))
    assert capfd.readouterr() == ("", "")


def test_a_bomb_is_refused_with_the_option_that_allows_it(tmp_path):
    (tmp_path / "a.png").write_bytes(png(RGB, 8, 2, width=65_000, height=65_535))
    with pytest.raises(PictureError) as error:
        read(tmp_path / "a.png")
    assert "65000 x 65535 pixels, more than the limit of 178,956,970" in str(error.value)
    assert str(error.value).endswith("--max-pixels 4259775000.")


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_the_limit_of_pixels(name, tmp_path, monkeypatch):
    IMAGE.save(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow's own does not count
    assert np.array_equal(read(tmp_path / name, max_pixels=63).color, RGB)
    with pytest.raises(PictureError, match=r"9 x 7 pixels, more than the limit of 62"):
        read(tmp_path / name, max_pixels=62)


def test_no_file_and_no_regular_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read(tmp_path / "a.png")
    with pytest.raises(ValueError, match="is a folder; expected a file"):
        read(tmp_path)


def test_heif_names_the_package_that_reads_it(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(box(b"heic"))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PictureError, match=r"is HEIF \(HEIC\): install pillow-heif \(pip install pillow-heif\)"):
        read(tmp_path / "a.heic")


def test_an_avif_that_calls_itself_an_image_file_first_is_no_heif():
    assert kinds.is_heif(box(b"heix")) and kinds.is_heif(box(b"mif1"))
    assert not kinds.is_heif(box(b"avif"))
    assert not kinds.is_heif(box(b"mif1").replace(b"mif1mif1", b"mif1avif"))


def test_thumbnails_in_a_tiff_are_no_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(RGB16, photometric="rgb")
        file.write(RGB16[::2, ::2], photometric="rgb", subfiletype=1)
    assert np.array_equal(read(tmp_path / "a.tif").color, RGB16)


def test_the_first_of_several_views_is_the_picture(tmp_path):
    IMAGE.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[OTHER], quality=100, subsampling=0)
    picture = read(tmp_path / "a.jpg")
    assert np.abs(picture.color.astype(int) - RGB).max() <= 40
    assert picture.format == "MPO"
    assert picture.remarks == ("of its 2 images (views, depth, gain maps) only the main one is enlarged",)


def test_what_is_lost_is_reported(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FLOATS.astype(np.float64), photometric="rgb")
    picture = read(tmp_path / "a.tif")
    assert picture.remarks == ("its 64-bit floats become 32-bit",)
    assert np.array_equal(picture.color, FLOATS)
    tifffile.imwrite(tmp_path / "b.tif", RGBA16, photometric="rgb", extrasamples=["unspecified"])
    assert read(tmp_path / "b.tif").remarks == ("1 extra channel without a known meaning not kept",)


def test_a_compression_of_neither_reader_names_the_package(tmp_path):
    """LZW is read by OpenCV, but not with gray and alpha."""
    Image.fromarray((RGBA16[..., 2:] >> 8).astype(np.uint8)).save(tmp_path / "a.tif", compression="tiff_lzw")
    with pytest.raises(PictureError, match=r"compression LZW in a layout .*pip install imagecodecs"):
        tiffs.read_deep(tmp_path / "a.tif")


def test_an_avif_of_10_bits_says_that_it_is_read_as_8(tmp_path):
    content = bytearray(encoded("AVIF", quality=100, subsampling="4:4:4"))
    at = content.index(b"av1C")
    assert not content[at + 6] & 0x40
    assert kinds.hidden_depth(bytes(content)) == 8
    content[at + 6] |= 0x40
    assert kinds.hidden_depth(bytes(content)) == 10


def test_jpeg_2000_of_12_bits_is_scaled_to_16(tmp_path):
    assert _stretched(np.array([0, 1, 2048, 4095], np.uint16), 4095).tolist() == [0, 16, 32776, 65535]
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    cv2.imwrite(str(tmp_path / "a.jp2"), values << 4, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
    assert np.array_equal(read(tmp_path / "a.jp2").color[..., 0], values << 4)


def test_gray_of_4_bits_with_a_key(tmp_path):
    """Pillow scales the values to 8 bits, but not the key."""
    packed = (FOUR[:, ::2, 0] << 4 | FOUR[:, 1::2, 0]).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(png(packed, 4, 0, chunk(b"tRNS", b"\0\3"), width=8))
    picture = read(tmp_path / "a.png")
    assert np.array_equal(picture.color, FOUR * np.uint8(17))
    assert np.array_equal(picture.alpha == 0, FOUR[..., 0] == 3)
