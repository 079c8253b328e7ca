"""Headers and pixels of images of every kind, and images that are refused."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rcan_plugin.images.decode import ImageError
from rcan_plugin.images.sources import Source
from rcan_plugin.images.store import ImageStore
from tests.data.tiny import picture
from tests.preparation.memory_images import by_opencv, source
from tests.preparation.scenes import encoded, put, scene

COLOUR = scene(40, 50, seed=1)


GRAY = scene(40, 50, seed=2, channels=1)


DEEP = scene(40, 50, seed=3, dtype=np.uint16)


DEEP_GRAY = scene(40, 50, seed=4, dtype=np.uint16, channels=1)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def text_chunk(length: int) -> PngInfo:
    """A compressed text of that length, which may come from a program that edits photographs."""
    info = PngInfo()
    info.add_text("history", "x" * length, zip=True)
    return info


def png(width: int, height: int, data: bytes) -> bytes:
    """An 8-bit colour PNG with right checksums, whatever `data` is."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(text)) + kind + text + struct.pack(">I", zlib.crc32(kind + text)) for kind, text in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


GOOD = {
    **{f"colour{form}": by_opencv(form, COLOUR) for form in (".png", ".bmp", ".jpg", ".webp", ".tif", ".ppm")},
    **{f"gray{form}": by_opencv(form, GRAY) for form in (".png", ".bmp", ".jpg", ".tif", ".pgm")},
    **{f"deep{form}": by_opencv(form, DEEP) for form in (".png", ".tif")},
    **{f"deep gray{form}": by_opencv(form, DEEP_GRAY) for form in (".png", ".tif", ".pgm")},
    "bits.png": encoded(COLOUR, mode="1"),
    **{f"turned {i}.jpg": encoded(COLOUR, "JPEG", exif=exif(i)) for i in range(1, 9)},
    "turned 6.png": encoded(COLOUR, "PNG", exif=exif(6)),
    "turned 8.webp": encoded(COLOUR, "WEBP", exif=exif(8)),
}


@pytest.mark.parametrize("name", GOOD)
def test_pixels_are_those_that_a_folder_gives(name, tmp_path):
    put(tmp_path / name, GOOD[name])
    store = ImageStore(tmp_path)
    header, image = source(GOOD[name]).header(), source(GOOD[name]).decode()
    assert (header.height, header.width) == image.shape[:2] == store.read(name).shape[:2]
    assert header.bits == 8 * image.dtype.itemsize == (16 if name.startswith("deep") else 8)
    assert header.gray == (image.ndim == 2) == ("gray" in name or "bits" in name)
    expected = store.read(name, keep_depth=True, channels=1 if header.gray else 3)
    assert expected.dtype == image.dtype
    np.testing.assert_array_equal(expected, image.reshape(expected.shape))
    if name.startswith("turned"):
        assert image.shape[:2] == ((40, 50) if int(name[7]) < 5 else (50, 40))


@pytest.mark.parametrize(
    ("form", "image"), [(".bmp", scene(8, 72, seed=1)), (".ppm", DEEP)], ids=["216 bytes a row", "16 bits"]
)
def test_the_depth_is_that_of_the_pixels(form, image):
    assert source(by_opencv(form, image)).header().bits == 8 * image.dtype.itemsize


