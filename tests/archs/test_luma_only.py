"""LumaOnly: colour images through a network of one channel."""

import copy
import inspect

import numpy as np
import pytest
import torch
from basicsr.archs import build_network
from basicsr.utils.color_util import rgb2ycbcr
from torch import nn

from rcan_plugin.archs import NETWORKS
from rcan_plugin.archs.drcn_arch import DRCNArch
from rcan_plugin.archs.luma_only import LumaOnly
from rcan_plugin.archs.mdsr_arch import MDSRArch
from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.archs.vdsr_arch import VDSRArch
from rcan_plugin.degradations import imresize
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample
from tests.archs.network_tests import image
from tests.archs.small import SMALL

OPTIONS = {"type": "VDSRArch", "num_feat": 4, "num_layers": 3, "upscale": 3}


class Plain(nn.Module):
    """Enlarges by bicubic, and keeps what it was given."""

    num_in_ch = 1

    def __init__(self, upscale: int) -> None:
        super().__init__()
        self.upscale = upscale
        self.bicubic = BicubicUpsample(upscale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.given = x
        return self.bicubic(x)


def vdsr(upscale: int = 3) -> VDSRArch:
    """Changes the image by much."""
    torch.manual_seed(0)
    return VDSRArch(num_feat=4, num_layers=3, upscale=upscale).eval()


def as_array(x: torch.Tensor) -> np.ndarray:
    return x[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("upscale", [1, 2, 3, 4])
def test_with_bicubic_inside_it_is_bicubic_of_every_channel(upscale):
    x = image(1, 3, 7, 9)
    out = LumaOnly(Plain(upscale))(x)
    assert out.shape == (1, 3, 7 * upscale, 9 * upscale)
    np.testing.assert_allclose(as_array(out), imresize(as_array(x).astype(np.float64), upscale), rtol=0, atol=3e-6)


def test_the_network_gets_basicsrs_luma():
    """In the range that a network of the papers was trained on: 16/255 to 235/255."""
    x, inner = image(1, 3, 8, 6), Plain(2)
    x[0, :, 0, 0], x[0, :, 0, 1] = 0, 1
    LumaOnly(inner)(x)
    expected = rgb2ycbcr(as_array(x), y_only=True)
    np.testing.assert_allclose(inner.given[0, 0].numpy(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(inner.given[0, 0, 0, :2], torch.tensor([16 / 255, 235 / 255]))


def test_luma_is_the_networks_and_chroma_bicubic():
    x, net = image(2, 3, 6, 8), vdsr()
    with torch.no_grad():
        out = LumaOnly(net)(x)
        for i in range(2):
            before, after = (rgb2ycbcr(as_array(batch[i : i + 1])) for batch in (x, out))
            luma = net(torch.from_numpy(before[None, None, :, :, 0].copy()).float())
            np.testing.assert_allclose(after[..., 0], luma[0, 0].numpy(), rtol=0, atol=3e-6)
            enlarged = imresize(before.astype(np.float64), 3)
            np.testing.assert_allclose(after[..., 1:], enlarged[..., 1:], rtol=0, atol=3e-6)
            assert np.abs(after[..., 0] - enlarged[..., 0]).max() > 0.05


def test_a_gray_image_stays_gray():
    x = image(1, 1, 6, 6).expand(1, 3, 6, 6)
    with torch.no_grad():
        out = LumaOnly(vdsr())(x)
    torch.testing.assert_close(out, out[:, :1].expand_as(out), rtol=0, atol=2e-6)
    assert out.std() > 0.05


def test_of_several_images_the_last_is_taken():
    torch.manual_seed(0)
    inner = DRCNArch(num_feat=4, num_recursion=3, upscale=2)
    with torch.no_grad():
        inner.weights.copy_(torch.tensor([0.2, 0.5, -0.1]))  # none of the predictions is the final image
        net, x = LumaOnly(inner), image(1, 3, 5, 6)
        training, evaluation = net.train()(x), net.eval()(x)
    assert torch.equal(training, evaluation)


def test_weights_go_in_and_out_under_the_networks_keys():
    inner = vdsr()
    net = LumaOnly(inner)
    assert list(net.state_dict()) == list(inner.state_dict())
    trained = {key: torch.randn_like(value) for key, value in inner.state_dict().items()}
    answer = net.load_state_dict(trained, strict=True)
    assert not answer.missing_keys
    assert not answer.unexpected_keys
    for key, value in trained.items():
        assert torch.equal(net.network.state_dict()[key], value), key
    with pytest.raises(RuntimeError, match="Missing key"):
        net.load_state_dict({key: value for key, value in trained.items() if key != "convs.0.weight"})


def test_what_is_trained_is_the_networks():
    net = LumaOnly(vdsr())
    assert [name for name, _ in net.named_parameters()] == [f"network.{name}" for name, _ in vdsr().named_parameters()]
    net(image(1, 3, 5, 5)).pow(2).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in net.parameters())


def test_constants_are_not_broadcast():
    net = LumaOnly(vdsr())
    buffers = [name for name, _ in net.named_buffers()]
    assert sorted(buffers) == ["bicubic.taps", "network.bicubic.taps", "offset", "to_rgb", "to_ycbcr"]
    assert net._ddp_params_and_buffers_to_ignore == buffers


def test_colours_keep_their_precision_under_autocast():
    x, net = image(1, 3, 6, 6), LumaOnly(Plain(2))
    with torch.autocast("cpu", torch.bfloat16):
        out = net(x)
    assert out.dtype == torch.float32
    assert torch.equal(out, net(x))


def test_luma_of_lower_precision_is_taken():
    """As a network gives it under autocast."""

    class Rounded(Plain):
        def forward(self, x):
            return super().forward(x).bfloat16()

    x = image(1, 3, 6, 6)
    out = LumaOnly(Rounded(2))(x)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, LumaOnly(Plain(2))(x), rtol=0, atol=5e-3)  # bfloat16 has 8 bits


def test_it_is_built_from_options():
    options = {"type": "LumaOnly", "network": OPTIONS}
    before = copy.deepcopy(options)
    torch.manual_seed(0)
    built = build_network(options).eval()
    assert options == before
    assert isinstance(built, LumaOnly)
    assert isinstance(built.network, VDSRArch)
    assert (built.upscale, built.network.upscale, len(built.network.convs)) == (3, 3, 3)
    x = image(1, 3, 5, 6)
    assert torch.equal(built(x), LumaOnly(vdsr())(x))


LUMA_NETWORKS = [
    network.__name__
    for network in NETWORKS
    if network is not LumaOnly and inspect.signature(network).parameters["num_in_ch"].default == 1
]


def test_networks_of_the_papers_before_edsr_are_luma_networks():
    assert len(LUMA_NETWORKS) == 8
    assert "VDSRArch" in LUMA_NETWORKS
    assert "RCANArch" not in LUMA_NETWORKS


@pytest.mark.parametrize("name", LUMA_NETWORKS)
def test_every_luma_network_can_be_inside(name):
    net = build_network({"type": "LumaOnly", "network": {"type": name, "upscale": 4, **SMALL[name]}}).eval()
    assert type(net.network).__name__ == name
    with torch.no_grad():
        assert net(image(1, 3, 5, 6)).shape == (1, 3, 20, 24)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (VDSRArch(num_in_ch=3, num_feat=4, num_layers=2), "VDSRArch has upscale 1 and num_in_ch 3"),
        (MDSRArch(num_feat=4, num_block=1), "MDSRArch has upscale None and num_in_ch 3"),
        (RCANArch(num_feat=4, num_group=1, num_block=1, squeeze_factor=2), "RCANArch has upscale 4 and num_in_ch"),
        (nn.Conv2d(1, 1, 3), "Conv2d has upscale None and num_in_ch None"),
        ({**OPTIONS, "num_in_ch": 3}, "VDSRArch has upscale 3 and num_in_ch 3"),
    ],
)
def test_other_networks_are_refused(network, words):
    with pytest.raises(ValueError, match=f"LumaOnly: {words}.*: expected a network of one channel"):
        LumaOnly(network)


@pytest.mark.parametrize("channels", [1, 4])
def test_an_input_of_other_channels_is_refused(channels):
    with pytest.raises(ValueError, match=f"LumaOnly: the input has {channels} channels, num_in_ch is 3"):
        LumaOnly(Plain(2))(image(1, channels, 4, 4))
