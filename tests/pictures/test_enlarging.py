"""Pictures through a network: what it gets, and what becomes of its output."""

import itertools

import numpy as np
import pytest

from rcan_plugin.pictures import Picture, enlarge, enlarge_rows, network_input
from rcan_plugin.pictures.enlarging import to_type
from rcan_plugin.resampling.bicubic import imresize
from tests.pictures.files import FLOATS, GRAY, GRAY16, RGB, RGB16, RGBA
from tests.pictures.test_whole import doubled

DTYPES = [np.uint8, np.uint16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_value_comes_back(dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 16, 1).repeat(3, 2)
    assert np.array_equal(enlarge(Picture(values), lambda x: x, 1).color, values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_to_the_nearest_with_halves_up_and_clipping(dtype):
    peak = np.iinfo(dtype).max
    values = np.array([-1, 0, 0.49 / peak, 0.5 / peak, 0.51 / peak, 100.4 / peak, 1, 1.5, np.inf], np.float32)
    assert to_type(values, np.dtype(dtype)).tolist() == [0, 0, 0, 1, 1, 100, peak, peak, peak]


def test_the_output_of_the_network_is_not_changed():
    output = np.array([[[-1, 0.5, 2]]], np.float32)
    for dtype in (np.uint8, np.float32):
        to_type(output, np.dtype(dtype))
        assert output.tolist() == [[[-1, 0.5, 2]]]


def test_floats_are_only_clipped():
    assert to_type(np.array([-1, 0.123, 2], np.float32), np.dtype(np.float32)).tolist() == [0, np.float32(0.123), 1]


def test_input_of_a_network():
    given = network_input(Picture(RGB16))
    assert given.dtype == np.float32
    assert np.allclose(given, RGB16 / 65535, rtol=0, atol=1e-7)
    assert np.array_equal(network_input(Picture(FLOATS)), FLOATS)
    assert network_input(Picture(FLOATS)) is not FLOATS
    gray = network_input(Picture(GRAY))
    assert gray.shape == (7, 9, 3) and np.array_equal(gray, (GRAY / np.float32(255)).repeat(3, 2))
    assert network_input(Picture(GRAY), channels=1).shape == (7, 9, 1)
    with pytest.raises(ValueError, match="the picture has colours and the network has one channel"):
        network_input(Picture(RGB), channels=1)


@pytest.mark.parametrize("gray", [GRAY, GRAY16], ids=["8", "16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_gray_stays_gray(gray, channels):
    result = enlarge(Picture(gray), doubled, 2, channels=channels)
    assert result.color.dtype == gray.dtype
    assert np.array_equal(result.color, doubled(gray))


def test_gray_is_the_luma_of_what_the_network_returns():
    tinted = np.array([0.2, 0.4, 0.8], np.float32)
    result = enlarge(Picture(FLOATS[..., :1]), lambda x: np.ones_like(x) * tinted, 1)
    assert np.allclose(result.color, 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.8, rtol=0, atol=1e-6)


def test_strips_equal_the_whole_with_alpha():
    picture = Picture(RGBA[..., :3], RGBA[..., 3])
    whole = enlarge(picture, doubled, 2)
    output = doubled(network_input(picture))
    for heights in ([14], [1] * 14, [3, 5, 6], [13, 1]):
        edges = np.cumsum([0, *heights])
        strips = (output[a:b] for a, b in itertools.pairwise(edges))
        rows = list(enlarge_rows(picture, strips, 2))
        assert [len(strip) for strip in rows] == heights
        assert np.array_equal(np.concatenate(rows), np.dstack([whole.color, whole.alpha]))


def test_alpha_is_enlarged_by_bicubic():
    result = enlarge(Picture(RGBA[..., :3], RGBA[..., 3]), doubled, 2)
    right = np.floor(np.clip(imresize(RGBA[..., 3].astype(float), 2), 0, 255) + 0.5)
    assert np.array_equal(result.alpha, right)
    opaque = enlarge(Picture(RGB, np.full_like(RGB[..., 0], 255)), doubled, 2)
    assert (opaque.alpha == 255).all()


def test_what_belongs_to_a_picture_stays():
    picture = Picture(RGB, icc=b"profile", exif=b"exif", dpi=(1, 2), format="PNG", remarks=("x",))
    result = enlarge(picture, doubled, 2)
    for name in ("icc", "exif", "dpi", "format", "remarks"):
        assert getattr(result, name) == getattr(picture, name)


@pytest.mark.parametrize(
    ("strips", "reason"),
    [
        ([np.zeros((13, 18, 3))], "returned 13 rows; expected 14"),
        ([np.zeros((7, 18, 3))] * 3, r"returned \(7, 18, 3\) after 14 rows; expected 18 columns and 14 rows in all"),
        ([np.zeros((14, 17, 3))], r"returned \(14, 17, 3\) after 0 rows"),
        ([np.zeros((14, 18, 1))], r"returned \(14, 18, 1\) .*3 channels"),
        ([np.zeros((14, 18))], r"returned \(14, 18\)"),
    ],
)
def test_a_network_of_another_scale_is_refused(strips, reason):
    with pytest.raises(ValueError, match=reason):
        list(enlarge_rows(Picture(RGB), strips, 2))


@pytest.mark.parametrize("scale", [0, 1.5, True])
def test_scales_that_are_none(scale):
    with pytest.raises(ValueError, match=r"scale is .*; expected a whole number"):
        list(enlarge_rows(Picture(RGB), [], scale))
