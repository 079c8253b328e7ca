"""RCANArch without some of its parts."""

import itertools

import pytest
import torch

from rcan_plugin.archs.rcan_arch import RCANArch
from tests.archs.equations import Weights
from tests.archs.network_tests import image, meta
from tests.archs.rcan import rcan_equations, small_rcan
from tests.archs.small import SMALL

SWITCHES = ("long_skip", "short_skip", "channel_attention")
CELLS = [dict(zip(SWITCHES, values, strict=True)) for values in itertools.product((False, True), repeat=3)]
"""The eight networks of the paper's ablation study (table 1)."""


@pytest.fixture(scope="module")
def whole():
    return meta(RCANArch)


# Each of 200 attentions has 64 * 4 + 4 weights and biases down and 4 * 64 + 64 up, 580 in all; a skip has none.
@pytest.mark.parametrize("cell", CELLS)
def test_parts_that_are_left_out_leave_no_parameters(cell, whole):
    net = meta(RCANArch, **cell)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    assert parameters == 15_592_355 - (0 if cell["channel_attention"] else 116_000)
    kept = [key for key in whole.state_dict() if cell["channel_attention"] or ".attention." not in key]
    assert list(net.state_dict()) == kept
    assert len(whole.state_dict()) - len(kept) == (0 if cell["channel_attention"] else 200 * 4)


@pytest.mark.parametrize("res_scale", [1.0, 0.3])
@pytest.mark.parametrize("cell", CELLS)
def test_parts_that_are_left_out_are_left_out(cell, res_scale):
    net, x = small_rcan(upscale=2, res_scale=res_scale, **cell).eval(), image(2, 3, 6, 7)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)  # so that what lies deep counts in the output
        out, w = net(x).double(), Weights(net)
    torch.testing.assert_close(out, rcan_equations(w, x, 2, **cell, res_scale=res_scale), rtol=0, atol=1e-5)
    for switch in SWITCHES:
        if switch != "channel_attention" or cell[switch]:  # without its weights the equations lack them
            other = rcan_equations(w, x, 2, **{**cell, switch: not cell[switch]}, res_scale=res_scale)
            assert (out - other).abs().max() > 1e-3, switch


@pytest.mark.parametrize("cell", CELLS)
def test_parts_that_are_left_out_leave_no_parameter_without_a_gradient(cell):
    for use_checkpoint in (False, True):
        net = small_rcan(upscale=2, use_checkpoint=use_checkpoint, **cell).train()
        (net(image(2, 3, 6, 6)) ** 2).mean().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad.abs().max() > 0, name


def test_all_parts_are_there_by_default():
    torch.manual_seed(0)
    plain, x = RCANArch(**SMALL["RCANArch"]), image(1, 3, 5, 6)
    spelled = small_rcan(long_skip=True, short_skip=True, channel_attention=True, upsampler="subpixel")
    assert torch.equal(plain(x), spelled(x))


def test_without_attention_the_squeeze_factor_is_free():
    net = small_rcan(num_feat=8, squeeze_factor=16, channel_attention=False)
    assert net(image(1, 3, 5, 5)).shape == (1, 3, 20, 20)


def test_a_whole_networks_weights_start_one_without_attention():
    whole, net = small_rcan(), small_rcan(channel_attention=False)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    net.load_state_dict(whole.state_dict(), strict=False)
    for key, tensor in net.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[key]), key
    with pytest.raises(RuntimeError, match="Unexpected key"):
        small_rcan(channel_attention=False).load_state_dict(whole.state_dict())
