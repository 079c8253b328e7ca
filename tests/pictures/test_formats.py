"""Formats of results: which, and what they cannot hold."""

import io

import pytest
from PIL import Image

from rcan_plugin.pictures import Picture, check_output, is_picture_name, output_format, suffix_of
from rcan_plugin.pictures.formats import FORMATS
from tests.pictures import profiles
from tests.pictures.files import FLOATS, GRAY, RGB, RGB16, RGBA, exif

PLAIN = Picture(RGB)
ALPHA = Picture(RGBA[..., :3], RGBA[..., 3])


@pytest.mark.parametrize(
    ("source", "given", "right"),
    [
        ("JPEG", {}, "JPEG"),
        ("MPO", {}, "JPEG"),
        ("DIB", {}, "BMP"),
        ("GIF", {}, "PNG"),  # 256 colours are too few
        ("HEIF", {}, "PNG"),
        ("QOI", {}, "PNG"),
        ("JPEG", {"path": "out/a b.PNG"}, "PNG"),
        ("JPEG", {"path": "a.jpeg"}, "JPEG"),
        ("PNG", {"format": "jpg"}, "JPEG"),
        ("PNG", {"format": "WebP"}, "WEBP"),
        ("PNG", {"format": ".tif", "path": "a.tiff"}, "TIFF"),
        ("PNG", {"format": "jp2"}, "JPEG2000"),
    ],
)
def test_format_by_name_by_suffix_or_as_the_source(source, given, right):
    assert output_format(source, **given) == right


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            {"format": "gif"},
            "format is 'gif': GIF has 256 colours, too few for an enlarged picture: choose png or webp",
        ),
        ({"format": "xyz"}, "format is 'xyz'; expected one of png, jpg, tif, webp, avif, bmp, tga, jp2, ppm"),
        ({"path": "a.txt"}, r"a.txt: the suffix is '.txt'; expected one of png"),
        ({"path": "a"}, r"a: the suffix is ''; expected one of png"),
        ({"path": "a.png", "format": "jpg"}, "a.png has the suffix of PNG, and the format is JPEG: change one of them"),
    ],
    ids=str,
)
def test_formats_that_are_refused(given, reason):
    with pytest.raises(ValueError, match=reason):
        output_format("PNG", **given)


def test_suffixes():
    assert [suffix_of(name) for name in ("JPEG", "TIFF", "JPEG2000")] == [".jpg", ".tif", ".jp2"]
    assert is_picture_name("a.b.HEIC") and is_picture_name("x.webp")
    assert not is_picture_name("a.txt") and not is_picture_name("png")


@pytest.mark.parametrize(
    ("form", "limit", "right"),
    [
        ("WEBP", 16_383, "16,383 pixels a side: choose png or tiff"),
        ("JPEG", 65_500, "65,500 pixels a side: choose png or tiff"),
        ("TGA", 65_535, "65,535 pixels a side"),
        ("AVIF", 32_768, "32,768 pixels a side"),
        ("PNG", 1_000_000, "1,000,000 pixels a side: choose tiff"),
    ],
)
def test_sides(form, limit, right):
    assert check_output(form, limit, 1, PLAIN) == check_output(form, 1, limit, PLAIN) == []
    for width, height in ((limit + 1, 1), (1, limit + 1)):
        with pytest.raises(ValueError, match=f"the result has {width} x {height} pixels; {form} holds at most {right}"):
            check_output(form, width, height, PLAIN)


@pytest.mark.parametrize(("form", "limit"), [("WEBP", 16_383), ("JPEG", 65_500), ("TGA", 65_535), ("AVIF", 32_768)])
def test_limits_are_those_of_the_programs(form, limit):
    """A result at the limit can be written and read again; one beyond cannot."""
    fast = {"speed": 10} if form == "AVIF" else {}
    file = io.BytesIO()
    Image.new("L", (limit, 1)).save(file, form, **fast)
    with Image.open(file) as image:
        assert image.size == (limit, 1)
    with pytest.raises(Exception, match=r"limit|broken|identify|too big"):
        file = io.BytesIO()
        Image.new("L", (limit + 1, 1)).save(file, form, **fast)
        Image.open(file)


def test_areas():
    with pytest.raises(ValueError, match=r"AVIF holds at most 268,435,456 pixels: choose png or tiff"):
        check_output("AVIF", 30_000, 10_000, PLAIN)
    assert check_output("AVIF", 1 << 14, 1 << 14, PLAIN) == []


@pytest.mark.parametrize("form", FORMATS)
def test_depth_and_transparency(form):
    """What the table says can be written; what it does not say is refused before the work."""
    for picture, what in (
        (Picture(RGB16), "16 bits a value"),
        (Picture(FLOATS), "float values"),
        (ALPHA, "transparency"),
    ):
        held = FORMATS[form].alpha if picture is ALPHA else str(picture.color.dtype) in FORMATS[form].dtypes
        if held:
            assert check_output(form, 9, 9, picture) == []
        else:
            with pytest.raises(ValueError, match=f"the picture has {what}, which {form} .*choose (png or )?tiff"):
                check_output(form, 9, 9, picture)
    assert check_output(form, 9, 9, Picture(GRAY)) == []


def test_what_is_not_kept_is_reported():
    picture = Picture(RGB, icc=profiles.srgb(), exif=exif(1).tobytes(), dpi=(300, 300))
    assert check_output("PNG", 9, 9, picture) == []
    assert check_output("WEBP", 9, 9, picture) == ["WEBP does not keep the resolution"]
    assert check_output("PPM", 9, 9, picture) == [
        "PPM does not keep the sRGB profile",
        "PPM does not keep the EXIF",
        "PPM does not keep the resolution",
    ]


@pytest.mark.parametrize("form", ["BMP", "TGA", "PPM", "JPEG2000"])
def test_colours_of_another_profile_are_not_passed_off_as_srgb(form):
    with pytest.raises(ValueError, match=f"a colour profile other than sRGB, which {form} does not hold"):
        check_output(form, 9, 9, Picture(RGB, icc=profiles.other()))


def test_exif_that_is_too_long_for_jpeg():
    picture = Picture(RGB, exif=b"Exif\0\0II*\0\x08\0\0\0" + bytes(70_000))
    with pytest.raises(ValueError, match=r"70,014 bytes of EXIF; JPEG holds 65,533"):
        check_output("JPEG", 9, 9, picture)


def test_a_format_that_this_pillow_lacks(monkeypatch):
    monkeypatch.setattr("PIL.Image.SAVE", {})
    with pytest.raises(ValueError, match=r"this Pillow .* cannot write AVIF: update it \(pip install -U Pillow\)"):
        check_output("AVIF", 9, 9, PLAIN)
    assert check_output("PNG", 9, 9, PLAIN) == []  # our own


def test_pictures_check_their_parts():
    for color, alpha, reason in (
        (RGB[..., 0], None, "color has shape"),
        (RGB[..., :2], None, "color has shape"),
        (RGB[:0], None, "color has shape"),
        (RGB.astype(float), None, "type float64; expected uint8, uint16 or float32"),
        (RGB, RGB16[..., 0], "alpha is uint16 of shape"),
        (RGB, RGB[1:, :, 0], "alpha is uint8 of shape"),
    ):
        with pytest.raises(ValueError, match=reason):
            Picture(color, alpha)
    assert Picture(GRAY).channels == 1 and ALPHA.channels == 4
