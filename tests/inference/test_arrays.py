"""Images as arrays: which are refused, and what becomes of their values."""

import numpy as np
import pytest
import torch

from rcan_plugin.inference.arrays import check_image, check_result, to_array, to_tensor


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_there_and_back_is_the_same(dtype):
    largest = 1 if dtype == np.float32 else np.iinfo(dtype).max
    image = (np.random.default_rng(0).random((5, 7, 3)) * largest).astype(dtype)
    tensor = to_tensor(image)
    assert tensor.dtype == torch.float32 and tensor.shape == (1, 3, 5, 7)
    np.testing.assert_allclose(tensor[0, :, 2, 3].numpy(), image[2, 3] / np.float32(largest), rtol=1e-6)
    back = to_array(tensor, image.dtype)
    assert back.dtype == dtype and np.array_equal(back, image)


def test_values_are_clipped_and_rounded():
    sr = torch.tensor([-0.2, 0.4 / 255, 0.6 / 255, 1.3]).view(1, 1, 1, 4)
    assert to_array(sr, np.dtype(np.uint8)).ravel().tolist() == [0, 0, 1, 255]
    assert to_array(sr, np.dtype(np.uint16)).ravel().tolist() == [0, 103, 154, 65535]
    assert to_array(sr, np.dtype(np.float32)).ravel().tolist() == pytest.approx([0, 0.4 / 255, 0.6 / 255, 1])


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        ([[1]], TypeError, "type list; expected a NumPy array of uint8, uint16 or float32"),
        (np.zeros((4, 4, 3)), TypeError, "type float64"),
        (np.zeros((4, 4), np.uint8), ValueError, r"shape \(4, 4\); expected height x width x channels"),
        (np.zeros((4, 0, 3), np.uint8), ValueError, r"shape \(4, 0, 3\)"),
        (np.zeros((4, 4, 1), np.uint8), ValueError, "1 channels, the network takes 3"),
        (np.full((4, 4, 3), 200, np.float32), ValueError, "from 200 to 200; expected 0 to 1"),
        (np.full((4, 4, 3), np.nan, np.float32), ValueError, "from nan to nan"),
    ],
    ids=["list", "float64", "two axes", "empty", "channels", "range", "NaN"],
)
def test_wrong_images_are_refused(image, error, words):
    with pytest.raises(error, match=words):
        check_image(image, 3)


GREY = np.full((4, 4, 3), 100, np.uint8)
BAD = {"not finite": torch.full((1, 3, 8, 8), torch.nan), "black where the image is not": torch.zeros(1, 3, 8, 8) - 1}


@pytest.mark.parametrize("fault", [*BAD])
@pytest.mark.parametrize(
    ("precision", "remedy"),
    [
        (torch.float16, "choose precision fp32 or bf16"),
        (torch.bfloat16, "choose precision fp32"),
        (None, "the weights are damaged, or another network's"),
    ],
    ids=["fp16", "bf16", "fp32"],
)
def test_results_that_are_none(fault, precision, remedy):
    with pytest.raises(FloatingPointError, match=f"^the result is {fault}.*{remedy}"):
        check_result(BAD[fault], GREY, precision)


def test_results_that_are_right():
    one = torch.zeros(1, 3, 8, 8)
    one[0, 0, 0, 0] = 0.01
    check_result(one, GREY, None)
    check_result(torch.zeros(1, 3, 8, 8), np.zeros_like(GREY), None)
    check_result(torch.zeros(1, 3, 8, 8), np.full_like(GREY, 3), None)  # nearly black
    for value in (torch.inf, -torch.inf, torch.nan):
        one[0, 2, 7, 7] = value
        with pytest.raises(FloatingPointError, match="is not finite"):
            check_result(one, GREY, None)
