"""What belongs to a picture beside its pixels: orientation, EXIF, profile, resolution."""

import io
import struct

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from rcan_plugin.pictures import Picture, enlarge, read, write
from rcan_plugin.pictures.colours import srgb_profile
from rcan_plugin.pictures.exif import Entry, pack_directory
from rcan_plugin.pictures.picture import PictureError
from rcan_plugin.pictures.reading import _valid_dpi
from tests.pictures import profiles
from tests.pictures.files import RGB, RGB16, RGBA, chunk, exif, png
from tests.pictures.test_whole import doubled

HOLDERS = ("a.jpg", "a.png", "a.webp", "a.tif", "a.avif")


def save(path, **options):
    lossless = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}.get(path.suffix, {})
    if isinstance(exif_block := options.pop("exif", b""), Image.Exif):
        exif_block = exif_block.tobytes()  # of `Exif` TIFF takes the first directory alone
    Image.fromarray(RGB).save(path, exif=exif_block, **lossless, **options)


def enlarged(path, out):
    write(out, enlarge(read(path), doubled, 2))
    return Image.open(out)


XMP = b'<?xpacket?><x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
IPTC = b"8BIM\x04\x04\0\0" + struct.pack(">I", 10) + b"\x1c\x02\x78\0\5a cat"  # one caption


def with_metadata(path):
    """Write a picture with XMP, and IPTC where the format has it."""
    if path.suffix == ".png":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        Image.fromarray(RGB).save(path, pnginfo=text)
    elif path.suffix == ".tif":
        pixels = RGB16 if "deep" in path.name else RGB
        tags = [(700, 1, len(XMP), XMP, True), (33723, 1, 10, IPTC[12:], True)]
        tifffile.imwrite(path, pixels, photometric="rgb", extratags=tags)
    else:
        Image.fromarray(RGB).save(path)
        data = path.read_bytes()
        for identity, content in ((b"Photoshop 3.0\0", IPTC), (b"http://ns.adobe.com/xap/1.0/\0", XMP)):
            marker = b"\xff\xed" if content is IPTC else b"\xff\xe1"
            data = data[:2] + marker + struct.pack(">H", 2 + len(identity + content)) + identity + content + data[2:]
        path.write_bytes(data)


def test_profiles_of_imagemagick_in_png(tmp_path):
    text = PngInfo()
    for name in ("xmp", "iptc"):
        text.add_text(f"Raw profile type {name}", f"\n{name}\n       1\n61\n", zip=True)
    Image.fromarray(RGB).save(tmp_path / "a.png", pnginfo=text)
    assert read(tmp_path / "a.png").remarks == ("its XMP is not kept", "its IPTC is not kept")


def test_an_empty_iptc_record_is_none(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg")
    content = b"Photoshop 3.0\0" + IPTC[:8] + bytes(4)
    segment = b"\xff\xed" + struct.pack(">H", 2 + len(content)) + content
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[:2] + segment + data[2:])
    assert read(tmp_path / "a.jpg").remarks == ()


@pytest.mark.parametrize("name", ["a.webp", "a.avif"])
def test_xmp_of_other_formats(name, tmp_path):
    Image.fromarray(RGB).save(tmp_path / name, xmp=XMP)
    assert read(tmp_path / name).remarks == ("its XMP is not kept",)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "deep.tif"])
