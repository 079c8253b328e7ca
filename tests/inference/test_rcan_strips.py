"""RCAN in strips: the values of the whole, the features that are kept."""

import numpy as np
import pytest
import torch

from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.inference import memory, rcan_strips
from rcan_plugin.inference.memory import TooLittleMemory
from rcan_plugin.inference.rcan_strips import FeaturesDoNotFit, RCANStrips, rows_per_strip, trunk_in_strips
from rcan_plugin.inference.runner import Runner
from rcan_plugin.inference.upscaler import Upscaler

CPU = torch.device("cpu")
SMALL = {"num_feat": 8, "num_group": 2, "num_block": 2, "squeeze_factor": 4, "upscale": 2}
KINDS = {
    "paper": {},
    "x4": {"upscale": 4},
    "x3, transposed": {"upscale": 3, "upsampler": "transposed"},
    "nearest": {"upsampler": "nearest"},
    "scaled residuals": {"res_scale": 0.1},
    "no long skip": {"long_skip": False},
    "no short skips": {"short_skip": False},
    "no attention": {"channel_attention": False, "res_scale": 0.5},
    "RCAN-it": {"activation": "silu", "activate_all": True, "res_scale": 0.1},
    "unshuffled": {"unshuffle": 2},
    "gray": {"num_in_ch": 1, "num_out_ch": 1},
}


def network(kind: str = "paper") -> RCANArch:
    torch.manual_seed(0)
    net = RCANArch(**SMALL | KINDS[kind]).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.mul_(1.5)  # so that the attention's weights differ
    return net


def image(net: RCANArch, height: int = 21, width: int = 18) -> torch.Tensor:
    return torch.rand(1, net.rgb_mean.shape[1], height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [None, 7])
@pytest.mark.parametrize("kind", [*KINDS])
def test_results_are_those_of_the_whole(kind, size, monkeypatch):
    monkeypatch.setattr(rcan_strips, "LARGEST_TILE", 9)
    net = network(kind)
    strips = RCANStrips(Runner(net), net.upscale, exact=True, size=size)
    lq = image(net)
    at_once = list(strips.strips(lq))
    strips._head_and_trunk_bytes = 1e18  # more than any machine has
    rows = []
    monkeypatch.setattr(
        rcan_strips, "trunk_in_strips", lambda *args: rows.append(args[-1]) or trunk_in_strips(*args[:-1], 5)
    )
    streamed = torch.cat(list(strips.strips(lq)), -2)
    assert len(at_once) > 1 and rows == [size or rows_per_strip(18 // net.unshuffle, 8)]
    expected = net(lq)
    for sr in (torch.cat(at_once, -2), streamed):
        assert sr.shape == expected.shape
        torch.testing.assert_close(sr, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_the_trunk_in_strips(rows):
    net = network()
    lq = image(net)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    expected = net.trunk(net.head(lq))
    deep = trunk_in_strips(net, lq, CPU, rows)
    assert (deep - expected).abs().max() < 1e-6 * expected.abs().max()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_half_precision_is_that_of_the_whole():
    net = network()
    runner = Runner(net, precision=torch.bfloat16, channels_last=True)
    strips = RCANStrips(runner, 2, exact=True, size=16)
    strips._head_and_trunk_bytes = 1e18
    sr = strips.upscale(image(net))
    assert sr.dtype == torch.float32
    assert (sr - runner(image(net))).abs().max() < 0.01 < 0.02 < (runner(image(net)) - net(image(net))).abs().max() * 10


def test_features_that_do_not_fit(monkeypatch):
    net = network()
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    with pytest.raises(FeaturesDoNotFit, match=r"features of 18x21 pixels need 0\.0 GB, 0\.0 GB are free"):
        next(RCANStrips(Runner(net), 2, exact=False, size=None).strips(image(net)))
    with pytest.raises(
        TooLittleMemory, match=r"18x21 pixels take .* choose a number as tile \(--tile 512\), without exact"
    ):
        next(RCANStrips(Runner(net), 2, exact=True, size=None).strips(image(net)))


def test_three_maps_are_kept(monkeypatch):
    net = network()
    lq = image(net, 300, 60)
    maps = 8 * 300 * 60 * 4
    peak = memory.peak_bytes(lambda: trunk_in_strips(net, lq, CPU, 8), CPU)
    assert 3 * maps < peak < 3.4 * maps
    assert memory.peak_bytes(lambda: net.trunk(net.head(lq)), CPU) > 4.9 * maps


def test_rows_of_a_strip():
    assert rows_per_strip(1024, 64) == 128 and rows_per_strip(1 << 20, 64) == 16


def test_weights_that_overflow_end_with_a_message():
    net = network()
    for parameter in net.parameters():
        parameter.mul_(1e25)
    with pytest.raises(FloatingPointError, match="the result is not finite, in float32: the weights are damaged"):
        Upscaler(net)(np.full((20, 20, 3), 128, np.uint8))
