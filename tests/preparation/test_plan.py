"""Which images can be used, which belong together, and where they are cut."""

import io
import struct
import zlib
from functools import partial

import cv2
import numpy as np
import pytest
from PIL import Image

from rcan_plugin.images.decode import ImageError
from rcan_plugin.images.header import Header
from rcan_plugin.images.sources import Source
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.items import Item, SubImages
from rcan_plugin.preparation.plan import make_plan
from tests.data.tiny import picture
from tests.preparation.scenes import encoded, put, scene

COLOUR = scene(40, 50, seed=1)
GRAY = scene(40, 50, seed=2, channels=1)
DEEP = scene(40, 50, seed=3, dtype=np.uint16)
DEEP_GRAY = scene(40, 50, seed=4, dtype=np.uint16, channels=1)


def source(content: bytes, name: str = "a.png") -> Source:
    return Source(name, name, (len(content), 0), partial(io.BytesIO, content))


def by_opencv(form: str, image: np.ndarray) -> bytes:
    return cv2.imencode(form, image)[1].tobytes()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


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
    "whole.tif": (encoded(COLOUR, "TIFF", "I"), "has int32 values; expected 8 or 16 bits: convert it"),
    "luma.tif": (encoded(COLOUR, "TIFF", "YCbCr"), "has pixels of the mode YCbCr: convert it to 8-bit RGB"),
    "empty.png": (b"", "is empty (0 bytes): fetch or make it again"),
    "zeros.png": (
        bytes(500),
        "(500 bytes) cannot be read as an image: it is damaged or cut short, or no image: fetch or make it again",
    ),
    "page.png": (
        b"<html>404</html>",
        "(16 bytes) cannot be read as an image: it is damaged or cut short, or no image: fetch or make it again",
    ),
    "wall.png": (
        png(60000, 60000, zlib.compress(b"")),
        "is damaged or cut short (Image size (3600000000 pixels) exceeds limit",
    ),
    "less data than size.png": (
        png(50, 40, zlib.compress(bytes(3000))),
        "it is damaged or cut short, or no image: fetch or make it again",
    ),
    "stream cut short.png": (
        png(50, 40, zlib.compress(COLOUR.tobytes())[:900]),
        "it is damaged or cut short, or no image: fetch or make it again",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_stored_is_refused_with_the_reason(name):
    content, reason = REFUSED[name]
    with pytest.raises(ImageError) as raised:
        source(content).header()
        source(content).decode()
    assert reason in str(raised.value)


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


IMAGES = {(height, width): encoded(np.zeros((height, width, 3), np.uint8)) for height in (4, 8) for width in (5, 10)}
SMALL, LARGE = IMAGES[4, 5], IMAGES[8, 10]


def plan(hr, lr=(), **more):
    """What becomes of HR and LR images at x2: of good ones keys with LR names, and of bad ones (file, reason)."""
    hr = hr if isinstance(hr, dict) else dict.fromkeys(hr, LARGE)
    lr = lr if isinstance(lr, dict) else dict.fromkeys(lr, SMALL)
    given = {2: [source(content, f"LR/{name}.png") for name, content in lr.items()]} if lr else {}
    items, bad = make_plan([source(content, f"{name}.png") for name, content in hr.items()], given, **more)
    return {item.key: item.lr[2].stem if lr else "" for item in items}, [(one.place, one.reason) for one in bad]


PAIRS = [
    (["0001", "0002"], ["0001", "0002"], ["0001", "0002"]),
    (["0001", "0002"], ["0001x2", "0002x2"], ["0001x2", "0002x2"]),
    (["0001", "0002"], ["0001_x2", "0002_x2"], ["0001_x2", "0002_x2"]),
    (["a", "ax2"], ["ax2", "ax2x2"], ["ax2", "ax2x2"]),
    (["a", "ax2"], ["a", "ax2"], ["a", "ax2"]),
    (["baby_HR_x2", "bird_HR_x2"], ["baby_LRBI_x2", "bird_LRBI_x2"], ["baby_LRBI_x2", "bird_LRBI_x2"]),
    (["HR_1", "HR_2"], ["LR (1)", "LR (2)"], ["LR (1)", "LR (2)"]),
    (["{}1", "{}2"], ["{}1-{0}", "{}2-{0}"], ["{}1-{0}", "{}2-{0}"]),
    (["{a}_HR", "{b}_HR"], ["{a}_LR", "{b}_LR"], ["{a}_LR", "{b}_LR"]),
    (["two words", "and three"], ["two wordsx2", "and threex2"], ["two wordsx2", "and threex2"]),
    (["img.v2"], ["img.v2x2"], ["img.v2x2"]),
    (["Zu\u0308rich", "Go\u0308rlitz"], ["Z\u00fcrichx2", "G\u00f6rlitzx2"], ["Z\u00fcrichx2", "G\u00f6rlitzx2"]),
]


@pytest.mark.parametrize(("hr", "lr", "partners"), PAIRS)
def test_pairs_by_name(hr, lr, partners):
    good, bad = plan(hr, reversed(lr))
    assert bad == [] and good == dict(zip([key_of_(name) for name in hr], partners, strict=True))
    assert list(good) == sorted(good)


def key_of_(name: str) -> str:
    """The keys of the names above, written out."""
    known = {"img.v2": "img_v2", "Zu\u0308rich": "Zu00fcrich", "Go\u0308rlitz": "Gu00f6rlitz"}
    return known.get(name, name)


@pytest.mark.parametrize(("hr", "lr"), [("{}", "{}"), ("{}", "{}x2"), ("{}_HR_x2", "{}_LRBI_x2")])
def test_images_without_partner_do_not_upset_the_others(hr, lr):
    all_names = ["baby", "bird", "butterfly", "head", "woman"]
    good, bad = plan([hr.format(name) for name in all_names[:4]], [lr.format(name) for name in all_names[1:]])
    assert good == {hr.format(name): lr.format(name) for name in all_names[1:4]}
    one, other = hr.format("baby"), lr.format("woman")
    assert bad == [
        (f"LR/{other}.png", "has no HR image (x2)"),
        (f"{one}.png", f"has no LR image at x2 (looked for {one}x2 and the like)"),
    ]


def test_what_some_names_have_in_common_by_chance_does_not_part_them():
    good, bad = plan(["baby_HR", "bird_HR", "head_HR"], ["baby_LR", "bird_LR"])
    assert good == {"baby_HR": "baby_LR", "bird_HR": "bird_LR"} and [place for place, _ in bad] == ["head_HR.png"]


def test_one_pair_of_other_names_is_none():
    good, bad = plan(["a"], ["b"])
    assert good == {} and [place for place, _ in bad] == ["LR/b.png", "a.png"]


def test_two_files_of_one_name():
    good, bad = plan(["1/a", "2/a", "a.b", "a_b", "c"], ["1/a", "a_b", "c", "3/c"])
    same = "would get the same key, {}, as {}: rename or remove one"
    assert good == {} and bad == [
        ("1/a.png", same.format("a", "2/a.png")),
        ("2/a.png", same.format("a", "1/a.png")),
        ("LR/3/c.png", same.format("c", "LR/c.png")),
        ("LR/c.png", same.format("c", "LR/3/c.png")),
        ("a.b.png", same.format("a_b", "a_b.png")),
        ("a_b.png", same.format("a_b", "a.b.png")),
    ]


def test_wrong_sizes_and_depths():
    deep = by_opencv(".png", np.zeros((8, 10, 3), np.uint16))
    small_deep = by_opencv(".png", np.zeros((4, 5, 3), np.uint16))
    hr = {"a": LARGE, "b": LARGE, "c": deep, "d": LARGE, "e": LARGE}
    good, bad = plan(hr, {"a": SMALL, "b": IMAGES[4, 10], "c": small_deep, "d": small_deep, "e": LARGE})
    assert good == {"a": "a"} and bad == [
        ("LR/b.png", "is 4x10; x2 of b.png, 8x10, is 4x5"),
        ("LR/d.png", "has 16 bits a value and its HR image has 8: convert it"),
        ("LR/e.png", "is 8x10; x2 of e.png, 8x10, is 4x5"),
        ("c.png", "has 16 bits a value and most images have 8: convert it"),
    ]
    good, bad = plan({"a": deep, "b": deep, "c": LARGE})
    assert list(good) == ["a", "b"]
    assert bad == [("c.png", "has 8 bits a value and most images have 16: convert it")]


@pytest.mark.parametrize("header", [Header(8, 9, False, False), Header(8, 10, False, False, bits=16)])
def test_pixels_that_differ_from_the_header_are_refused(header):
    with pytest.raises(ImageError, match=r"^its pixels, \(8, 10, 3\), uint8, differ from its header$"):
        Item("a", source(LARGE), header).read(1)


def test_lr_images_are_of_the_hr_image_cropped_to_a_multiple():
    hr = encoded(np.zeros((9, 11, 3), np.uint8))
    assert plan({"a": hr}, {"a": SMALL}) == ({"a": "a"}, [])
    larger = encoded(np.zeros((5, 6, 3), np.uint8))
    assert plan({"a": hr}, {"a": larger})[1] == [("LR/a.png", "is 5x6; x2 of a.png, 9x11, is 4x5")]


def test_too_small_to_be_shrunk():
    good, bad = plan({"a": IMAGES[4, 10], "b": LARGE}, largest_scale=8)
    assert list(good) == ["b"] and bad == [("a.png", "is 4x10, smaller than one pixel at x8: leave it out")]
    assert plan({"a": IMAGES[4, 10]}, largest_scale=4)[1] == []


def test_a_name_that_is_too_long():
    good, bad = plan([505 * "a", 500 * "b"])
    assert list(good) == [500 * "b"]
    assert [reason for _, reason in bad] == ["its name has 505 letters; at most 500 make a key: rename it"]


def test_both_images_of_a_pair_may_be_bad():
    good, bad = plan({"a": b"", "b": LARGE}, {"a": b"rubbish", "b": SMALL})
    assert good == {"b": "b"} and [place for place, _ in bad] == ["LR/a.png", "a.png"]


def extract_subimages(height: int, width: int, size: int, step: int) -> list[tuple[int, int]]:
    """The places of BasicSR's `extract_subimages.py`, `worker`, with thresh_size 0."""
    starts = []
    for side in (height, width):
        space = np.arange(0, side - size + 1, step)
        if side - (space[-1] + size) > 0:
            space = np.append(space, side - size)
        starts.append(space)
    return [(int(x), int(y)) for x in starts[0] for y in starts[1]]


@pytest.mark.parametrize(("size", "step"), [(480, 240), (96, 96), (60, 36), (48, 120)])
def test_sub_images_lie_where_basicsrs_do(size, step):
    sides = [(size, size), (size + 12, 2 * size), (size + step, size + step + 12), (1404, 2040), (648, 516)]
    for height, width in sides:
        expected = extract_subimages(height, width, size, step)
        assert SubImages.for_scales(size, step, []).windows(height, width) == expected
        assert SubImages.for_scales(size, step, [2, 3, 4]).windows(height, width) == expected
        for scale in (2, 3, 4):  # and those of the LR images, that are cut by themselves there
            lr = extract_subimages(height // scale, width // scale, size // scale, step // scale)
            assert [(top // scale, left // scale) for top, left in expected] == lr
    # With a rest that no LR pixel shows, the last square is as near to the border as all scales allow.
    assert SubImages.for_scales(48, 24, [2, 3]).windows(48, 100) == [(0, 0), (0, 24), (0, 48)]
    assert SubImages.for_scales(48, 24, [2, 3]).windows(48, 102) == [(0, 0), (0, 24), (0, 48), (0, 54)]
    assert SubImages.for_scales(48, 24, []).windows(48, 101) == [(0, 0), (0, 24), (0, 48), (0, 53)]


def test_sub_images_that_do_not_fit_the_scales_or_the_images():
    for values, said in [
        ((481, 240), "sub-images: size is 481; expected a multiple of 12, so that it has a whole number of pixels at "
                     "every scale: use 480."),
        ((480, 250), "sub-images: step is 250; expected a multiple of 12, so that it has a whole number of pixels at "
                     "every scale: use 252."),
        ((480, 0), "sub-images: step is 0; expected a multiple of 12, so that it has a whole number of pixels at "
                   "every scale: use 12."),
    ]:  # fmt: skip
        with pytest.raises(ValueError) as raised:
            SubImages.for_scales(*values, [2, 3, 4])
        assert str(raised.value) == said
    assert SubImages.for_scales(481, 1, []).unit == 1
    good, bad = plan({"a": LARGE, "b": IMAGES[4, 10]}, sub_images=SubImages.for_scales(6, 2, [2]))
    assert list(good) == ["a"] and bad == [("b.png", "is 4x10, smaller than a sub-image of 6: leave it out")]
    odd = {"a": encoded(np.zeros((7, 7, 3), np.uint8))}
    assert plan(odd, sub_images=SubImages.for_scales(6, 6, [2, 3]))[1] == []
