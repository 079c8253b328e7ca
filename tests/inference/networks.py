"""Small networks and images for the tests of inference."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from rcan_plugin.inference.common import Upscale

RADIUS = 2  # of `convolutions`, in LR pixels


def convolutions(scale: int, seed: int = 0) -> nn.Module:
    """A network of 3 to 2 channels that sees `RADIUS` pixels to each side; nothing in it is symmetric."""
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 2 * scale**2, 3, padding=1), nn.PixelShuffle(scale)
    return nn.Sequential(*layers).double()


def pooling(scale: int) -> Upscale:
    """One that pools over its whole input, as channel attention does."""
    network = convolutions(scale)
    return lambda lq: network(lq) * (1 + lq.mean((2, 3), keepdim=True)[:, :2])


def nearest(lq: torch.Tensor, scale: int) -> torch.Tensor:
    return lq.repeat_interleave(scale, -2).repeat_interleave(scale, -1)


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


def assert_same(actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)
