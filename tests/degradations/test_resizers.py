"""Pairs that other resizers made are named, with the share of values that differ."""

import cv2
import numpy as np
import pytest
import torch
from basicsr.utils.matlab_functions import imresize as basicsr_imresize
from PIL import Image
from torch.nn.functional import interpolate

from rcan_plugin.degradations import degrade, identify, noise_rng
from rcan_plugin.degradations.resizers import Resemblance, antialiased_bicubic, resemblance
from tests.degradations.images import noise


def scene(height=192, width=240, channels=3):
    """Texture of several sizes, and edges."""
    layers = [cv2.GaussianBlur(noise((height, width, 3), seed=i), (0, 0), 2**i) for i in range(1, 4)]
    image = sum((layer.astype(np.float32) - 128) * 2**i for i, layer in enumerate(layers)) + 128
    for i in range(6):
        image[20 * i : 20 * i + 45, 30 * i : 30 * i + 25] += 40 if i % 2 else -40
    return np.ascontiguousarray(image.clip(0, 255).astype(np.uint8)[..., :channels])


def size(hr, scale) -> tuple[int, int]:
    return hr.shape[0] // scale, hr.shape[1] // scale


def by_torch(hr, scale, dtype=torch.float32, **settings):
    """As people write it: to floats from 0 to 1, and rounded at the end; or on uint8."""
    image = torch.from_numpy(hr.transpose(2, 0, 1).copy())[None]
    image = image if dtype == torch.uint8 else image.to(dtype) / 255
    small = interpolate(image, size=size(hr, scale), mode="bicubic", align_corners=False, **settings)
    small = small if dtype == torch.uint8 else (small * 255).round().clamp(0, 255).byte()
    return small[0].numpy().transpose(1, 2, 0)


def by_pillow(hr, scale, resampling=Image.Resampling.BICUBIC):
    return np.asarray(Image.fromarray(hr).resize(size(hr, scale)[::-1], resampling))


def by_opencv(hr, scale, interpolation):
    return cv2.resize(hr, size(hr, scale)[::-1], interpolation=interpolation)


def by_basicsr(hr, scale):
    return (basicsr_imresize(hr.astype(np.float32) / 255, 1 / scale) * 255).round().clip(0, 255).astype(np.uint8)


def as_jpeg(image, quality):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_UNCHANGED)


def named(hr, lr) -> Resemblance | None:
    return resemblance(hr, lr, identify(hr, lr))


RESIZERS = {
    "OpenCV area": lambda hr, scale: by_opencv(hr, scale, cv2.INTER_AREA),
    "OpenCV bicubic (no antialiasing)": lambda hr, scale: by_opencv(hr, scale, cv2.INTER_CUBIC),
    "OpenCV bilinear": lambda hr, scale: by_opencv(hr, scale, cv2.INTER_LINEAR),
    "OpenCV nearest": lambda hr, scale: by_opencv(hr, scale, cv2.INTER_NEAREST),
    "Pillow bicubic": by_pillow,
    "Pillow lanczos": lambda hr, scale: by_pillow(hr, scale, Image.Resampling.LANCZOS),
    "torch's bicubic with antialias=True": lambda hr, scale: by_torch(hr, scale, antialias=True),
    "BasicSR's imresize": by_basicsr,
}


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", RESIZERS)
def test_the_resizer_is_named(name, scale):
    hr = scene()
    result = named(hr, RESIZERS[name](hr, scale))
    assert result is not None and name in result.name.split(" or ")
    assert result.close and result.share < 1e-3


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_torchs_antialiased_bicubic_is_computed_without_torch(scale):
    hr = scene(24 * scale, 30 * scale)
    floats = (hr / 255).astype(np.float64)
    expected = interpolate(
        torch.from_numpy(floats.transpose(2, 0, 1))[None], size=(24, 30), mode="bicubic", antialias=True
    )
    ours = antialiased_bicubic(floats, (24, 30))
    np.testing.assert_allclose(ours, expected[0].numpy().transpose(1, 2, 0), rtol=0, atol=1e-12)
    differing = np.count_nonzero(
        antialiased_bicubic(hr, (24, 30)) != by_torch(hr, scale, torch.float64, antialias=True)
    )
    assert differing <= 1e-3 * 24 * 30 * 3, "ties alone"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_other_ways_in_torch_are_named_after_what_gives_the_same(scale):
    hr = scene()
    on_integers = named(hr, by_torch(hr, scale, torch.uint8, antialias=True))
    assert on_integers is not None and on_integers.name == "Pillow bicubic" and on_integers.share < 2e-3
    plain = named(hr, by_torch(hr, scale))
    assert plain is not None and "OpenCV bicubic (no antialiasing)" in plain.name and plain.share < 0.01


