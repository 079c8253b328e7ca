"""MDSR (CVPRW 2017)."""

import math

import pytest
import torch
from torch import nn

from rcan_plugin.archs.layers import DIV2K_MEAN
from rcan_plugin.archs.mdsr_arch import MDSRArch
from tests.archs.equations import shuffled
from tests.archs.network_tests import NetworkTests, count, image, meta, shapes, stir, total, weight_and_bias
from tests.archs.small import SMALL

BRANCHES = ("x2", "x3", "x4")


class TestMDSR(NetworkTests):
    network = MDSRArch
    papers_arguments = {
        "num_feat": 64, "num_block": 80, "scales": (2, 3, 4), "img_range": 255.0, "rgb_mean": DIV2K_MEAN
    }  # fmt: skip
    channels = 3
    constants = ("mean.mean",)
    keys = weight_and_bias(
        "conv_first",
        *(f"before.{branch}.{block}.conv{i}" for branch in BRANCHES for block in (0, 1) for i in (1, 2)),
        *(f"body.{block}.conv{i}" for block in (0, 1) for i in (1, 2)),
        "body.2",
        "upsample.x2.0",
        "upsample.x3.0",
        "upsample.x4.0",
        "upsample.x4.2",
        *(f"conv_last.{branch}" for branch in BRANCHES),
    )
    variants = ({"shared_tail": True},)

    def small(self, upscale=2, **arguments):
        """It has all scales at once, and a mean for each channel."""
        torch.manual_seed(0)
        mean = (DIV2K_MEAN * 2)[: arguments.get("num_in_ch", 3)]
        return MDSRArch(**{"rgb_mean": mean, **SMALL["MDSRArch"], **arguments})

    def call(self, net, x, upscale):
        return net(x, upscale)

    def export_inputs(self, x):
        return (x, 2)

    def parameters_used_at(self, net, upscale):
        used = super().parameters_used_at(net, upscale)
        return {name: tensor for name, tensor in used.items() if ".x3." not in name and ".x4." not in name}

    def equations(self, w, x, upscale, **_):
        def block(name, x):
            return x + w.conv(f"{name}.conv2", w.conv(f"{name}.conv1", x).clamp(min=0))

        mean = torch.tensor((DIV2K_MEAN * 2)[: x.shape[1]]).double().view(-1, 1, 1)
        branch = f"x{upscale}"
        x = w.conv("conv_first", (x - mean) * 255)
        for i in range(2):
            x = block(f"before.{branch}.{i}", x)
        skip = x
        for i in range(2):
            x = block(f"body.{i}", x)
        x = skip + w.conv("body.2", x)
        for i in range(int(math.log2(upscale))):  # once for 3
            x = shuffled(w.conv(f"upsample.{branch}.{2 * i}", x), 3 if upscale == 3 else 2)
        return [w.conv(f"conv_last.{branch}", x) / 255 + mean]

    def test_a_step_trains_one_branch(self):
        net = self.small()
        total(net(image(2, 3, 6, 6), 3)).backward()
        trained = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
        assert trained == {name for name, _ in net.named_parameters() if ".x2." not in name and ".x4." not in name}

    @pytest.mark.parametrize("scales", [(2,), [8, 2], (1, 3)])
    def test_the_scales_are_those_given(self, scales):
        net = self.small(scales=scales).eval()
        assert net.scales == tuple(scales)
        for scale in scales:
            assert net(image(1, 3, 4, 5), scale).shape == (1, 3, 4 * scale, 5 * scale)

    @pytest.mark.parametrize("scale", [1, 5, 8])
    def test_another_scale_is_an_error(self, scale):
        with pytest.raises(ValueError, match=f"MDSRArch: scale {scale}: this network has 2, 3, 4"):
            self.small()(image(1, 3, 6, 6), scale)

    def test_the_range_inside_is_img_range(self):
        """Range 1 with the first layer's weights times 255 is the same; a last layer of zeros leaves the mean."""
        net = stir(self.small(img_range=255.0)).eval()
        x = image(1, 3, 5, 5)
        other = self.small(img_range=1.0).eval()
        state = net.state_dict()
        state["conv_first.weight"] = state["conv_first.weight"] * 255
        state |= {key: value / 255 for key, value in state.items() if key.startswith("conv_last.")}
        other.load_state_dict(state)
        with torch.no_grad():
            torch.testing.assert_close(other(x, 2), net(x, 2), rtol=1e-5, atol=1e-5)
            for last in net.conv_last.values():
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
            torch.testing.assert_close(net(x, 3), torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1).expand(1, 3, 15, 15))


# Published: 8.0M with 80 blocks, 3.2M with 16, rounded, biases included; without `shared_tail` the difference is two
# more convolutions 3x3 from 64 to 3 channels.
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, 7_957_449),
        ({"shared_tail": True}, 7_953_987),
        ({"num_block": 16}, 3_230_665),
        ({"num_block": 16, "shared_tail": True}, 3_227_203),
    ],
)
def test_parameter_counts(arguments, expected):
    assert sum(count(MDSRArch, **arguments)) == expected


def test_layers():
    net = meta(MDSRArch, num_block=2)
    assert tuple(net.before) == tuple(net.upsample) == tuple(net.conv_last) == BRANCHES
    for before in net.before.values():
        assert shapes(before) == [(64, 64, 5, 5)] * 4
    assert shapes(net.body) == [(64, 64, 3, 3)] * 5
    assert [shapes(net.upsample[branch]) for branch in BRANCHES] == [
        [(256, 64, 3, 3)],
        [(576, 64, 3, 3)],
        [(256, 64, 3, 3)] * 2,
    ]
    assert len(set(net.conv_last.values())) == 3
    assert len(set(meta(MDSRArch, num_block=1, shared_tail=True).conv_last.values())) == 1


def test_initial_weights_are_torchs_default():
    """Uniform up to 1 / sqrt(inputs), biases too: as in the authors' code."""
    torch.manual_seed(0)
    net = MDSRArch(num_feat=32, num_block=1)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            limit = 1 / math.sqrt(math.prod(module.weight.shape[1:]))
            assert 0.98 * limit < module.weight.abs().max() <= limit, name
            assert 0 < module.bias.abs().max() <= limit, name
            assert module.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.1), name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scales": []}, r"MDSRArch: scales is \[\]; expected a list"),
        ({"scales": 3}, "MDSRArch: scales is 3; expected a list"),
        ({"scales": (2, 0)}, r"MDSRArch: scales is \(2, 0\): .*scale is 0; expected a whole number"),
        ({"scales": (2, 5)}, r"MDSRArch: scales is \(2, 5\): upscale is 5; expected 3 or a power"),
        ({"img_range": 0}, "MDSRArch: img_range is 0; expected a positive number"),
        ({"num_in_ch": 1}, r"MDSRArch: rgb_mean is \(0.4488, 0.4371, 0.404\); expected 1 values"),
        ({"rgb_mean": [0.5]}, r"MDSRArch: rgb_mean is \[0.5\]; expected 3 values"),
    ],
)
def test_errors_name_the_argument_and_its_value(arguments, words):
    with pytest.raises(ValueError, match=words):
        MDSRArch(**arguments)
