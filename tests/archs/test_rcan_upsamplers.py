"""RCANArch with each kind of upsampler."""

import itertools
import logging

import pytest
import torch

from rcan_plugin.archs.rcan_arch import RCANArch
from tests.archs.network_tests import count, image
from tests.archs.rcan import small_rcan


@pytest.mark.parametrize("upscale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["subpixel", "transposed", "nearest", "direct"])
def test_every_kind_of_upsampler_gives_the_size(kind, upscale):
    net = small_rcan(upsampler=kind, upscale=upscale).eval()
    with torch.no_grad():
        assert net(image(2, 3, 4, 5)).shape == (2, 3, 4 * upscale, 5 * upscale)


@pytest.mark.parametrize(
    ("kind", "upscale", "keys"),
    [
        ("subpixel", 4, ["0", "2"]),
        ("subpixel", 3, ["0"]),
        ("transposed", 8, ["0", "1", "2"]),
        ("transposed", 3, ["0"]),
        ("nearest", 4, ["1", "3"]),
        ("nearest", 3, ["1"]),
    ],
)
def test_keys_of_the_upsamplers(kind, upscale, keys):
    state = small_rcan(upsampler=kind, upscale=upscale).state_dict()
    upsampler_keys = [key for key in state if key.startswith("upsample.")]
    assert upsampler_keys == [f"upsample.{number}.{part}" for number in keys for part in ("weight", "bias")]
    others = [key for key in small_rcan().state_dict() if not key.startswith("upsample.")]
    assert [key for key in state if not key.startswith("upsample.")] == others


@pytest.mark.parametrize(
    ("kind", "upscale", "weights"),
    # In 64 channels: convolution 3x3 to 256 or 576; filters 4x4 or 9x9; convolution 3x3 to 64; and biases.
    [
        ("subpixel", 2, 9 * 64 * 256 + 256),
        ("subpixel", 3, 9 * 64 * 576 + 576),
        ("transposed", 2, 16 * 64 * 64 + 64),
        ("transposed", 3, 81 * 64 * 64 + 64),
        ("transposed", 4, 2 * (16 * 64 * 64 + 64)),
        ("nearest", 3, 9 * 64 * 64 + 64),
        ("nearest", 8, 3 * (9 * 64 * 64 + 64)),
        # To 3 x 16 channels, without the convolution from 64 to 3 channels.
        ("direct", 4, 9 * 64 * 48 + 48 - (9 * 64 * 3 + 3)),
    ],
)
def test_parameters_of_the_upsamplers(kind, upscale, weights):
    body = {"num_group": 1, "num_block": 1}
    without_upsampler = sum(count(RCANArch, upscale=1, **body))
    assert sum(count(RCANArch, upsampler=kind, upscale=upscale, **body)) == without_upsampler + weights


@pytest.mark.parametrize(("upscale", "unshuffle"), [(2, 1), (5, 1), (2, 2)])
def test_the_direct_upsampler_is_one_convolution_and_pixel_shuffle(upscale, unshuffle):
    factor = upscale * unshuffle
    net = small_rcan(
        upsampler="direct", upscale=upscale, unshuffle=unshuffle, img_range=2, rgb_mean=[0.5, 0.25, 0]
    ).eval()
    assert [key for key in net.state_dict() if key.startswith(("upsample", "conv_last"))] == [
        "upsample.0.weight",
        "upsample.0.bias",
    ]
    deep = image(1, net.conv_first.out_channels, 3, 4)
    with torch.no_grad():
        out = net.tail(deep)
        # Pixel (y, x) of output channel c is channel c * factor**2 + (y % factor) * factor + x % factor.
        convolved = torch.nn.functional.conv2d(deep, *net.upsample[0].parameters(), padding=1)
    expected = torch.empty(1, 3, 3 * factor, 4 * factor)
    for c, y, x in itertools.product(range(3), range(3 * factor), range(4 * factor)):
        channel = c * factor**2 + (y % factor) * factor + x % factor
        expected[0, c, y, x] = convolved[0, channel, y // factor, x // factor] / 2 + [0.5, 0.25, 0][c]
    assert torch.equal(out, expected)


def test_weights_go_on_to_another_kind_of_upsampler(caplog):
    source, net = small_rcan(upscale=2), small_rcan(upscale=2, upsampler="nearest")
    with caplog.at_level(logging.INFO, logger="basicsr"):
        net.load_state_dict(source.state_dict(), strict=False)
    assert "not in the file: upsample.1.bias, upsample.1.weight" in caplog.text
    assert torch.equal(net.conv_last.weight, source.conv_last.weight)


@pytest.mark.parametrize("upscale", [2, 3, 8])
@pytest.mark.parametrize("kind", ["bicubic", "", None])
def test_an_unknown_kind_of_upsampler_is_refused(kind, upscale):
    words = f"RCANArch: upsampler is {kind!r}; expected one of subpixel, transposed, nearest, direct"
    with pytest.raises(ValueError, match=words):
        small_rcan(upsampler=kind, upscale=upscale)
