"""Validation measures images: their 8 bits, and BasicSR's metrics in threads."""

import threading

import numpy as np
import pytest
import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils import tensor2img

from rcan_plugin.models.accelerated_model import AcceleratedSRModel
from rcan_plugin.models.validation import THREADS, ValidatingModel, as_image
from tests.models.conftest import PSNR, Images, build

METRICS = {
    "psnr": PSNR,
    "psnr_rgb": {"type": "calculate_psnr", "crop_border": 3, "test_y_channel": False},
    "ssim": {"type": "calculate_ssim", "crop_border": 2, "test_y_channel": True},
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_are_those_of_tensor2img(channels, dtype):
    """With values at the halves, where rounding shows, and beyond black and white."""
    values = torch.cat([torch.arange(-4, 520) / 510, torch.rand(476, generator=torch.Generator().manual_seed(0))])
    tensor = values.repeat(channels).view(1, channels, 10, 100).to(dtype)
    tensor[:, 0] = tensor[:, 0].flip(-1)
    image, expected = as_image(tensor), tensor2img([tensor])
    assert np.array_equal(image, expected) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert image.shape == ((10, 100, 3) if channels == 3 else (10, 100))


def test_psnr_and_ssim_are_measured_in_threads(options, monkeypatch):
    """Some of the later images first; SRModel's figures all the same."""
    opt = options(val={"metrics": METRICS})
    ours, theirs = build(opt), build(opt, SRModel)
    images = Images(sizes=[(12, 9 + number) for number in range(14)])
    measured, eighth = {}, threading.Event()

    def metrics(self, pair, scale):
        number = pair["img"].shape[1] // 2 - 9
        measured[number] = threading.current_thread() is threading.main_thread()
        if 0 < number < THREADS:  # all threads but one wait
            assert eighth.wait(10)
        elif number == 8:
            eighth.set()
        return ValidatingModel._metrics(self, pair, scale)

    monkeypatch.setattr(AcceleratedSRModel, "_metrics", metrics)
    ours.validation(images.loader, 3, None)
    assert measured == {0: True} | dict.fromkeys(range(1, 14), False)
    theirs.nondist_validation(images.loader, 3, None, False)
    assert ours.metric_results == theirs.metric_results


@pytest.mark.parametrize("bad", [0, 2])
def test_an_image_that_cannot_be_measured_ends_the_validation(bad, options, monkeypatch):
    """The first one before the second is read, a later one before figures are logged."""
    model = build(options(val={"metrics": {"psnr": PSNR}}))
    images, read = Images(), []
    images.items[bad]["gt"] = images.items[bad]["gt"][:, :-1]
    monkeypatch.setattr(Images, "__getitem__", lambda self, index: read.append(index) or self.items[index])
    with pytest.raises(AssertionError, match="Image shapes are different"):
        model.validation(images.loader, 3, None)
    assert read == list(range(bad + 1)) and not hasattr(model, "metric_results")
