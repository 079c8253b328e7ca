"""Colours under transparent pixels, which must not be seen in the result."""

import numpy as np
import pytest

from rcan_plugin.pictures import Picture, enlarge
from rcan_plugin.pictures.alpha import fill_hidden
from rcan_plugin.resampling.bicubic import imresize

RED = np.array([200, 40, 20], np.uint8)


def filled_copy(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    copy = color.copy()
    fill_hidden(copy, alpha)
    return copy


def bicubic(image: np.ndarray) -> np.ndarray:
    return imresize(image, 4)


def disc(hidden, dtype=np.uint8) -> Picture:
    """A red disc with a soft edge; `hidden` is the colour under what is transparent."""
    y, x = np.mgrid[:24, :31]
    opacity = np.clip(9 - np.hypot(y - 11.3, x - 14.6), 0, 1)
    peak = np.iinfo(dtype).max
    alpha = np.rint(opacity * peak).astype(dtype)
    color = np.where(alpha[..., None] > 0, RED.astype(dtype) * (peak // 255), np.asarray(hidden, dtype) * (peak // 255))
    return Picture(color.astype(dtype), alpha)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 255, 255), (0, 255, 0)])
def test_hidden_colours_do_not_bleed_into_the_edge(hidden, dtype):
    result = enlarge(disc(hidden, dtype), bicubic, 4)
    unit = np.iinfo(dtype).max // 255
    visible = result.alpha > 0
    assert 0 < visible.sum() < visible.size
    assert (result.color[visible] == RED.astype(dtype) * dtype(unit)).all()
    for ground in (0, 1):  # on black and on white no rim is seen
        share = result.alpha[..., None] / np.iinfo(dtype).max
        shown = result.color * share + ground * np.iinfo(dtype).max * (1 - share)
        right = RED.astype(float) * unit * share + ground * np.iinfo(dtype).max * (1 - share)
        assert np.array_equal(shown, right)


def test_without_filling_it_would_bleed():
    """The stand-in is one that shows it."""
    picture = disc((0, 255, 0))
    color = bicubic(picture.color.astype(np.float32) / 255)
    visible = enlarge(picture, bicubic, 4).alpha > 60
    assert (np.abs(color[visible] * 255 - RED).max(axis=1) > 20).any()


def test_visible_colours_stay_from_one_sixteenth_on():
    rng = np.random.default_rng(0)
    color = rng.random((13, 17, 3), np.float32)
    alpha = rng.choice(np.array([0, 1 / 16, 0.3, 1], np.float32), (13, 17))
    filled = filled_copy(color, alpha)
    assert np.array_equal(filled[alpha > 0], color[alpha > 0])
    assert not np.array_equal(filled, color)
    assert np.isfinite(filled).all() and filled.min() >= 0 and filled.max() <= 1


def test_nearly_invisible_pixels_count_by_their_opacity():
    """What is seen changes by at most 1/64 of the difference of the colours."""
    worst = 0
    for opacity in np.linspace(0, 0.1, 41):
        color = np.array([[[1.0], [0.0]]], np.float32)  # opaque white, nearly invisible black
        filled = filled_copy(color, np.array([[1, opacity]], np.float32))
        assert filled[0, 0, 0] == 1
        worst = max(worst, opacity * filled[0, 1, 0])
    assert 0.9 / 64 < worst <= 1 / 64


def test_hidden_pixels_take_the_colour_of_the_nearest():
    """Two halves of a picture with a gap: each side of the gap has the colour of its half."""
    color = np.zeros((8, 64, 1), np.float32)
    color[:, :8], color[:, -8:] = 0.25, 0.75
    alpha = np.zeros((8, 64), np.float32)
    alpha[:, :8] = alpha[:, -8:] = 1
    filled = filled_copy(color, alpha)[..., 0]
    assert (filled[:, :32] == 0.25).all() and (filled[:, 32:] == 0.75).all()


def test_a_faint_pixel_counts_less_than_an_opaque_one():
    color = np.array([[[0.0], [1.0], [0.5], [0.5]]], np.float32)
    filled = filled_copy(color, np.array([[1, 0.125, 0, 0]], np.float32))
    assert filled[0, 2, 0] == pytest.approx(0.125 / 1.125)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 9), (1, 4000)], ids=str)
def test_all_hidden_or_nothing(shape):
    color = np.random.default_rng(1).random((*shape, 3), np.float32)
    assert np.array_equal(filled_copy(color, np.zeros(shape, np.float32)), color)
    assert np.array_equal(filled_copy(color, np.ones(shape, np.float32)), color)
    one = np.zeros(shape, np.float32)
    one[-1, -1] = 1
    assert np.allclose(filled_copy(color, one), color[-1, -1], atol=1e-6)


def test_floats_that_are_nearly_zero_are_hidden():
    color = np.array([[[1.0], [0.0]]], np.float32)
    assert filled_copy(color, np.array([[1, 1e-30]], np.float32))[0, 1, 0] == 1


def test_the_picture_is_not_changed():
    picture = disc((0, 255, 0))
    before = picture.color.copy(), picture.alpha.copy()
    enlarge(picture, bicubic, 4)
    assert np.array_equal(picture.color, before[0]) and np.array_equal(picture.alpha, before[1])


def test_blocks_of_rows_are_not_seen(monkeypatch):
    rng = np.random.default_rng(2)
    color, alpha = rng.random((45, 23, 3), np.float32), rng.choice(np.array([0, 0, 0, 0.01, 1], np.float32), (45, 23))
    alpha[5:40] = 0
    whole = filled_copy(color, alpha)
    monkeypatch.setattr("rcan_plugin.pictures.alpha._ROWS", 4)
    assert np.array_equal(filled_copy(color, alpha), whole)
    assert not np.array_equal(whole, color)
