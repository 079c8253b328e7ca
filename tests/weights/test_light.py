"""The weights that come with the project."""

import numpy as np
import pytest
import torch
from skimage import data

from rcan_plugin import weights
from rcan_plugin.degradations import degrade
from rcan_plugin.inference import Upscaler
from rcan_plugin.resampling.bicubic import imresize

PSNR = {2: (31.296, 32.389), 3: (29.212, 29.908), 4: (27.990, 28.794)}
"""Of RGB in dB, by bicubic and by the network, on 192 x 192 pixels of a photograph; as first measured."""


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((image.astype(float) - reference) ** 2)))


@pytest.mark.parametrize("scale", weights.LIGHT_SCALES)
def test_the_light_rcan_upscales_a_photograph(scale):
    hr = data.chelsea()[60:252, 130:322]
    lr = degrade(hr, scale, "BI")
    torch.manual_seed(0)
    upscaler = Upscaler(weights.light(scale), device="cpu", precision="fp32")
    assert upscaler.scale == scale
    bicubic, network = imresize(lr, scale), upscaler(lr)
    assert network.dtype == np.uint8
    assert (psnr(bicubic, hr), psnr(network, hr)) == pytest.approx(PSNR[scale], abs=0.01)


def test_files_say_which_network_they_hold():
    for scale in weights.LIGHT_SCALES:
        read = weights.read(weights.light(scale))
        told = {name: read.arguments[name] for name in ("num_group", "num_block", "num_feat", "upscale", "upsampler")}
        assert told == {"num_group": 3, "num_block": 4, "num_feat": 32, "upscale": scale, "upsampler": "direct"}
        assert (read.arguments["channel_attention"], read.remarks) == (False, [])


@pytest.mark.parametrize("scale", [1, 8, None, "2"])
def test_other_scales_are_refused(scale):
    with pytest.raises(ValueError, match=f"scale is {scale!r}; the light RCAN has 2, 3, 4."):
        weights.light(scale)
