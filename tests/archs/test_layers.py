"""What two or more networks share: small modules, upsamplers, initial weights, checks."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rcan_plugin.archs.layers import (
    DIV2K_MEAN,
    MeanShift,
    PreActivated,
    ResBlock,
    check_channels,
    check_whole_numbers,
    conv,
    he,
    initialise,
    keep_buffers_apart,
    upsampler,
)
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample


def image(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- small modules


def test_mean_shift():
    shift = MeanShift(DIV2K_MEAN, 255)
    assert DIV2K_MEAN == (0.4488, 0.4371, 0.4040)  # the authors' model/rcan.py
    x = torch.ones(1, 3, 2, 2)
    expected = [255 * 0.5512, 255 * 0.5629, 255 * 0.5960]
    torch.testing.assert_close(shift.subtract(x)[0, :, 1, 0], torch.tensor(expected))
    torch.testing.assert_close(shift.add(shift.subtract(x)), x)
    torch.testing.assert_close(shift.add(torch.zeros_like(x))[0, :, 0, 1], torch.tensor(DIV2K_MEAN))
    assert not shift.state_dict()


def test_pre_activation_comes_in_the_order_of_its_name():
    torch.manual_seed(0)
    block = PreActivated(conv(2, 3, 3)).eval()
    block.norm.running_mean.copy_(torch.tensor([0.3, -0.2]))
    block.norm.running_var.copy_(torch.tensor([2.0, 0.5]))
    with torch.no_grad():
        block.norm.weight.copy_(torch.tensor([1.5, 0.7]))
        block.norm.bias.copy_(torch.tensor([0.1, -0.1]))
    x = torch.randn(2, 2, 5, 4)
    first = (x[:, 0] - 0.3) / math.sqrt(2.0 + 1e-5) * 1.5 + 0.1
    second = (x[:, 1] + 0.2) / math.sqrt(0.5 + 1e-5) * 0.7 - 0.1
    active = torch.stack([first, second], dim=1).clamp(min=0)
    torch.testing.assert_close(block(x), F.conv2d(active, block.conv.weight, block.conv.bias, padding=1))


def test_pre_activation_without_normalisation():
    block = PreActivated(conv(2, 3, 1), batch_norm=False)
    assert list(block.state_dict()) == ["conv.weight", "conv.bias"]
    x = torch.randn(1, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(x), F.conv2d(x.clamp(min=0), block.conv.weight, block.conv.bias))


@pytest.mark.parametrize("size", [3, 5])
def test_residual_block(size):
    block, x = ResBlock(4, size), image(1, 4, 6, 7).float() - 0.5
    first, second = block.conv1, block.conv2
    assert first.weight.shape == second.weight.shape == (4, 4, size, size)
    inner = F.conv2d(x, first.weight, first.bias, padding=size // 2).clamp(min=0)
    torch.testing.assert_close(block(x), x + F.conv2d(inner, second.weight, second.bias, padding=size // 2))


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_convolutions_keep_the_size(size):
    assert conv(2, 3, size)(torch.zeros(1, 2, 4, 5)).shape == (1, 3, 4, 5)
    assert conv(2, 3, size, bias=False).bias is None


# -- upsamplers

LAYERS = {
    ("subpixel", 1): [],
    ("subpixel", 2): [("Conv2d", (16, 4, 3, 3)), ("PixelShuffle", 2)],
    ("subpixel", 3): [("Conv2d", (36, 4, 3, 3)), ("PixelShuffle", 3)],
    ("subpixel", 4): [("Conv2d", (16, 4, 3, 3)), ("PixelShuffle", 2)] * 2,
    ("subpixel", 8): [("Conv2d", (16, 4, 3, 3)), ("PixelShuffle", 2)] * 3,
    ("transposed", 2): [("ConvTranspose2d", (4, 4, 4, 4))],
    ("transposed", 3): [("ConvTranspose2d", (4, 4, 9, 9))],
    ("transposed", 4): [("ConvTranspose2d", (4, 4, 4, 4))] * 2,
    ("transposed", 8): [("ConvTranspose2d", (4, 4, 4, 4))] * 3,
    ("nearest", 2): [("Upsample", 2.0), ("Conv2d", (4, 4, 3, 3))],
    ("nearest", 3): [("Upsample", 3.0), ("Conv2d", (4, 4, 3, 3))],
    ("nearest", 4): [("Upsample", 2.0), ("Conv2d", (4, 4, 3, 3))] * 2,
    ("nearest", 8): [("Upsample", 2.0), ("Conv2d", (4, 4, 3, 3))] * 3,
}


@pytest.mark.parametrize(("kind", "scale"), LAYERS)
def test_upsamplers_layer_by_layer(kind, scale):
    def description(layer):
        if isinstance(layer, nn.PixelShuffle):
            return layer.upscale_factor
        return float(layer.scale_factor) if isinstance(layer, nn.Upsample) else tuple(layer.weight.shape)

    layers = upsampler(scale, 4, kind)
    assert [(type(layer).__name__, description(layer)) for layer in layers] == LAYERS[kind, scale]
    assert layers(torch.zeros(2, 4, 5, 3)).shape == (2, 4, 5 * scale, 3 * scale)


@pytest.mark.parametrize("scale", [2, 3])
def test_each_pixel_of_a_transposed_convolution_has_as_many_taps(scale):
    """With weights of 1 and an input of 1 the output counts taps: no checkerboard."""
    layers = upsampler(scale, 1, "transposed")
    nn.init.ones_(layers[0].weight)
    nn.init.zeros_(layers[0].bias)
    counts = layers(torch.ones(1, 1, 7, 7))[0, 0, 2 * scale : -2 * scale, 2 * scale : -2 * scale]
    taps = {2: 2, 3: 3}[scale] ** 2
    assert torch.equal(counts, torch.full_like(counts, taps))


@pytest.mark.parametrize("scale", [2, 3])
def test_nearest_repeats_pixels_before_the_convolution(scale):
    layers, x = upsampler(scale, 2, "nearest"), image(1, 2, 4, 3).float()
    repeated = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    torch.testing.assert_close(layers(x), F.conv2d(repeated, layers[1].weight, layers[1].bias, padding=1))


@pytest.mark.parametrize("scale", [5, 6, 7, 9, 12])
def test_upsamplers_of_other_scales_are_refused(scale):
    with pytest.raises(ValueError, match=f"upscale is {scale}; expected 3 or a power of two"):
        upsampler(scale, 4)


def test_upsamplers_of_an_unknown_kind_are_refused():
    with pytest.raises(ValueError, match="upsampler is 'bicubic'; expected one of subpixel, transposed, nearest"):
        upsampler(2, 4, "bicubic")


# -- initial weights


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.Conv2d(64, 32, 3), 9 * 64),
        (nn.Conv2d(8, 5, (3, 1)), 3 * 8),
        (nn.Conv2d(7, 1, 1), 7),
    ],
)
def test_he_counts_the_inputs(layer, inputs):
    assert he(layer) == pytest.approx(math.sqrt(2 / inputs), rel=1e-12)


def test_he_keeps_the_size_of_features():
    """What it is for (the paper's equation 10): through ReLU and convolutions the mean square stays."""
    torch.manual_seed(0)
    net = nn.Sequential(*(layer for _ in range(3) for layer in (nn.ReLU(), nn.Conv2d(400, 400, 1))))
    initialise(net, he)
    x = torch.randn(1, 400, 16, 16)
    assert 0.8 < (net(x) ** 2).mean() / (x**2).mean() < 1.25


def test_initialise_takes_all_convolutions_and_nothing_else():
    net = nn.ModuleDict(
        {
            "plain": nn.Conv2d(16, 16, 5),
            "transposed": nn.ConvTranspose2d(16, 16, 5),
            "bare": nn.Conv2d(16, 16, 5, bias=False),
            "slope": nn.PReLU(16),
            "norm": nn.BatchNorm2d(16),
        }
    )
    stds = {net["plain"]: 0.5, net["transposed"]: 0.02, net["bare"]: 3.0}
    torch.manual_seed(0)
    initialise(net, lambda module: stds[module])
    for layer, std in stds.items():
        assert layer.weight.std().item() == pytest.approx(std, rel=0.05)  # 6,400 draws: 1 % is one standard deviation
        assert abs(layer.weight.mean().item()) < 0.05 * std
    assert torch.equal(net["plain"].bias, torch.zeros(16))
    assert torch.equal(net["transposed"].bias, torch.zeros(16))
    assert torch.equal(net["slope"].weight, torch.full((16,), 0.25))
    assert torch.equal(net["norm"].weight, torch.ones(16))


# -- checks


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None, True, False])
def test_whole_numbers_names_network_argument_and_value(value):
    with pytest.raises(ValueError) as error:
        check_whole_numbers("SomeNet", fine=1, other=value)
    assert all(part in str(error.value) for part in ("SomeNet", "other", repr(value), "whole number of 1 or more"))