@pytest.mark.parametrize(("scale", "quality", "channels"), [(2, 30, 3), (4, 75, 3), (3, 95, 1)])
def test_jpegs_are_named_with_their_quality(scale, quality, channels):
    hr = scene(120 * scale, 140 * scale, channels)
    lr = as_jpeg(degrade(hr, scale, "BI"), quality)
    result = named(hr, lr.reshape(*lr.shape[:2], -1))
    assert result == (f"JPEG of quality {quality}, of MATLAB's bicubic (BI)", 0)
    assert str(result) == f"looks like JPEG of quality {quality}, of MATLAB's bicubic (BI) (0 % differ)"


def test_a_jpeg_of_another_resizer_without_subsampling():
    hr = scene(240, 280)
    settings = [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    content = cv2.imencode(".jpg", by_pillow(hr, 2), settings)[1]
    result = named(hr, cv2.imdecode(content, cv2.IMREAD_COLOR))
    assert result == ("JPEG of quality 85, 4:4:4, of Pillow bicubic", 0)


def test_an_hr_image_that_was_not_cropped_first():
    hr = scene(195, 245)
    result = named(hr, by_opencv(hr, 4, cv2.INTER_AREA))
    assert result == ("OpenCV area of the HR image before it was cropped to a multiple of 4", 0)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_types(dtype):
    hr = scene()
    hr = hr * np.uint16(257) if dtype == np.uint16 else (hr / 255).astype(dtype)
    result = named(hr, by_opencv(hr, 2, cv2.INTER_AREA))
    assert result is not None and "OpenCV area" in result.name and result.share == 0


def test_what_no_resizer_made():
    hr = scene()
    result = named(hr, cv2.GaussianBlur(degrade(hr, 2, "BI"), (0, 0), 1.5))
    assert result is not None and not result.close and result.share > 0.5
    assert str(result).startswith("like no resizer known here, nearest ")


def test_what_papers_make_and_what_is_no_pair_is_like_nothing_else():
    hr = scene()
    for kind in ("BI", "BD"):
        assert named(hr, degrade(hr, 2, kind)) is None
    assert named(hr, degrade(hr, 2, "BI", border="symmetric")) is None
    assert named(hr, degrade(hr, 2, "DN", rng=noise_rng(0, ""))) is None
    assert named(hr, np.ascontiguousarray(degrade(hr, 2, "BI")[::-1])) is None
    assert named(hr[1:], degrade(hr, 2, "BI")) is None


def test_which_identifications_are_of_papers():
    hr = scene()
    for kind in ("BI", "BD"):
        assert identify(hr, degrade(hr, 3, kind)).of_papers
    for level, expected in ((30, True), (15, False)):
        assert identify(hr, degrade(hr, 2, "DN", noise=level, rng=noise_rng(0, ""))).of_papers == expected
    lr = degrade(hr, 2, "BI")
    assert not identify(hr, by_pillow(hr, 2)).of_papers
    assert not identify(hr[:-4], degrade(hr[4:], 4, "BI")).of_papers, "shifted"
    assert not identify(hr, hr[::2, ::2]).of_papers
    lr[0, :3] ^= 1
    assert identify(hr, lr).of_papers, "ties"
