"""The average of a network's weights."""

import copy

import pytest
import torch
from torch import nn

from rcan_plugin.training.average import Average
from tests.walks import modules_walked


class Replacing(nn.Module):
    """Has weights, BatchNorm's buffers, and a buffer that is replaced by a new tensor at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count = self.count + 1
        return self.body(x)


def test_weights_are_averaged_and_buffers_copied():
    torch.manual_seed(0)
    net = Replacing()
    averaged = copy.deepcopy(net)
    average = Average(averaged, net)
    expected = {name: weights.detach().clone() for name, weights in averaged.named_parameters()}
    for _ in range(3):
        with torch.no_grad():
            for weights in net.parameters():
                weights += 1
        net(torch.rand(2, 1, 4, 4))
        average.update(0.75)
        for name, weights in net.named_parameters():
            expected[name] = 0.75 * expected[name] + 0.25 * weights.detach()
    for name, weights in averaged.named_parameters():
        torch.testing.assert_close(weights.detach(), expected[name], rtol=1e-6, atol=1e-7)
    assert averaged.count == 3 and averaged.body[1].num_batches_tracked == 3
    assert torch.equal(averaged.body[1].running_mean, net.body[1].running_mean)
    average.update(0)
    assert all(map(torch.equal, averaged.parameters(), net.parameters()))


class Building(nn.Module):
    """Builds a buffer at the first call, and another one for each size of image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("number", torch.zeros(()))
        self.register_buffer("mask", torch.ones(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.number += 1
        self.mask = torch.full(x.shape[-1:], 7.0)
        self.register_buffer("ramp", torch.ones(()), persistent=False)
        return x


@pytest.mark.parametrize("first", [0, 1])
def test_buffers_that_a_network_builds_stay(first):
    """Before, BasicSR has copied the weights."""
    pair = Building(), Building()
    average = Average(*pair)
    pair[first](torch.zeros(3))
    average.update(0.5)
    averaged, net = pair
    assert averaged.number == net.number == [0, 1][first]
    assert len(averaged.mask) == [3, 2][first] and hasattr(averaged, "ramp") == (first == 0)
    net(torch.zeros(len(averaged.mask)))
    average.update(0.5)
    assert averaged.number == first + 1 and torch.equal(averaged.mask, net.mask)


def test_an_update_does_not_walk_through_the_modules():
    net = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(50)), nn.BatchNorm2d(1))
    average = Average(copy.deepcopy(net), net)
    assert modules_walked(lambda: average.update(0.5)) == 0


def test_networks_that_differ_are_refused():
    with pytest.raises(ValueError, match="zip"):
        Average(nn.Sequential(nn.Conv2d(1, 1, 1)), nn.Conv2d(1, 1, 1))
