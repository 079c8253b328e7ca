"""Images to tensors: values, order of channels, luma, mean and std."""

import numpy as np
import pytest
import torch

from rcan_plugin.data.options import PixelOptions
from rcan_plugin.data.tensors import to_floats, to_planes, to_tensor
from tests.data.tiny import picture


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
@pytest.mark.parametrize("channels", [1, 3])
def test_b_g_r_becomes_r_g_b_from_0_to_1(dtype, peak, channels):
    image = picture(5, 7, seed=1, dtype=dtype, channels=channels).reshape(5, 7, channels)
    expected = torch.from_numpy(image[..., ::-1].astype(np.float32) / np.float32(peak)).permute(2, 0, 1)
    assert torch.equal(to_tensor(image.copy(), PixelOptions()), expected)


def test_floats_are_copied():
    image = np.random.default_rng(0).random((4, 6, 3), np.float32)
    tensor = to_tensor(image, PixelOptions())
    assert torch.equal(tensor, torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1))
    values = np.ones((2, 3), np.float32)
    floats = to_floats(values)
    values[:] = 0
    assert floats.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_planes_are_written_into_the_given_memory():
    image, planes = picture(3, 4, seed=2), np.empty((3, 3, 4), np.uint8)
    assert to_planes(image, planes) is planes and np.array_equal(planes, image.transpose(2, 0, 1)[::-1])


def test_mean_and_std_are_applied_to_each_channel():
    image = np.full((2, 2, 3), (0, 51, 255), np.uint8)  # B, G, R
    tensor = to_tensor(image, PixelOptions(mean=(0.5, 0.2, 0.25), std=(0.5, 1.0, 0.25)))
    assert tensor[:, 0, 0].tolist() == pytest.approx([1, 0, -1], abs=1e-6)


def test_luma_is_that_of_matlab():
    """Black is 16 and white 235 of 255."""
    image = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    tensor = to_tensor(image, PixelOptions(luma=True))
    assert tensor.shape == (1, 1, 2) and tensor.flatten().tolist() == pytest.approx([16 / 255, 235 / 255], abs=1e-6)


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
def test_each_value_becomes_the_float_that_a_division_gives(dtype, peak):
    values = np.arange(peak + 1, dtype=dtype).reshape(1, 16, -1)
    assert torch.equal(to_floats(values), torch.from_numpy(values).float() / peak)
