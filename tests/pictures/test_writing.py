"""Files of results: each format holds the right values; nothing half-written is left."""

import errno
import io
import itertools
import tracemalloc

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from rcan_plugin.pictures import Picture, read, write, write_rows
from rcan_plugin.pictures.formats import FORMATS, suffix_of
from rcan_plugin.pictures.png import _filtered, _paeth
from tests.disks import files_up_to
from tests.pictures import profiles
from tests.pictures.files import FLOATS, GRAY, GRAY16, LA, LA16, RGB, RGB16, RGBA, RGBA16, exif, noise


def picture(values: np.ndarray, **rest) -> Picture:
    if values.shape[2] in (2, 4):
        return Picture(values[..., :-1], values[..., -1], **rest)
    return Picture(values, **rest)


def same(a: Picture, b: Picture) -> bool:
    alphas = (a.alpha is None) == (b.alpha is None) and (a.alpha is None or np.array_equal(a.alpha, b.alpha))
    return a.color.dtype == b.color.dtype and np.array_equal(a.color, b.color) and alphas


KINDS = {"L": GRAY, "LA": LA, "RGB": RGB, "RGBA": RGBA, "L16": GRAY16, "LA16": LA16, "RGB16": RGB16, "RGBA16": RGBA16}
FLOAT_KINDS = {"F": FLOATS[..., :1], "RGBF": FLOATS, "RGBAF": np.dstack([FLOATS, FLOATS[..., :1]])}


@pytest.mark.parametrize("kind", KINDS | FLOAT_KINDS)
@pytest.mark.parametrize("suffix", ["png", "tif", "ppm", "bmp", "tga", "jp2"])
def test_formats_without_loss(suffix, kind, tmp_path):
    before = picture((KINDS | FLOAT_KINDS)[kind])
    path = tmp_path / f"a.{suffix}"
    try:
        write(path, before)
    except ValueError as error:
        assert "does not hold" in str(error)
        assert not list(tmp_path.iterdir())
        return
    assert same(read(path), before)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif"])
def test_quality(suffix, tmp_path):
    """Steps of colour, as they are in pictures; the default has no coarser colours than brightness (4:4:4)."""
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    smooth = np.dstack(np.broadcast_arrays(ramp[:, None], ramp[None], ramp[::-1, None]))
    sizes, errors = [], []
    for quality in (10, None, 100):
        write(tmp_path / f"a.{suffix}", Picture(smooth), quality=quality)
        sizes.append((tmp_path / f"a.{suffix}").stat().st_size)
        errors.append(np.abs(read(tmp_path / f"a.{suffix}").color.astype(int) - smooth).mean())
    assert sizes[0] < sizes[1]
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 2
    if suffix == "webp":
        assert errors[2] == 0  # without loss


@pytest.mark.parametrize("suffix", ["jpg", "avif"])
def test_colours_are_stored_in_full(suffix, tmp_path):
    """Columns of red and blue of equal brightness would become one purple with 4:2:0."""
    columns = np.tile(np.array([[[200, 0, 0], [0, 80, 160]]], np.uint8), (16, 8, 1))
    write(tmp_path / f"a.{suffix}", Picture(columns))
    assert np.abs(read(tmp_path / f"a.{suffix}").color.astype(int) - columns).mean() < 8


@pytest.mark.parametrize("quality", [0, 101])
def test_qualities_that_are_none(quality, tmp_path):
    with pytest.raises(ValueError, match=f"quality is {quality}; expected 1 to 100"):
        write(tmp_path / "a.jpg", Picture(RGB), quality=quality)


def test_the_format_may_differ_from_the_suffix(tmp_path):
    write(tmp_path / "a.jpg", Picture(RGB), format="png")
    assert (tmp_path / "a.jpg").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm", "jpg"])