def test_xmp_and_iptc_are_not_kept_and_that_is_reported(name, tmp_path):
    with_metadata(tmp_path / name)
    expected = ("its XMP is not kept",) if name == "a.png" else ("its XMP is not kept", "its IPTC is not kept")
    assert read(tmp_path / name).remarks == expected
    assert not {"xmp", "XML:com.adobe.xmp", "photoshop"} & enlarged(tmp_path / name, tmp_path / "out.png").info.keys()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_orientation_is_applied_once(name, orientation, tmp_path):
    save(tmp_path / name, exif=exif(orientation))
    with Image.open(tmp_path / name) as image:
        right = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    picture = read(tmp_path / name)
    assert np.array_equal(picture.color, right)
    with enlarged(tmp_path / name, tmp_path / "out.png") as image:
        assert image.getexif().get(274, 1) == 1
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(image)), doubled(right))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bits(orientation, tmp_path):
    content = exif(orientation).tobytes()[6:]
    (tmp_path / "a.png").write_bytes(png(RGB16, 16, 2, chunk(b"eXIf", content)))
    tifffile.imwrite(tmp_path / "a.tif", RGB16, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    small = Image.fromarray((RGB16 >> 8).astype(np.uint8))
    small.getexif()[274] = orientation
    right = np.asarray(ImageOps.exif_transpose(small))
    for name in ("a.png", "a.tif"):
        picture = read(tmp_path / name)
        assert picture.color.dtype == np.uint16
        assert np.array_equal(picture.color >> 8, right)


@pytest.mark.parametrize("value", [0, 9, 4711])
def test_an_orientation_without_meaning_turns_nothing(value, tmp_path):
    save(tmp_path / "a.png", exif=exif(value))
    assert np.array_equal(read(tmp_path / "a.png").color, RGB)


@pytest.mark.parametrize("out", HOLDERS)
@pytest.mark.parametrize("name", HOLDERS)
def test_exif_profile_and_resolution_are_kept(name, out, tmp_path):
    save(tmp_path / name, exif=exif(6), icc_profile=profiles.other(), dpi=(300, 150))
    with enlarged(tmp_path / name, tmp_path / f"out{out}") as image:
        tags = image.getexif()
        assert (tags[271], tags.get(274, 1)) == ("Maker", 1)
        assert tags.get_ifd(34665)[36867] == "2024:05:06 07:08:09"
        assert tags.get_ifd(34665)[40962] == image.width == 14
        assert tags.get_ifd(34853)[1] == "N"
        assert image.info["icc_profile"] == profiles.other()
        keep_resolution = {"a.jpg", "a.png", "a.tif"}
        if {name, out} <= keep_resolution:
            assert image.info["dpi"] == pytest.approx((150, 300), abs=0.02)  # turned


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_kept_to_the_byte_but_for_orientation_and_thumbnail(order, tmp_path):
    thumbnail = io.BytesIO()
    Image.fromarray(RGB).save(thumbnail, "JPEG")
    block = camera_exif(order, thumbnail.getvalue())
    save(tmp_path / "a.jpg", exif=block)
    kept = read(tmp_path / "a.jpg").exif
    right = bytearray(block)
    at = right.index(b"\x12\x01" if order == "<" else b"\x01\x12")
    right[at + 8 : at + 10] = (1).to_bytes(2, "little" if order == "<" else "big")
    assert thumbnail.getvalue() not in kept
    changed = [index for index, (a, b) in enumerate(zip(kept, right, strict=False)) if a != b]
    assert len(kept) == len(block) - len(thumbnail.getvalue())
    assert [kept[index] for index in changed] == [0] * len(changed)  # the link to the thumbnail
    assert 1 <= len(changed) <= 4
    tags = Image.Exif()
    tags.load(kept)
    assert tags[315] == "J\xc3\xb6rg".encode("latin-1").decode("latin-1")  # UTF-8, as cameras write it
    assert tags.get_ifd(34665)[37500] == b"maker's secret"
    assert not tags.get_ifd(1)


def camera_exif(order: str, thumbnail: bytes) -> bytes:
    """EXIF with a name that is not ASCII, a maker's note and, at the end, a thumbnail."""
    number = "little" if order == "<" else "big"
    sub = [Entry(37500, 7, 14, b"maker's secret"), Entry(40962, 3, 1, (9).to_bytes(2, number))]
    main = [
        Entry(274, 3, 1, (8).to_bytes(2, number)),
        Entry(315, 2, 6, "Jörg\0".encode()),
        Entry(34665, 4, 1, sub),
    ]
    first = bytearray(pack_directory(main, 8, order))
    start = 8 + len(first)
    first[2 + 12 * len(main) : 6 + 12 * len(main)] = start.to_bytes(4, number)
    size = len(pack_directory([Entry(513, 4, 1, bytes(4)), Entry(514, 4, 1, bytes(4))], start, order))
    second = pack_directory(
        [
            Entry(513, 4, 1, (start + size).to_bytes(4, number)),
            Entry(514, 4, 1, len(thumbnail).to_bytes(4, number)),
        ],
        start,
        order,
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + (8).to_bytes(4, number)
    return b"Exif\0\0" + head + bytes(first) + second + thumbnail


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_goes_to_tiff_and_back(order, tmp_path):
    save(tmp_path / "a.jpg", exif=camera_exif(order, b"thumbnail"))
    with enlarged(tmp_path / "a.jpg", tmp_path / "out.tif") as image:
        assert image.getexif().get_ifd(34665)[37500] == b"maker's secret"
        assert image.getexif().get_ifd(34665)[40962] == 14  # turned
        assert 274 not in image.getexif()
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages[0].tags[315].value == "Jörg"
    again = Image.Exif()
    again.load(read(tmp_path / "out.tif").exif)
    assert again.get_ifd(34665)[37500] == b"maker's secret"
    assert set(again) == {315, 34665}  # nothing of how the TIFF stores its pixels


def test_damaged_exif_is_dropped_and_reported(tmp_path):
    save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\0\0\0")
    picture = read(tmp_path / "a.png")
    assert picture.exif is None
    assert picture.remarks == ("its EXIF is damaged and not kept (EXIF is cut short)",)
    assert np.array_equal(picture.color, RGB)


def test_a_profile_is_kept_and_its_values_too(tmp_path):
    Image.fromarray(RGBA).save(tmp_path / "a.png", icc_profile=profiles.other())
    picture = read(tmp_path / "a.png")
    assert picture.icc == profiles.other()
    assert np.array_equal(picture.color, RGBA[..., :3])


def test_cmyk_becomes_srgb_and_is_reported(tmp_path):
    Image.new("CMYK", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.tif", icc_profile=profiles.cmyk())
    picture = read(tmp_path / "a.tif")
    assert picture.remarks == ("its CMYK colours are converted to sRGB",)
    assert picture.icc == srgb_profile()


@pytest.mark.parametrize(
    ("icc", "reason"),
    [
        (None, "has CMYK colours and no ICC profile that defines them"),
        (profiles.srgb(), "has CMYK colours and an ICC profile for RGB"),
        (b"x" * 200, "has CMYK colours and an ICC profile that cannot be used"),
    ],
    ids=["none", "RGB", "damaged"],
)
def test_cmyk_without_its_profile_is_refused(icc, reason, tmp_path):
    Image.new("CMYK", (4, 4)).save(tmp_path / "a.jpg", icc_profile=icc)
    with pytest.raises(PictureError, match=reason):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize("dpi", [(0, 0), (72, 0), (float("nan"), 72)], ids=str)
def test_a_resolution_without_meaning_is_dropped(dpi, tmp_path):
    assert _valid_dpi(dpi, 1) is None


def test_resolution_of_a_tiff_in_centimetres(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", resolution=(100, 50), resolutionunit="CENTIMETER")
    assert read(tmp_path / "a.tif").dpi == pytest.approx((254, 127))


def test_a_16_bit_png_carries_everything(tmp_path):
    picture = Picture(RGB16, icc=profiles.other(), exif=exif(1).tobytes(), dpi=(300, 300))
    write(tmp_path / "a.png", picture)
    again = read(tmp_path / "a.png")
    assert np.array_equal(again.color, RGB16)
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png"), -1)[..., ::-1], RGB16)
    assert again.icc == picture.icc
    assert again.dpi == pytest.approx((300, 300), abs=0.01)


def exif_of(*pointers: tuple[int, int], texts: int = 0) -> bytes:
    """EXIF of one directory, at offset 8, with entries that point to others, and texts that share their bytes."""
    entries = [struct.pack("<HHII", tag, 4, 1, offset) for tag, offset in pointers]
    entries += [struct.pack("<HHII", 270, 2, 60, 0)] * texts
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(64)


@pytest.mark.parametrize(
    ("exif", "reason"),
    [
        (exif_of((34665, 0xFFFFFFF0)), "EXIF is cut short"),  # not found before the result was written
        (exif_of((34665, 8)), "EXIF has a nested or repeated directory"),
        (exif_of((34853, 8)), "EXIF has a nested or repeated directory"),
        (exif_of((34853, 40), (34853, 40)), "EXIF has a nested or repeated directory"),
        (exif_of(texts=9), "EXIF has values that share their bytes"),
    ],
)
@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_exif_that_leads_nowhere_or_to_itself_is_dropped_and_reported(exif, reason, ending, tmp_path):
    save(tmp_path / "a.jpg", exif=exif)
    picture = read(tmp_path / "a.jpg")
    assert picture.exif is None and picture.remarks == (f"its EXIF is damaged and not kept ({reason})",)
    write(tmp_path / f"out.{ending}", picture)
    assert read(tmp_path / f"out.{ending}").exif is None


def test_a_tiff_whose_directory_points_to_itself(tmp_path):
    block = Image.Exif()
    block.get_ifd(34665)[37500] = b"maker's secret"
    save(tmp_path / "a.tif", exif=block)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    at = data.index(struct.pack("<HHI", 34665, 4, 1)) + 8
    data[at : at + 4] = data[4:8]
    (tmp_path / "a.tif").write_bytes(data)
    picture = read(tmp_path / "a.tif")
    assert np.array_equal(picture.color, RGB) and picture.exif is None
    assert picture.remarks == ("its EXIF is not kept (EXIF has a nested or repeated directory)",)
