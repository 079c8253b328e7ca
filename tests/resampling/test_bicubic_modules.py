"""BicubicUpsample and BicubicDownsample against `imresize`."""

import pytest
import torch
import torch.nn.functional as F

from rcan_plugin.degradations import imresize
from rcan_plugin.resampling.bicubic_modules import BicubicDownsample, BicubicUpsample

SIZES = [(1, 1, 7, 5), (2, 3, 9, 13), (1, 4, 1, 2)]
"""N x C x H x W."""


def image(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_imresize(x: torch.Tensor, factor: float) -> torch.Tensor:
    arrays = [image.permute(1, 2, 0).numpy() for image in x]
    return torch.stack([torch.from_numpy(imresize(array, factor)).permute(2, 0, 1) for array in arrays])


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_enlarging_is_imresize(scale, shape):
    x = image(*shape)
    expected = by_imresize(x, scale)
    enlarged = BicubicUpsample(scale)(x.float())
    assert enlarged.dtype == torch.float32
    assert enlarged.shape == (*shape[:2], shape[2] * scale, shape[3] * scale)
    torch.testing.assert_close(enlarged.double(), expected, rtol=0, atol=2e-6)
    assert expected.std() > 0.1


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("divisor", [1, 2, 3, 4, 8])
def test_reducing_is_imresize(divisor, shape):
    x = image(*shape[:2], shape[2] * divisor, shape[3] * divisor)
    expected = by_imresize(x, 1 / divisor)
    reduced = BicubicDownsample(divisor)(x.float())
    assert reduced.dtype == torch.float32
    assert reduced.shape == shape
    torch.testing.assert_close(reduced.double(), expected, rtol=0, atol=2e-6)
    assert expected.std() > 0.02


@pytest.mark.parametrize(
    "resize", [BicubicUpsample(1), BicubicUpsample(2), BicubicUpsample(3), BicubicDownsample(2), BicubicDownsample(4)]
)
def test_resizing_keeps_its_precision_under_autocast(resize):
    x = image(1, 2, 12, 8).float()
    plain = resize(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert F.conv2d(x, torch.ones(1, 2, 1, 1)).dtype == torch.bfloat16  # autocast is at work
        under = resize(x)
    assert under.dtype == torch.float32
    assert torch.equal(under, plain)


def test_bfloat16_comes_out_as_float32():
    x = image(1, 1, 6, 6).bfloat16()
    assert torch.equal(BicubicUpsample(2)(x), BicubicUpsample(2)(x.float()))
    assert torch.equal(BicubicDownsample(2)(x), BicubicDownsample(2)(x.float()))


@pytest.mark.parametrize("resize", [BicubicUpsample(1), BicubicUpsample(3), BicubicDownsample(1), BicubicDownsample(4)])
def test_resizing_has_nothing_to_train_or_to_save(resize):
    assert not list(resize.parameters())
    assert not resize.state_dict()


@pytest.mark.parametrize("resize", [BicubicUpsample(2), BicubicDownsample(2)])
def test_gradients_pass_through_resizing(resize):
    """The sum of the output's gradients comes back: every output pixel is a mean, with weights, of the input's."""
    x = image(1, 2, 6, 4).float().requires_grad_()
    out = resize(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad.sum(), torch.tensor(float(out.numel())), rtol=1e-5, atol=0)


@pytest.mark.parametrize("value", [0, -2, 2.0, 1.5, True, None])
def test_resizing_by_no_whole_number_is_refused(value):
    for module, argument in ((BicubicUpsample, "scale"), (BicubicDownsample, "divisor")):
        with pytest.raises(ValueError, match=f"{module.__name__}: {argument} is {value}; expected a whole number"):
            module(value)