@pytest.mark.parametrize("heights", [[60], [1] * 60, [7, 50, 3]], ids=str)
def test_strips_give_the_same_file_as_the_whole(suffix, heights, tmp_path):
    before = picture(noise(60, 5000, 3))
    write(tmp_path / f"whole.{suffix}", before)
    edges = np.cumsum([0, *heights])
    strips = [before.color[a:b] for a, b in itertools.pairwise(edges)]
    write_rows(tmp_path / f"rows.{suffix}", strips, before, 5000, 60)
    assert (tmp_path / f"rows.{suffix}").read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()
    if suffix != "jpg":
        assert same(read(tmp_path / f"rows.{suffix}"), before)


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
def test_rows_go_to_the_file_and_not_to_memory(suffix, tmp_path):
    strip = noise(16, 50, 3).repeat(20, 1)
    strips = (strip for _ in range(250))  # 12 MB
    tracemalloc.start()
    write_rows(tmp_path / f"a.{suffix}", strips, Picture(strip), 1000, 4000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6
    result = read(tmp_path / f"a.{suffix}")
    assert np.array_equal(result.color, np.tile(strip, (250, 1, 1)))


@pytest.mark.parametrize("name", [*FORMATS])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_an_error_leaves_what_was_there(error, name, tmp_path):
    def strips():
        yield RGB[:3]
        raise error("stop")

    path = tmp_path / f"a{suffix_of(name)}"
    for before in (b"before", None):
        if before:
            path.write_bytes(before)
        else:
            path.unlink()
        with pytest.raises(error, match="stop"):
            write_rows(path, strips(), Picture(RGB), 9, 7)
        assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(path.name, before)] * bool(before)


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("rcan_plugin.pictures.png._write_chunk", full)
    with pytest.raises(OSError, match="No space") as error:
        write(tmp_path / "a.png", Picture(RGB))
    assert error.value.filename == str(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named_by_the_file_that_was_asked_for(tmp_path):
    for name in ("a.png", "a.tif", "a.jpg"):
        with pytest.raises(FileNotFoundError) as error:
            write(tmp_path / "missing" / name, Picture(RGB))
        assert error.value.filename == str(tmp_path / "missing" / name)


def test_long_names_in_any_script(tmp_path):
    path = tmp_path / ("猫" * 83 + ".png")  # 253 bytes of 255
    write(path, Picture(RGB))
    assert np.array_equal(read(path).color, RGB)


@pytest.mark.parametrize(
    ("strips", "reason"),
    [
        ([RGB[:6]], "the strips have 6 rows; expected 7"),
        ([RGB, RGB], r"a strip has shape \(7, 9, 3\) and ends at row 14; expected rows x 9 x 3, 7 rows in all"),
        ([RGB[:, :8]], r"a strip has shape \(7, 8, 3\)"),
        ([RGBA], r"a strip has shape \(7, 9, 4\)"),
        ([RGB16], "a strip has values of type uint16; expected uint8"),
    ],
    ids=["few", "many", "narrow", "alpha", "type"],
)
def test_strips_that_do_not_fit(strips, reason, tmp_path):
    for suffix in ("png", "tif", "jpg"):
        with pytest.raises(ValueError, match=reason):
            write_rows(tmp_path / f"a.{suffix}", strips, Picture(RGB), 9, 7)
    assert not list(tmp_path.iterdir())


def test_limits_are_checked_before_the_strips_are_made(tmp_path):
    def strips():
        pytest.fail("began")
        yield

    with pytest.raises(ValueError, match="WEBP holds at most 16,383 pixels a side"):
        write_rows(tmp_path / "a.webp", strips(), Picture(RGB), 16_384, 7)


def test_the_same_picture_gives_the_same_bytes(tmp_path):
    whole = Picture(RGB, icc=profiles.other(), exif=exif(1).tobytes(), dpi=(72, 72))
    for name in FORMATS:
        if not FORMATS[name].icc:
            continue
        for number in (1, 2):
            write(tmp_path / f"{number}{suffix_of(name)}", whole)
        assert (tmp_path / f"1{suffix_of(name)}").read_bytes() == (tmp_path / f"2{suffix_of(name)}").read_bytes()


def test_every_png_filter_is_used_and_right(tmp_path):
    """Rows that are best by Sub, Up and Paeth; OpenCV and Pillow (libpng and its own) agree."""
    ramp = np.arange(90, dtype=np.uint8).repeat(3).reshape(1, 90, 3) * 2
    steps = np.cumsum(noise(30, 90, 3, seed=3) % 7, axis=0).cumsum(axis=1).astype(np.uint8)
    values = np.concatenate([ramp, noise(1, 90, 3), ramp, ramp, steps])
    write(tmp_path / "a.png", Picture(values))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), values)
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], values)
    rows = values.reshape(len(values), -1)
    assert set(_filtered(rows, np.zeros_like(rows[0]), 3)[:, 0]) == {1, 2, 4}


def test_paeth_with_all_ties():
    """Against the definition in the PNG specification, 9.4."""

    def paeth(a, b, c):
        return min((a, b, c), key=lambda value: abs(a + b - c - value))  # the first of equals

    grid = np.array(list(itertools.product(range(0, 256, 51), range(0, 6), (0, 2, 51, 255))), np.uint8)
    a, b, c = grid.T
    assert _paeth(a, b, c).tolist() == [paeth(*map(int, values)) for values in grid]
    assert _paeth(b, a, c).tolist() == [paeth(*map(int, values)) for values in grid[:, [1, 0, 2]]]


def test_png_is_as_small_as_pillows(tmp_path):
    smooth = cv2.GaussianBlur(noise(200, 300, 3), (0, 0), 5)
    write(tmp_path / "a.png", Picture(smooth))
    by_pillow = io.BytesIO()
    Image.fromarray(smooth).save(by_pillow, "PNG", compress_level=4)
    assert (tmp_path / "a.png").stat().st_size < 1.03 * len(by_pillow.getvalue())


@pytest.mark.parametrize("big", [False, True])
def test_tiff_beyond_4_gb_is_a_bigtiff(big, tmp_path, monkeypatch):
    if big:
        monkeypatch.setattr("rcan_plugin.pictures.tiffs._CLASSIC_BYTES", 10)
    write(tmp_path / "a.tif", Picture(RGB16, exif=exif(1).tobytes()))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff == big
        assert np.array_equal(file.asarray(), RGB16)
        assert file.pages[0].tags[271].value == "Maker"
    assert np.array_equal(cv2.imread(str(tmp_path / "a.tif"), -1)[..., ::-1], RGB16)
    with Image.open(tmp_path / "a.tif") as image:
        image.load()


@pytest.mark.parametrize("kind", ["L", "LA", "RGB", "RGBA", "L16"])
def test_pillow_reads_our_tiffs(kind, tmp_path):
    write(tmp_path / "a.tif", picture(KINDS[kind]))
    with Image.open(tmp_path / "a.tif") as image:
        assert np.array_equal(np.atleast_3d(np.asarray(image)), KINDS[kind])


@pytest.mark.parametrize("ending", sorted({form.suffixes[0] for form in FORMATS.values()}))
def test_a_disk_that_takes_no_more_is_reported(ending, tmp_path):
    """OpenJPEG did not end there, other encoders raised errors of their own."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    path = tmp_path / f"a{ending}"
    with files_up_to(5000), pytest.raises(OSError, match="File too large") as error:
        write(path, Picture(noise))
    assert error.value.filename == str(path) and not list(tmp_path.iterdir())
