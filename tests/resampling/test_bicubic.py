"""`imresize` against MATLAB's own files and against the definition written out."""

import numpy as np
import pytest

from rcan_plugin.degradations import BORDERS, imresize
from rcan_plugin.resampling import banded_matmul
from rcan_plugin.resampling.bicubic import bicubic_taps
from rcan_plugin.resampling.separable import inside
from tests.degradations.images import BI_FOLDERS, black_and_white, noise, reference_pairs, steps
from tests.degradations.slow import slow_imresize
from tests.reference import needs_reference

DTYPES = (np.uint8, np.uint16, np.float32, np.float64)


@needs_reference
@pytest.mark.parametrize(("folder", "scale"), BI_FOLDERS)
def test_equals_every_file_that_matlab_made(folder, scale):
    names = []
    for name, hr, lr in reference_pairs(folder, scale):
        assert np.count_nonzero(imresize(hr, 1 / scale, border=folder.split("_")[1]) != lr) == 0, name
        names.append(name)
    assert len(names) == (14 if folder.startswith("set14") else 5)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 4, 1 / 8, 1 / 5, 0.7, 0.31, 1, 2, 3, 2.6])
@pytest.mark.parametrize("make", [noise, black_and_white, steps])
def test_equals_the_definition_for_8_bits(make, factor, border):
    image = make((45, 58, 3))
    np.testing.assert_array_equal(imresize(image, factor, border=border), slow_imresize(image, factor, border))


@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 4, 1 / 8, 0.7, 2])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_equals_the_definition_for_other_types(dtype, factor):
    for image in (noise((33, 40), dtype), black_and_white((33, 40), dtype)):
        out = imresize(image, factor)
        assert out.dtype == dtype
        tolerance = {"u": 0, "f": 1e-6 if dtype == np.float32 else 1e-13}[np.dtype(dtype).kind]
        np.testing.assert_allclose(out, slow_imresize(image, factor), rtol=0, atol=tolerance)


@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,), (7,)])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_channels_do_not_mix(scale, channels):
    image = noise((40, 51, *channels))
    out = imresize(image, 1 / scale)
    assert out.shape == (-(-40 // scale), -(-51 // scale), *channels)
    for c in range(channels[0] if channels else 0):
        np.testing.assert_array_equal(out[..., c], imresize(image[..., c], 1 / scale))
    np.testing.assert_array_equal(out, slow_imresize(image, 1 / scale))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_tiles_join_without_a_seam(scale, monkeypatch):
    image = noise((97, 120, 3))
    whole = imresize(image, 1 / scale)
    monkeypatch.setattr(banded_matmul, "_TILE_ROWS", 5)
    monkeypatch.setattr(banded_matmul, "_TILE_COLUMNS", 7 * scale)
    np.testing.assert_array_equal(imresize(image, 1 / scale), whole)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_every_float32_sum_of_dyadic_weights_is_exact(scale):
    """Where ties exist they are then decided as in float64; at x8 this takes all 24 bits."""
    taps = bicubic_taps(40 * scale, 1 / scale).window(2, 36)
    positions = banded_matmul._positions_read(taps)
    for make in (noise, black_and_white):
        image = make((40 * scale, 3000, 1))
        expected = image.astype(np.float64)[taps.first[:, None] + np.arange(taps.weights.shape[1])]
        expected = np.einsum("ntxc,t->nxc", expected, taps.weights[0]) - banded_matmul._CENTRE
        source, matrix = banded_matmul._centred(image[positions]), banded_matmul._banded_matrix(taps)
        np.testing.assert_array_equal(banded_matmul._weighted_sums(source, taps, matrix), expected)


def test_eight_bits_are_rounded_between_the_passes():
    # The first two columns sum to 0.5, which becomes 1, away from zero; left alone, the row would stay below 0.5.
    image = np.array([[0, 0, 0], [1, 1, 0]], np.uint8)
    as_float = imresize(image.astype(np.float64), 0.5)
    assert imresize(image, 0.5)[0, 0] == 1
    assert as_float[0, 0] < 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 4, 1 / 8, 0.3, 2])
def test_a_constant_image_stays_constant(factor, dtype):
    for value in (0, 1) if np.dtype(dtype).kind == "f" else (0, 1, 77, 254, 255, np.iinfo(dtype).max):
        out = imresize(np.full((19, 24, 3), value, dtype), factor)
        np.testing.assert_allclose(out, value, rtol=0, atol=1e-6 if np.dtype(dtype).kind == "f" else 0)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_a_shift_by_the_scale_is_a_shift_by_one_pixel(scale):
    image = noise((scale * 16, scale * 20, 3))
    out, shifted = (imresize(view, 1 / scale) for view in (image, image[scale:, 2 * scale :]))
    np.testing.assert_array_equal(shifted[3:-3, 3:-3], out[4:-3, 5:-3])


def test_size_is_rounded_up_but_not_by_the_fuzz_of_floats():
    assert imresize(np.zeros((30, 31), np.uint8), 0.1).shape == (3, 4)  # 0.1 * 30 is 3.0000000000000004
    assert imresize(np.zeros((9, 10), np.uint8), 1 / 3).shape == (3, 4)
    assert imresize(np.zeros((1, 1), np.uint8), 1 / 8).shape == (1, 1)


def test_factor_one_gives_a_copy():
    image = noise((9, 11, 3))
    out = imresize(image, 1)
    np.testing.assert_array_equal(out, image)
    assert not np.shares_memory(out, image)


def test_views_work_and_nothing_is_written_to():
    image = noise((40, 50, 3))
    image.setflags(write=False)
    for view in (image[:, ::-1], image[..., ::-1], image[::2, 1::3], image.swapaxes(0, 1), np.asfortranarray(image)):
        np.testing.assert_array_equal(imresize(view, 0.5), imresize(view.copy(order="C"), 0.5))


def test_borders():
    assert inside(np.arange(-3, 6), 3, "replicate").tolist() == [0, 0, 0, 0, 1, 2, 2, 2, 2]
    assert inside(np.arange(-4, 8), 3, "symmetric").tolist() == [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1]], 0.5), TypeError, "image is a list"),
        ((np.zeros((4, 4), np.int32), 0.5), TypeError, "dtype int32"),
        ((np.zeros((1, 3, 4, 4), np.uint8), 0.5), ValueError, r"shape \(1, 3, 4, 4\)"),
        ((np.zeros((0, 4), np.uint8), 0.5), ValueError, "at least one pixel"),
        ((np.zeros((4, 4), np.uint8), 0), ValueError, "factor is 0"),
        ((np.zeros((4, 4), np.uint8), float("nan")), ValueError, "factor is nan"),
        ((np.zeros((4, 4), np.uint8), "2"), TypeError, "factor is a str"),
    ],
)
def test_errors_name_what_was_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        imresize(*arguments)


def test_an_unknown_border_is_an_error():
    with pytest.raises(ValueError, match="border is 'reflect'; expected one of 'replicate', 'symmetric'"):
        imresize(np.zeros((4, 4), np.uint8), 0.5, border="reflect")
