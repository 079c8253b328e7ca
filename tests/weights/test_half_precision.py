"""Computing as in fp16: every result is rounded, and the largest is known."""

import torch
from torch import nn
from torch.nn import functional as F

from rcan_plugin.weights import half_precision
from rcan_plugin.weights.half_precision import Rounding


def test_each_result_is_rounded_as_in_half_precision():
    x = torch.tensor([2048.0, 1.0])
    with Rounding() as rounding:
        assert (x + 1).tolist() == [2048, 2]  # 2049 lies between two numbers of fp16
        assert x.mul(0.1)[1].item() == float(torch.tensor(0.1).half())
        assert F.relu(x.neg()).tolist() == [0, 0]
    assert rounding.peak == 2049
    assert (x + 1).tolist() == [2049, 2]


def test_an_overflow_is_infinite_and_the_value_before_it_known():
    with Rounding() as rounding:
        assert (torch.tensor([300.0]) * 300).isinf().all()
    assert rounding.peak == 90000 > half_precision.FP16_MAX == 65504


def test_weights_and_constants_of_a_copy_are_rounded():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    network[1].running_mean.fill_(0.1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    copy = half_precision.rounded(network)
    for name, value in copy.state_dict().items():
        assert torch.equal(network.state_dict()[name], before[name])
        assert torch.equal(value, before[name].half().to(value.dtype)) and value.dtype == before[name].dtype
    assert not torch.equal(copy[1].running_mean, network[1].running_mean)


def test_a_network_under_the_bounds_passes_with_its_figures():
    like = torch.full((1, 1, 4, 4), 0.1)
    (remark,) = half_precision.check(nn.Identity(), lambda x: x + 0.001, like)
    assert "at most 0.001 on" in remark and "(allowed: 0.0078 of" in remark
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    nn.init.constant_(network[0].weight, 5), nn.init.zeros_(network[0].bias)
    (remark,) = half_precision.check(network, network, like)
    assert "values inside reach 5 (fp16 holds up to 65504)" in remark
