"""RCANArch with other activations, activations everywhere, and unshuffled input."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rcan_plugin.archs.layers import ACTIVATIONS, padded_to_multiple
from tests.archs.network_tests import image
from tests.archs.rcan import small_rcan

FUNCTIONS = {
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": F.elu,
    "silu": lambda x: x * torch.sigmoid(x),
    "gelu": F.gelu,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_activation_is_in_the_blocks_alone(name):
    block = small_rcan(activation=name).body[0].residual_group[0].double()
    conv1, _, conv2, attention = block.rcab
    x = 3 * image(1, 8, 5, 6).double() - 1.5
    res = conv2(FUNCTIONS[name](conv1(x)))
    torch.testing.assert_close(block(x), x + res * attention(res))
    assert isinstance(attention.attention[2], nn.ReLU)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activate_all_adds_attention_and_each_step_of_the_upsampler(name):
    net = small_rcan(activation=name, activate_all=True, upscale=4).double()
    attention = net.body[1].residual_group[0].rcab[3].attention
    x = 3 * image(2, 8, 5, 6).double() - 1.5
    squeezed = FUNCTIONS[name](attention[1](x.mean(dim=(2, 3), keepdim=True)))
    torch.testing.assert_close(attention(x), attention[3](squeezed).sigmoid())
    upsampled = x
    for conv in (net.upsample[0], net.upsample[3]):
        upsampled = FUNCTIONS[name](F.pixel_shuffle(conv(upsampled), 2))
    torch.testing.assert_close(net.upsample(x), upsampled)
    assert len(net.upsample) == 6


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 6), (1, 1), (2, 1), (1, 13), (3, 3)])
@pytest.mark.parametrize(("unshuffle", "upscale"), [(2, 2), (4, 1), (2, 1), (3, 1)])
def test_unshuffled_input_of_any_size(unshuffle, upscale, size):
    net, x = small_rcan(unshuffle=unshuffle, upscale=upscale).eval(), image(1, 3, *size)
    height, width = size
    with torch.no_grad():
        out = net(x)
        assert out.shape == (1, 3, height * upscale, width * upscale)
        whole = net(padded_to_multiple(x, unshuffle))
    assert torch.equal(out, whole[..., : height * upscale, : width * upscale])


def test_padding_reflects_and_repeats_the_last_pixel_where_it_cannot():
    x = torch.arange(1.0, 7.0).view(1, 1, 2, 3)
    assert padded_to_multiple(x, 2).tolist() == [[[[1, 2, 3, 2], [4, 5, 6, 5]]]]
    assert padded_to_multiple(x[..., :1], 2).tolist() == [[[[1, 1], [4, 4]]]]
    assert padded_to_multiple(x[..., :2], 2).tolist() == [[[[1, 2], [4, 5]]]]


def test_unshuffling_is_the_same_network_on_the_unshuffled_image():
    net, x = small_rcan(unshuffle=2, upscale=2, rgb_mean=[0.1, 0.2, 0.3]).eval(), image(1, 3, 6, 8)
    inner = small_rcan(num_in_ch=12, rgb_mean=[value for value in (0.1, 0.2, 0.3) for _ in range(4)], upscale=4).eval()
    inner.load_state_dict(net.state_dict())
    inner.out_mean = net.out_mean
    torch.testing.assert_close(net(x), inner(F.pixel_unshuffle(x, 2)))


def test_all_variants_at_once_compile_and_checkpoint_with_the_same_gradients():
    variant = {"activation": "silu", "activate_all": True, "res_scale": 0.1, "unshuffle": 2, "upscale": 2}
    x, gradients = image(1, 3, 7, 8), []
    for use_checkpoint in (False, True):
        net = small_rcan(**variant, num_group=1, num_block=1, use_checkpoint=use_checkpoint).train()
        (net(x) ** 2).mean().backward()
        gradients.append([parameter.grad for parameter in net.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    with torch.no_grad():
        compiled = torch.compile(net.eval(), fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), net(x), rtol=0, atol=2e-6)


def test_unshuffled_input_is_exported_for_all_multiples():
    net = small_rcan(unshuffle=2, upscale=2, num_group=1, num_block=1).eval()
    height, width = (2 * torch.export.Dim(name, min=2, max=64) for name in ("height", "width"))
    exported = torch.export.export(net, (image(1, 3, 10, 12),), dynamic_shapes=({2: height, 3: width},)).module()
    for size in ((8, 8), (12, 6)):
        assert torch.equal(exported(image(1, 3, *size)), net(image(1, 3, *size)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"activation": "mish"}, "RCANArch: activation is 'mish'; expected one of relu, leaky_relu, elu, silu, gelu"),
        ({"unshuffle": 0}, "RCANArch: unshuffle is 0; expected a whole number"),
        ({"unshuffle": 2, "upscale": 3}, r"upscale is 6; .* It is upscale 3 times unshuffle 2"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        small_rcan(**arguments)