def test_whole_numbers_takes_what_is_one():
    check_whole_numbers("SomeNet", a=1, b=1000)


class SomeNet(nn.Module):
    pass


@pytest.mark.parametrize(("channels", "expected", "wrap"), [(3, 1, True), (1, 3, False), (4, 3, False)])
def test_an_input_of_other_channels_is_refused_with_a_remedy(channels, expected, wrap):
    with pytest.raises(ValueError) as error:
        check_channels(SomeNet(), torch.zeros(1, channels, 2, 2), expected)
    assert str(error.value).startswith(f"SomeNet: the input has {channels} channels, num_in_ch is {expected}: ")
    assert ("wrap the network in LumaOnly" in str(error.value)) == wrap


def test_an_input_of_the_right_channels_passes():
    check_channels(SomeNet(), torch.zeros(1, 3, 2, 2), 3)


def test_buffers_kept_apart_are_those_of_all_modules():
    net = nn.Sequential(BicubicUpsample(2), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    keep_buffers_apart(net)
    assert net._ddp_params_and_buffers_to_ignore == [
        "0.taps",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    ]


def test_distributed_training_does_not_broadcast_buffers_kept_apart():
    net = nn.Sequential(BicubicUpsample(2), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        assert len(nn.parallel.DistributedDataParallel(net).modules_buffers) == 4
        keep_buffers_apart(net)
        assert nn.parallel.DistributedDataParallel(net).modules_buffers == []
    finally:
        torch.distributed.destroy_process_group()


def test_weights_without_values_are_not_initialised(monkeypatch):
    """On the meta device that makes torch import its compiler, which takes seconds."""
    monkeypatch.setattr(nn.init, "normal_", None)
    with torch.device("meta"):
        initialise(nn.Conv2d(2, 3, 3), he)
    with pytest.raises(TypeError):
        initialise(nn.Conv2d(2, 3, 3), he)
