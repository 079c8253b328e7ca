"""What images a network takes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rcan_plugin.inference.sizes import Sizes, find_sizes
from tests.inference.networks import convolutions

CPU = torch.device("cpu")


def test_a_network_that_takes_everything():
    network = convolutions(3).float()
    assert find_sizes(network, (1, 3, 4), CPU) == Sizes(scale=3, channels=3, out_channels=2, least=1, multiple=1)


def test_a_network_that_takes_only_even_sides():
    network = convolutions(4).float()

    def unshuffling(x: torch.Tensor) -> torch.Tensor:
        return network(F.pixel_unshuffle(x, 2)[:, :3])

    assert find_sizes(unshuffling, (3,), CPU) == Sizes(2, 3, 2, least=8, multiple=2)


def test_a_network_that_reflects_borders():
    assert find_sizes(lambda x: F.pad(x, (9, 9, 9, 9), "reflect")[..., 9:-9, 9:-9], (1,), CPU) == Sizes(1, 1, 1, 16)


def test_a_network_that_takes_nothing():
    network = convolutions(2).float()
    with pytest.raises(ValueError, match=r"accepts no small image: .*expected input.* to have 3 channels"):
        find_sizes(network, (1, 4), CPU)


def test_padding_reflects_on_the_right_and_below():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    sizes = Sizes(2, 1, 1, least=1, multiple=4)
    padded = sizes.padded(image)
    assert padded[..., 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [4, 5, 6, 7]]
    assert sizes.padded(padded) is padded
    assert Sizes(2, 1, 1, least=8).padded(image).shape == (8, 8, 1)
    assert Sizes(2, 1, 1).padded(image, multiple=3).shape == (3, 6, 1)
    assert np.array_equal(Sizes(2, 1, 1, least=8).padded(np.full((1, 1, 3), 7, np.uint8)), np.full((8, 8, 3), 7))
