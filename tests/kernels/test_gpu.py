"""The kernels on a card: half precision at real sizes, and CUDA graphs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.kernels import configs, rcab, unsupported
from tests.kernels.reference import TOLERANCE, check, expected, images, parameters

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

HALF = [torch.bfloat16, torch.float16]
CASES = [
    # N, C, H, W, hidden channels, factor on the residual
    (16, 64, 48, 48, 4, 1.0),  # a training batch
    (1, 64, 67, 120, 4, 0.5),  # tiles that end past the image
    (1, 64, 270, 480, 4, 1.0),  # settings for large inputs, sums that are reduced twice
    (3, 32, 9, 11, 3, 1.0),
    (2, 16, 1, 1, 1, 0.1),
]


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_output_and_gradients(case: tuple[int, int, int, int, int, float], dtype: torch.dtype) -> None:
    n, c, height, width, squeezed, res_scale = case
    x, grad = images(n, c, height, width, dtype, "cuda")
    assert unsupported(x) is None
    weights = parameters(c, squeezed, dtype, "cuda")
    output = rcab(x, *weights, res_scale=res_scale)
    assert output.dtype == dtype
    grads = torch.autograd.grad(output, [x, *weights], grad)
    check(output, grads, expected(x, weights, res_scale, grad), TOLERANCE[dtype])
    with torch.no_grad():
        assert torch.equal(rcab(x, *weights, res_scale=res_scale), output)


@pytest.mark.parametrize("method", ["triton", "cudnn"])
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_autocast(dtype: torch.dtype, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "WEIGHT_GRADIENT", method)
    x, grad = images(4, 64, 48, 48, torch.float32, "cuda")
    weights = parameters(64, 4, torch.float32, "cuda")
    with torch.autocast("cuda", dtype):
        output = rcab(x, *weights)
    assert output.dtype == dtype
    grads = torch.autograd.grad(output, [x, *weights], grad.to(dtype))
    assert {g.dtype for g in grads} == {torch.float32}
    check(output, grads, expected(x, weights, 1.0, grad.to(dtype), dtype), TOLERANCE[dtype])


def test_the_same_bits_every_time() -> None:
    x, grad = images(16, 64, 48, 48, torch.bfloat16, "cuda")
    weights = parameters(64, 4, torch.float32, "cuda")

    def run() -> list[Tensor]:
        with torch.autocast("cuda", torch.bfloat16):
            output = rcab(x, *weights)
        return [output.detach(), *torch.autograd.grad(output, [x, *weights], grad)]

    first = run()
    for _ in range(5):
        assert all(map(torch.equal, run(), first))


def test_checkpoint_gives_the_same_gradients() -> None:
    x, grad = images(2, 64, 48, 48, torch.bfloat16, "cuda")
    weights = parameters(64, 4, torch.bfloat16, "cuda")
    plain = torch.autograd.grad(rcab(x, *weights), [x, *weights], grad)
    output = checkpoint(rcab, x, *weights, use_reentrant=False)
    assert all(map(torch.equal, torch.autograd.grad(output, [x, *weights], grad), plain))


def test_a_cuda_graph_follows_new_inputs_and_weights() -> None:
    """Captured forward and backward give, after a replay, what an eager run gives for the values of that moment."""
    x, grad = images(4, 64, 48, 48, torch.bfloat16, "cuda")
    weights = parameters(64, 4, torch.float32, "cuda")
    inputs = [x, *weights]

    def run() -> list[Tensor]:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            output = rcab(rcab(x, *weights), *weights)
        return [output.detach(), *torch.autograd.grad(output, inputs, grad)]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    for seed in range(3):
        torch.manual_seed(seed)
        with torch.no_grad():
            for value in inputs:
                value.add_(torch.randn_like(value), alpha=0.01)
        graph.replay()
        results = [value.clone() for value in captured]
        assert all(map(torch.equal, results, run()))


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_network(dtype: torch.dtype) -> None:
    """Under autocast as near to the float32 network as PyTorch's operations are."""
    small = {"num_group": 2, "num_block": 3}
    torch.manual_seed(0)
    plain = RCANArch(**small).cuda().to(memory_format=torch.channels_last)
    net = RCANArch(**small, kernels="triton").cuda().to(memory_format=torch.channels_last)
    net.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 48, 48, device="cuda")
    with torch.no_grad():
        exact = plain(x).double()
        with torch.autocast("cuda", dtype):
            distances = [float((n(x).double() - exact).norm()) for n in (net, plain)]
    assert distances[0] <= 1.5 * distances[1], distances
