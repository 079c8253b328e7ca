"""BI, BD and DN against published files and definitions; windows against the whole."""

import dataclasses
import hashlib
import json
import sys
import tracemalloc

import numpy as np
import pytest

from rcan_plugin.degradations import Degradation, degrade, imresize, noise_rng
from rcan_plugin.degradations.gaussian import official_kernel_size
from rcan_plugin.resampling import banded_matmul, separable
from tests.data.tiny import picture
from tests.degradations.images import BD_FOLDERS, black_and_white, noise, reference_pairs, steps
from tests.degradations.slow import slow_bd
from tests.reference import needs_reference

DTYPES = (np.uint8, np.uint16, np.float32, np.float64)
SCALES = (2, 3, 4, 8)
BI_AND_BD = [("BI", "replicate"), ("BI", "symmetric"), ("BD", "replicate")]


@needs_reference
@pytest.mark.parametrize(("folder", "scale"), BD_FOLDERS)
def test_bd_equals_every_file_that_octave_made(folder, scale):
    # Octave's own ties depend on its order of summation, and happen to fall as ours do: halves up.
    differing = [np.count_nonzero(degrade(hr, scale, "BD") != lr) for _, hr, lr in reference_pairs(folder, scale)]
    assert differing == [0] * 5


@pytest.mark.parametrize("make", [noise, black_and_white, steps])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("scale", [*SCALES, 5])
def test_bd_equals_its_definition(scale, dtype, make):
    hr = make((43, 58, 3), dtype)
    np.testing.assert_allclose(
        degrade(hr, scale, "BD"), slow_bd(hr, scale), rtol=0, atol=1e-13 if dtype == np.float64 else 0
    )


@pytest.mark.parametrize(("sigma", "size"), [(0.4, None), (2.3, None), (1.6, 13), (1.6, 4), (1.6, 1), (5.0, 31)])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bd_with_other_parameters_equals_its_definition(scale, sigma, size):
    hr = noise((37, 50))
    out = degrade(hr, scale, "BD", sigma=sigma, kernel_size=size)
    np.testing.assert_array_equal(out, slow_bd(hr, scale, sigma, size))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bd_sums_that_float32_cannot_decide(scale):
    """A few of these values come out wrong without the second look in float64."""
    hr = noise((1200, 1800))
    np.testing.assert_array_equal(degrade(hr, scale, "BD"), slow_bd(hr, scale))


def test_bd_that_is_one_tie_after_another():
    """Stripes one pixel wide blur to halves everywhere: float32 alone could not decide one of them."""
    hr = np.zeros((64, 96, 3), np.uint8)
    hr[:, ::2] = 255
    out = degrade(hr, 2, "BD")
    np.testing.assert_array_equal(out, slow_bd(hr, 2))
    assert (out[:, 4:-4] == 128).all()


def test_the_kernel_sizes_of_the_official_script():
    assert [official_kernel_size(scale, 1.6) for scale in (2, 3, 4, 5, 8)] == [12, 7, 12, 11, 12]
    assert official_kernel_size(3, 2.0) == 13


@pytest.mark.parametrize("border", ["replicate", "symmetric"])
@pytest.mark.parametrize("scale", SCALES)
def test_bi_is_imresize_of_the_image_cropped_to_a_multiple(scale, border):
    hr = noise((50, 61, 3))
    cropped = hr[: 50 // scale * scale, : 61 // scale * scale]
    np.testing.assert_array_equal(degrade(hr, scale, "BI", border=border), imresize(cropped, 1 / scale, border=border))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("kind", "border"), BI_AND_BD)
def test_a_window_equals_the_crop_of_the_whole(kind, border, scale, dtype):
    rng = np.random.default_rng(scale)
    for make, channels in ((noise, ()), (black_and_white, (3,)), (steps, (1,))):
        hr = make((16 * scale + 1, 21 * scale + 1, *channels), dtype)
        whole = degrade(hr, scale, kind, border=border)
        height, width = whole.shape[:2]
        corners = [(0, 0, 1, 1), (height - 1, width - 1, 1, 1), (0, 3, height, 2), (2, 0, 3, width)]
        for _ in range(8):
            top, left = int(rng.integers(height)), int(rng.integers(width))
            corners.append((top, left, int(rng.integers(1, height - top + 1)), int(rng.integers(1, width - left + 1))))
        for top, left, rows, cols in corners:
            window = degrade(hr, scale, kind, border=border, region=(top, left, rows, cols))
            np.testing.assert_array_equal(window, whole[top : top + rows, left : left + cols])


