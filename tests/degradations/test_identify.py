"""`identify` on published pairs, and on pairs made in ways that we know."""

import cv2
import numpy as np
import pytest

from rcan_plugin.degradations import Identification, degrade, identify, imresize, noise_rng
from tests.degradations.images import BD_FOLDERS, BI_FOLDERS, noise, reference_pairs
from tests.reference import needs_reference

SCALES = (2, 3, 4, 8)


def scene(height=264, width=336, channels=3, seed=0):
    """Soft shapes, sharp discs and a little texture."""
    rng = np.random.default_rng(seed)
    coarse = (rng.random((height // 16, width // 16, channels)) * 200 + 20).astype(np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
    for _ in range(40):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        image = np.ascontiguousarray(image)
        cv2.circle(image, centre, int(rng.integers(3, 25)), rng.integers(0, 256, channels).tolist(), -1, cv2.LINE_AA)
    return np.clip(image + rng.integers(-4, 5, image.shape), 0, 255).astype(np.uint8)


@needs_reference
@pytest.mark.parametrize(("folder", "scale"), BI_FOLDERS + BD_FOLDERS)
def test_every_published_pair_is_named(folder, scale):
    kind, origin = folder.split("/LR")[1].split("_")
    border = "replicate" if kind == "BD" else origin
    for name, hr, lr in reference_pairs(folder, scale):
        expected = Identification(True, scale, kind, border, total=lr.size)
        assert identify(hr, lr) == expected, name
        assert identify(hr, lr).exact


@needs_reference
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_unrelated_published_images_are_no_pair(scale):
    pairs = [(hr, lr) for _, hr, lr in reference_pairs("set5/LRBI_replicate", scale)]
    for i, (hr, lr) in enumerate(pairs):
        other = pairs[i - 1][1]
        other = cv2.resize(other, lr.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert not identify(hr, other).belongs
        assert not identify(hr, np.ascontiguousarray(lr[::-1])).belongs


@needs_reference
def test_photographs_that_are_easily_mistaken():
    hr = {(name[:4], scale): hr for scale in (4, 8) for name, hr, _ in reference_pairs("set5/LRBI_symmetric", scale)}
    aliased = cv2.resize(hr["butt", 4], (64, 64), interpolation=cv2.INTER_CUBIC)
    assert identify(hr["butt", 4], aliased).kind == "BI"  # and no decimation, although that is nearest
    lr = degrade(hr["head", 8][8:], 8, "BD")
    result = identify(hr["head", 8][:-8], lr)
    assert (result.kind, result.shift, result.differing) == ("BD", (8, 0), 0)  # from BI it differs as if by noise
    for down, right in ((1, 0), (0, 2), (3, 1), (8, 0)):  # 28x43 LR pixels, hard to find a place in
        lr = degrade(hr["woma", 8][down:, right:], 8, "BI")
        result = identify(hr["woma", 8][: lr.shape[0] * 8, : lr.shape[1] * 8], lr)
        assert (result.kind, result.shift, result.differing) == ("BI", (down, right), 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("kind", "border"), [("BI", "replicate"), ("BI", "symmetric"), ("BD", "replicate")])
@pytest.mark.parametrize("scale", SCALES)
def test_exact_pairs_of_all_types(scale, kind, border, dtype):
    hr = scene(200, 245)
    hr = hr if dtype == np.uint8 else (hr / 255).astype(dtype) if dtype == np.float32 else hr * np.uint16(257)
    lr = degrade(hr, scale, kind, border=border)
    assert identify(hr, lr) == Identification(True, scale, kind, border, total=lr.size)


def test_one_line_names_everything():
    hr = scene()
    assert str(identify(hr, degrade(hr, 4, "BI"))) == "x4 BI, replicate border: 0 of 16632 values differ"
    lr = degrade(hr, 3, "BD")
    lr[10, 20:27, 1] ^= 2
    assert str(identify(hr, lr)) == "x3 BD, replicate border: 7 of 29568 values differ (0.0237 %, by up to 2)"
    noisy = str(identify(hr, degrade(hr, 2, "DN", noise=12, rng=noise_rng(0, ""))))
    assert noisy.startswith("x2 DN, noise 1")
    assert "\n" not in noisy
    moved = str(identify(hr[:-4], degrade(hr[4:], 4, "BI")))
    assert moved == "x4 BI, shifted by (4, 0) HR pixels (down, right): 0 of 11232 values differ"
    assert str(identify(hr, hr)) == "not a pair: 264x336 is not 264x336 over 2, 3, 4 or 8"


@pytest.mark.parametrize("sigma", [2, 5, 15, 30, 50])
@pytest.mark.parametrize("scale", SCALES)
def test_noise_is_measured(scale, sigma):
    hr = scene(scale * 90, scale * 100)
    result = identify(hr, degrade(hr, scale, "DN", noise=sigma, rng=noise_rng(1, "x")))
    assert (result.belongs, result.scale, result.kind, result.border, result.shift) == (True, scale, "DN", None, (0, 0))
    assert result.noise == pytest.approx(sigma, rel=0.04)
    assert not result.exact


@pytest.mark.parametrize(("sigma", "relative"), [(1.2, 0.015), (80, 0.01)])
def test_noise_is_measured_where_rounding_or_clipping_matters(sigma, relative):
    hr = scene(1200, 1400)
    result = identify(hr, degrade(hr, 2, "DN", noise=sigma, rng=noise_rng(1, "x")))
    assert result.kind == "DN"
    assert result.noise == pytest.approx(sigma, rel=relative)


def test_noise_below_a_level_is_no_dn():
    hr = scene()
    result = identify(hr, degrade(hr, 2, "DN", noise=0.5, rng=noise_rng(1, "x")))
    assert (result.kind, result.noise) == ("BI", None)
    assert result.differing > 0


def smooth(values):
    return cv2.GaussianBlur(values, (0, 0), 1.0)


NOT_NOISE = {
    "an offset": lambda noise, bi: np.full_like(noise, 9),
    "noise that knows its neighbour": lambda noise, bi: 3 * smooth(noise),
    "noise that is alike in all channels": lambda noise, bi: noise[..., :1].repeat(3, 2),
    "noise along edges": lambda noise, bi: noise * (np.abs(cv2.Laplacian(smooth(bi), cv2.CV_64F)) > 3),
    "long tails": lambda noise, bi: np.sign(noise) * noise**2 / 10,
    "compression": lambda noise, bi: cv2.imdecode(cv2.imencode(".jpg", bi)[1], cv2.IMREAD_UNCHANGED) - bi,
}


@pytest.mark.parametrize("name", NOT_NOISE)
def test_what_is_not_white_noise_is_no_dn(name):
    hr = scene(600, 700)
    bi = degrade(hr, 2, "BI")
    noise = 10 * np.random.default_rng(0).standard_normal(bi.shape)
    lr = bi + NOT_NOISE[name](noise, bi.astype(np.float64))
    result = identify(hr, np.clip(np.rint(lr), 0, 255).astype(np.uint8))
    assert (result.belongs, result.kind, result.noise, result.shift) == (True, "BI", None, (0, 0))
    assert result.differing > 0


def test_gray_noise_beside_a_colour_image():
    hr = scene(channels=1)
    lr = degrade(hr[..., 0], 2, "DN", rng=noise_rng(0, ""))
    assert identify(hr.repeat(3, 2), lr).noise == pytest.approx(30, rel=0.05)


def test_chance_is_no_shift():
    """In small, smooth images under strong noise some shift always fits a little better."""
    for seed in range(10):
        hr = cv2.GaussianBlur(scene(128, 128, seed=seed), (0, 0), 6)
        result = identify(hr, degrade(hr, 2, "DN", rng=noise_rng(seed, "")))
        assert (result.kind, result.shift) == ("DN", (0, 0))


def test_a_blur_of_a_smooth_image_is_bd_and_no_noise():
    for seed in range(5):
        hr = cv2.GaussianBlur(noise((280, 288, 3), seed=seed), (0, 0), 2)
        lr = degrade(hr[1:], 8, "BD")
        assert identify(hr[: lr.shape[0] * 8], lr).kind == "BD"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_noise_that_was_clipped_is_measured(dtype):
    """An image of black and white alone: half of the noise is gone."""
    hr = np.where(scene(400, 480, 1) > 128, 255, 0).astype(np.uint8)
    hr = hr if dtype == np.uint8 else hr * np.uint16(257) if dtype == np.uint16 else (hr / 255).astype(dtype)
    result = identify(hr, degrade(hr, 2, "DN", rng=noise_rng(1, "x")))
    assert result.kind == "DN"
    assert result.noise == pytest.approx(30, rel=0.03)


@pytest.mark.parametrize("kind", ["BI", "BD"])
@pytest.mark.parametrize("scale", SCALES)
def test_shifts_by_hr_pixels(scale, kind):
    hr = scene(scale * 60, scale * 70)
    for down, right in ((1, 0), (0, scale - 1), (2 * scale, scale + 1)):
        lr = degrade(hr[down:, right:], scale, kind)
        result = identify(hr[: lr.shape[0] * scale, : lr.shape[1] * scale], lr)
        assert (result.belongs, result.kind, result.shift, result.border) == (True, kind, (down, right), None)
        assert (result.differing, result.exact) == (0, False)
        assert result.total > lr.size / 2


@pytest.mark.parametrize("scale", SCALES)
def test_shifts_by_lr_pixels_the_other_way(scale):
    hr = scene(scale * 60, scale * 70)
    result = identify(hr, np.roll(degrade(hr, scale, "BI"), (1, -2), (0, 1)))
    assert (result.kind, result.shift, result.differing) == ("BI", (-scale, 2 * scale), 0)


def test_a_shift_under_noise():
    hr = scene(400, 480)
    lr = degrade(hr[4:], 4, "DN", rng=noise_rng(0, ""))
    result = identify(hr[:-4], lr)
    assert (result.kind, result.shift) == ("DN", (4, 0))
    assert result.noise == pytest.approx(30, rel=0.04)


@pytest.mark.parametrize("scale", SCALES)
def test_decimation(scale):
    hr = scene()
    middle = (scale - 1) / 2
    result = identify(hr, hr[::scale, ::scale])
    assert (result.kind, result.shift, result.differing) == ("decimation", (-middle, -middle), 0)
    result = identify(hr, hr[1::scale, scale - 1 :: scale])
    assert (result.kind, result.shift, result.differing) == ("decimation", (1 - middle, middle), 0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_another_resizer_is_nearest_to_bi(scale):
    hr = scene()
    lr = degrade(hr, scale, "BI")
    floats = imresize(hr.astype(np.float64), 1 / scale, border="symmetric")  # as BasicSR does: not rounded in between
    result = identify(hr, np.clip(np.rint(floats), 0, 255).astype(np.uint8))
    assert (result.belongs, result.kind, result.border, result.shift) == (True, "BI", "symmetric", (0, 0))
    assert 0.02 < result.differing / result.total < 0.2
    assert result.max_difference <= 3
    area = cv2.resize(hr, lr.shape[1::-1], interpolation=cv2.INTER_AREA)
    result = identify(hr, area)
    assert (result.belongs, result.shift) == (True, (0, 0))
    assert result.differing > 0.5 * result.total


def test_values_that_differ_are_counted():
    hr = scene()
    lr = degrade(hr, 2, "BI", border="symmetric")
    lr[::10, ::10] ^= 1
    lr[5, 5, 0] ^= 64
    changed = np.count_nonzero(lr != degrade(hr, 2, "BI", border="symmetric"))
    assert identify(hr, lr) == Identification(True, 2, "BI", "symmetric", None, changed, lr.size, 64)


def test_a_border_that_cannot_be_told():
    hr = scene()
    hr[:40] = hr[-40:] = 7
    hr[:, :40] = hr[:, -40:] = 7
    result = identify(hr, degrade(hr, 4, "BI"))
    assert (result.kind, result.border, result.exact) == ("BI", "either", True)
    assert str(result).startswith("x4 BI, either border: 0 of")


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_an_lr_image_of_all_of_an_hr_image_that_is_no_multiple(scale):
    hr = scene(scale * 20 + 1, scale * 25 + 1)
    for border in ("replicate", "symmetric"):
        lr = imresize(hr, 1 / scale, border=border)
        assert lr.shape[:2] == (21, 26)
        assert identify(hr, lr) == Identification(True, scale, "BI", border, total=lr.size)


def test_gray_beside_colour():
    hr = scene(channels=1)
    gray = degrade(hr, 4, "BI")
    for first, second in ((hr[..., 0], gray), (hr[..., 0], gray.repeat(3, 2)), (hr.repeat(3, 2), gray[..., 0])):
        result = identify(first, second)
        assert (result.kind, result.border, result.exact) == ("BI", "replicate", True)


def test_no_pairs():
    hr = scene()
    lr = degrade(hr, 4, "BI")
    assert identify(hr, lr[:-1]).reason == "65x84 is not 264x336 over 2, 3, 4 or 8"
    assert not identify(hr, degrade(scene(seed=1), 4, "BI")).belongs
    assert not identify(hr, noise(lr.shape)).belongs
    flipped = identify(hr, np.ascontiguousarray(lr[:, ::-1]))
    assert (flipped.belongs, flipped.exact) == (False, False)
    assert "correlate by only" in str(flipped)


def test_a_mirrored_face_is_no_pair():
    """Its shapes are where they were, its details are not."""
    half = cv2.GaussianBlur(scene(256, 160), (0, 0), 4).astype(np.int16)
    detail = 70 * np.random.default_rng(0).random((256, 320, 3))
    light = np.linspace(-8, 8, 320)[:, None]
    hr = np.clip(np.concatenate([half, half[:, ::-1]], 1) + detail + light, 0, 255).astype(np.uint8)
    lr = degrade(hr, 2, "BI")
    assert identify(hr, lr).exact
    result = identify(hr, np.ascontiguousarray(lr[:, ::-1]))
    assert not result.belongs
    assert "details" in result.reason


@pytest.mark.parametrize("interpolation", [cv2.INTER_LINEAR, cv2.INTER_CUBIC])
def test_a_resizer_without_antialiasing_is_no_decimation(interpolation):
    hr = scene()
    result = identify(hr, cv2.resize(hr, (84, 66), interpolation=interpolation))
    assert (result.belongs, result.shift) == (True, (0, 0))
    assert result.kind in ("BI", "BD")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 17, 33])
def test_tiny_pairs_are_no_trouble(size):
    hr = noise((size, size, 3))
    for scale in SCALES:
        lr = imresize(hr, 1 / scale)
        assert identify(hr, lr).exact
        identify(hr, noise(lr.shape, seed=1))


def test_errors_name_what_was_wrong():
    hr = scene(64, 64)
    with pytest.raises(TypeError, match="hr is uint8 and lr float32"):
        identify(hr, degrade(hr, 2, "BI").astype(np.float32))
    with pytest.raises(ValueError, match="hr has 3 channels and lr 2"):
        identify(hr, degrade(hr, 2, "BI")[..., :2])
    with pytest.raises(TypeError, match="lr is a NoneType"):
        identify(hr, None)