REFUSED = {
    "CMYK.jpg": (encoded(COLOUR, "JPEG", "CMYK"), "has CMYK colours: convert it to RGB"),
    "CMYK.tif": (encoded(COLOUR, "TIFF", "CMYK"), "has CMYK colours: convert it to RGB"),
    "palette.png": (encoded(COLOUR, "PNG", "P"), "has a palette: convert it to RGB"),
    "palette.bmp": (encoded(COLOUR, "BMP", "P"), "has a palette: convert it to RGB"),
    "alpha.png": (encoded(COLOUR, "PNG", "RGBA"), "has alpha: flatten it, or remove the alpha channel"),
    "alpha.tif": (encoded(COLOUR, "TIFF", "RGBA"), "has alpha: flatten it, or remove the alpha channel"),
    "alpha.webp": (by_opencv(".webp", picture(9, 9, 1, channels=4)), "has alpha: flatten it, or remove the alpha"),
    "deep alpha.png": (by_opencv(".png", picture(9, 9, 1, np.uint16, 4)), "has alpha: flatten it, or remove the"),
    "gray alpha.png": (encoded(COLOUR, "PNG", "LA"), "has alpha: flatten it, or remove the alpha channel"),
    "one colour through.png": (encoded(COLOUR, transparency=(1, 2, 3)), "has alpha: flatten it, or remove the alpha"),
    "float.tif": (by_opencv(".tif", COLOUR.astype(np.float32)), "has float32 values; expected 8 or 16 bits: convert"),
    "whole.tif": (encoded(COLOUR, "TIFF", "I"), "has 32 bits a value; expected 8 or 16 bits: convert it"),
    "luma.tif": (encoded(COLOUR, "TIFF", "YCbCr"), "has pixels of the mode YCbCr: convert it to 8-bit RGB"),
    "empty.png": (b"", "is empty (0 bytes): fetch or make it again"),
    "zeros.png": (
        bytes(500),
        "(500 bytes) cannot be read as an image: it is damaged, cut short or no image: fetch or make it again",
    ),
    "page.png": (
        b"<html>404</html>",
        "(16 bytes) cannot be read as an image: it is damaged, cut short or no image: fetch or make it again",
    ),
    "wall.png": (
        png(60000, 60000, zlib.compress(b"")),
        "(60000x60000) is beyond OpenCV's limit of pixels: set the environment variable OPENCV_IO_MAX_IMAGE_PIXELS to",
    ),
    "wide.pgm": (
        encoded(np.zeros((1, (1 << 20) + 1), np.uint8), "PPM", "L"),
        "(1x1048577) is beyond OpenCV's limit of width: set the environment variable OPENCV_IO_MAX_IMAGE_WIDTH to a",
    ),
    "wide.png": (
        encoded(np.zeros((1, 1_000_001), np.uint8), "PNG", "L"),
        "(1x1000001) is beyond libpng's limit of 1,000,000 pixels a side: cut the image into parts",
    ),
    "much text.png": (
        encoded(COLOUR, pnginfo=text_chunk(2 << 20)),
        "has more text than Pillow reads (Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK): remove its",
    ),
    "turned CMYK.jpg": (encoded(COLOUR, "JPEG", "CMYK", exif=exif(6)), "has CMYK colours: convert it to RGB"),
    "turned alpha.png": (encoded(COLOUR, "PNG", "RGBA", exif=exif(6)), "has alpha: flatten it, or remove the alpha"),
    "gray float.tif": (encoded(GRAY, "TIFF", "F"), "has 32 bits a value; expected 8 or 16 bits: convert it"),
    "less data than size.png": (
        png(50, 40, zlib.compress(bytes(3000))),
        "it is damaged, cut short or no image: fetch or make it again",
    ),
    "stream cut short.png": (
        png(50, 40, zlib.compress(COLOUR.tobytes())[:900]),
        "it is damaged, cut short or no image: fetch or make it again",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_stored_is_refused_with_the_reason(name):
    content, reason = REFUSED[name]
    with pytest.raises(ImageError) as raised:
        source(content).header()
        source(content).decode()
    assert reason in str(raised.value)


@pytest.mark.parametrize("form", ["PNG", "PPM", "TIFF", "JPEG"])
def test_pillows_limit_of_pixels_is_none_of_ours(form, monkeypatch):
    """A sound image of 14,000 x 14,000 pixels is beyond it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    content = encoded(COLOUR, form)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(source(content).open())
    assert source(content).header()[:2] == source(content).decode().shape[:2] == (40, 50)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(ImageError, match=r"damaged|cut short|cannot be read"):
        source(content[: len(content) // 2]).decode()


@pytest.mark.parametrize("name", ["wide.pgm", "wide.png"])
def test_limits_are_named_by_a_folder_too(name, tmp_path):
    content, reason = REFUSED[name]
    put(tmp_path / name, content)
    with pytest.raises(ValueError) as raised:
        ImageStore(tmp_path).read(name)
    assert str(raised.value).startswith(f"image {tmp_path / name} {reason}")


@pytest.mark.parametrize("image", [GRAY.astype(np.float32), COLOUR.astype(np.float64), GRAY.astype(np.int32)])
def test_32_bits_are_named_though_opencv_cannot_make_8_of_them(image, tmp_path):
    put(tmp_path / "a.tif", by_opencv(".tif", image))
    with pytest.raises(
        ValueError, match=rf"image .*a\.tif has {image.dtype} values; expected 8 or 16 bits: convert it"
    ):
        ImageStore(tmp_path).read("a.tif")


GRAYS = {
    **{f"{mode}.{form}": (mode, form) for mode in ("L", "1", "P", "LA") for form in ("PNG", "TIFF")},
    **{f"{mode}.{form}": (mode, form) for mode in ("L", "1") for form in ("PPM", "BMP")},
    "P.BMP": ("P", "BMP"),
    "I;16.PNG": ("I;16", "PNG"),
    "I;16.TIFF": ("I;16", "TIFF"),
}


@pytest.mark.parametrize("orientation", [0, *range(1, 9)])
@pytest.mark.parametrize("name", GRAYS)
def test_gray_read_as_gray_has_its_own_values(name, orientation, tmp_path):
    """In every format and orientation, and never those of luma, which begin at 16."""
    mode, form = GRAYS[name]
    if orientation and form in ("PPM", "BMP"):
        return  # no EXIF
    ramp = np.linspace(0, 255, 24 * 40).round().astype(np.uint8).reshape(24, 40)
    image = Image.fromarray(ramp * np.uint16(257)) if mode == "I;16" else Image.fromarray(ramp).convert(mode)
    tags = {"exif": exif(orientation)} if orientation else {}
    image.save(tmp_path / "a", form, **tags)
    (tmp_path / "a").rename(tmp_path / f"a.{form.lower()}")
    store = ImageStore(tmp_path)
    (name,) = store.names
    pixels = store.read(name, channels=1)
    expected = np.array(image.convert("L")) if mode != "I;16" else ramp
    turns = [np.rot90(expected, -1), np.rot90(expected, 1), expected.T, expected[::-1, ::-1].T]
    others = [expected, expected[:, ::-1], expected[::-1, ::-1], expected[::-1]]
    possible = turns if orientation >= 5 and pixels.shape[0] == 40 else others  # OpenCV may leave it as it is
    assert any(np.array_equal(pixels[..., 0], one) for one in possible)
    assert store.header(name).gray and store.header(name)[:2] == pixels.shape[:2]


@pytest.mark.filterwarnings("ignore")  # Pillow's, of TIFF directories
@pytest.mark.parametrize("name", [name for name in GOOD if "turned" not in name])
def test_files_that_are_cut_short_are_found(name):
    for length in (1, 20, len(GOOD[name]) // 2, len(GOOD[name]) - 40):
        with pytest.raises(ImageError, match=r"damaged|cut short|cannot be read"):
            source(GOOD[name][:length]).decode()


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_raise_nothing_else():
    random = np.random.default_rng(0)
    refused = 0
    for content in GOOD.values():
        for _ in range(12):
            damaged = np.frombuffer(content, np.uint8).copy()
            # At the beginning and at the end, where heads and directories are.
            places = [*random.integers(0, min(200, damaged.size), 2), -random.integers(1, min(200, damaged.size))]
            damaged[places] = random.integers(0, 256, 3)
            for action in (Source.header, Source.decode):
                try:
                    action(source(damaged.tobytes()))
                except ImageError:
                    refused += 1
    assert refused > 100


def test_an_image_is_not_bad_because_memory_is_short(monkeypatch):
    def raise_no_memory(*_):
        error = cv2.error("Failed to allocate 99999999999 bytes")
        error.code = cv2.Error.StsNoMem
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(cv2, "imdecode", raise_no_memory)
        with pytest.raises(MemoryError, match="Failed to allocate"):
            source(GOOD["colour.png"]).decode()
    for place in ("open", "Image.load"):
        with monkeypatch.context() as patch:
            patch.setattr(f"PIL.Image.{place}", lambda *_: np.empty(1 << 62, np.uint8))
            with pytest.raises(MemoryError):
                source(GOOD["colour.ppm"]).decode()
    monkeypatch.setattr("PIL.Image.open", lambda *_: np.empty(1 << 62, np.uint8))
    with pytest.raises(MemoryError):
        source(GOOD["colour.png"]).header()


def test_of_a_turn_that_is_no_number_the_pixels_decide():
    content = encoded(COLOUR, "JPEG", exif=exif(6))
    damaged = content.replace(struct.pack(">HH", 0x0112, 3), struct.pack(">HH", 0x0112, 7))  # bytes, not a short
    assert damaged != content
    assert source(damaged).header()[:2] == source(damaged).decode().shape[:2]