@pytest.mark.parametrize("kind", ["BI", "BD"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_window_reads_only_what_it_needs(dtype, kind, monkeypatch):
    hr = noise((400, 400, 3), dtype)
    expected = degrade(hr, 4, kind)[40:52, 45:57]
    read = []
    convert = (banded_matmul, "_centred") if dtype == np.uint8 else (separable, "_weighted_sums")
    original = getattr(*convert)
    monkeypatch.setattr(*convert, lambda source, *rest: read.append(source.size) or original(source, *rest))
    np.testing.assert_array_equal(degrade(hr, 4, kind, region=(40, 45, 12, 12)), expected)
    assert read[0] <= (12 * 4 + 12) ** 2 * 3


@pytest.mark.parametrize("kind", ["BI", "BD"])
@pytest.mark.parametrize("scale", SCALES)
def test_constant_and_shifted_images(scale, kind):
    for value in (0, 1, 128, 254, 255):
        assert (degrade(np.full((40, 48), value, np.uint8), scale, kind) == value).all()
    hr = noise((scale * 18, scale * 20, 3))
    out, shifted = degrade(hr, scale, kind), degrade(hr[2 * scale :, scale:], scale, kind)
    np.testing.assert_array_equal(shifted[6:-6, 6:-6], out[8:-6, 7:-6])


@pytest.mark.parametrize(("dtype", "unit"), [(np.uint8, 1), (np.uint16, 257)])
def test_dn_adds_single_precision_noise_and_rounds(dtype, unit):
    hr = noise((60, 84, 3), dtype)
    expected = degrade(hr, 3, "BI").astype(np.float32)
    expected += (30 * unit * noise_rng(5, "a.png").standard_normal(expected.shape)).astype(np.float32)
    expected = np.clip(np.floor(expected.astype(np.float64) + 0.5), 0, np.iinfo(dtype).max)
    out = degrade(hr, 3, "DN", rng=noise_rng(5, "a.png"))
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dn_has_the_noise_that_was_asked_for(dtype):
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    hr = np.full((1200, 1200), top // 2 if top > 1 else 0.5, dtype)
    difference = degrade(hr, 4, "DN", noise=10.0, rng=noise_rng(0, "flat")).astype(np.float64) - hr[0, 0]
    assert difference.std() == pytest.approx(10 / 255 * top, rel=0.01)
    assert abs(difference.mean()) < 0.15 / 255 * top  # four standard errors


def test_float_noise_is_not_clipped():
    out = degrade(np.ones((40, 40)), 2, "DN", rng=noise_rng(0, ""))
    assert out.max() > 1


def test_noise_depends_on_the_generator_alone(monkeypatch):
    hr = noise((40, 40, 3))
    first, again = (degrade(hr, 2, "DN", rng=noise_rng(7, "baby.png")) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != degrade(hr, 2, "DN", rng=noise_rng(8, "baby.png"))).mean() > 0.9
    assert (first != degrade(hr, 2, "DN", rng=noise_rng(7, "bird.png"))).mean() > 0.9
    monkeypatch.setattr(sys.modules[degrade.__module__], "_NOISE_VALUES", 70)  # a row or so at a time
    np.testing.assert_array_equal(first, degrade(hr, 2, "DN", rng=noise_rng(7, "baby.png")))


def test_noise_of_a_window_is_drawn_for_the_window():
    hr = noise((40, 40, 3))
    out = degrade(hr, 2, "DN", rng=noise_rng(1, "a"), region=(2, 3, 4, 5)).astype(np.float64)
    drawn = (30 * noise_rng(1, "a").standard_normal((4, 5, 3))).astype(np.float32)
    clean = degrade(hr, 2, "BI")[2:6, 3:8]
    np.testing.assert_array_equal(out, np.clip(np.floor(clean + drawn.astype(np.float64) + 0.5), 0, 255))


def test_noise_rng_is_the_same_everywhere():
    seed = int.from_bytes(hashlib.sha256(b"3/img_001.png").digest(), "little")
    drawn = noise_rng(3, "img_001.png").integers(0, 1 << 32, 3)
    assert drawn.tolist() == np.random.Generator(np.random.PCG64(seed)).integers(0, 1 << 32, 3).tolist()
    assert drawn.tolist() == [170311951, 1817417078, 3591597994]  # NumPy 2.4 on Linux


def test_views_work_and_nothing_is_written_to():
    hr = noise((64, 72, 3))
    hr.setflags(write=False)
    for kind in ("BI", "BD"):
        for view in (hr[:, ::-1], hr[..., ::-1], hr.swapaxes(0, 1), np.asfortranarray(hr)):
            expected = degrade(view.copy(order="C"), 4, kind)
            np.testing.assert_array_equal(degrade(view, 4, kind), expected)
            np.testing.assert_array_equal(degrade(view, 4, kind, region=(1, 2, 9, 8)), expected[1:10, 2:10])


def test_degradations_are_equal_if_they_make_the_same():
    assert Degradation("BD") == Degradation("BD", sigma=1.6) != Degradation("BD", sigma=1.7)
    assert Degradation("DN") == Degradation("DN", noise=30) != Degradation("DN", noise=25)
    for degradation in (
        Degradation(),
        Degradation("BD", sigma=2, kernel_size=15),
        Degradation("DN", "symmetric", noise=5),
    ):
        assert Degradation(**json.loads(json.dumps(dataclasses.asdict(degradation)))) == degradation


def test_degradations_say_what_they_are():
    assert str(Degradation("BI", "symmetric")) == "BI (symmetric)"
    assert str(Degradation("BD")) == "BD (sigma 1.6)"
    assert str(Degradation("BD", sigma=2, kernel_size=15)) == "BD (sigma 2, kernel 15x15)"
    assert str(Degradation("DN")) == "DN (replicate, noise 30)"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kind": "bicubic"}, ValueError, "kind is 'bicubic'; expected one of 'BI', 'BD', 'DN'"),
        ({"scale": 2.5}, ValueError, "scale is 2.5"),
        ({"scale": 1}, ValueError, "scale is 1"),
        ({"scale": 40}, ValueError, "hr is 30x32, smaller than one LR pixel at scale 40"),
        ({"border": "wrap"}, ValueError, "border is 'wrap'"),
        ({"kind": "BD", "border": "symmetric"}, ValueError, "BD is defined with 'replicate' only"),
        ({"sigma": 1.6}, ValueError, "sigma is 1.6 but belongs to BD"),
        ({"noise": 30.0}, ValueError, "noise is 30.0 but belongs to DN"),
        ({"kind": "BD", "sigma": 0}, ValueError, "sigma is 0; expected a finite number above 0"),
        ({"kind": "BD", "sigma": "1.6"}, ValueError, "sigma is '1.6'"),
        ({"kind": "BD", "kernel_size": 0}, ValueError, "kernel_size is 0"),
        ({"kind": "BD", "kernel_size": 7.5}, ValueError, "kernel_size is 7.5"),
        ({"kind": "DN", "noise": -1}, ValueError, "noise is -1; expected a finite number from 0"),
        ({"kind": "DN"}, TypeError, "rng is a NoneType; DN draws its noise"),
        ({"region": (0, 0, 0, 1)}, ValueError, r"region is \(0, 0, 0, 1\)"),
        ({"region": (0, 0, 16, 1)}, ValueError, "expected a window of the 15x16 LR"),
        ({"region": (-1, 0, 2, 2)}, ValueError, r"region is \(-1, 0, 2, 2\)"),
        ({"region": (0, 0, 2)}, ValueError, r"expected \(top, left, height, width\)"),
        ({"hr": np.zeros((4, 4), bool)}, TypeError, "hr has dtype bool"),
    ],
)
def test_errors_name_what_was_wrong(options, error, message):
    arguments = {"hr": np.zeros((30, 32), np.uint8), "scale": 2, "kind": "BI", **options}
    with pytest.raises(error, match=message):
        degrade(**arguments)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["BI", "BD", "DN"])
def test_memory_stays_below_three_times_the_image(kind, dtype):
    hr = np.zeros((3000, 3000, 3), dtype)
    hr[:, ::2] = 255  # ties all over, which take the longest way
    tracemalloc.start()  # counts NumPy's arrays and those that OpenCV returns
    degrade(hr, 2, kind, rng=noise_rng(0, ""))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.25 < peak / hr.nbytes < 2  # and the image itself makes it three


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", [{"kind": "BI"}, {"kind": "BD"}, {"kind": "BD", "kernel_size": 23}], ids=str)
def test_what_is_in_reach_is_all_that_a_region_is_made_of(scale, kind):
    """Other values beyond the reach change nothing; and one pixel less would not do, at one scale at least."""
    degradation = Degradation(**kind)
    reach = degradation.reach(scale)
    size, top = 6 + 4 * reach, 2 * reach
    hr = picture(size * scale, size * scale, seed=1)
    changed = picture(size * scale, size * scale, seed=2)
    inner = slice((top - reach) * scale, (top + 6 + reach) * scale)
    changed[inner, inner] = hr[inner, inner]
    region = (top, top, 6, 6)
    whole = degradation.apply(hr, scale, region=region)
    assert np.array_equal(degradation.apply(changed, scale, region=region), whole)
    alone = degradation.apply(np.ascontiguousarray(hr[inner, inner]), scale, region=(reach, reach, 6, 6))
    assert np.array_equal(alone, whole)
