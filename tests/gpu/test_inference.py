"""On a GPU: half precision, compiled blocks and graphs give the network's images."""

import copy

import pytest
import torch

from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.inference.runner import Runner
from rcan_plugin.inference.tiles import tiled

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return RCANArch(num_feat=16, num_group=2, num_block=3, squeeze_factor=4, upscale=2).cuda().eval()


def image(number: int, height: int = 24, width: int = 32) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(number)).cuda()


@pytest.fixture(autouse=True)
def full_float32():
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize(
    ("precision", "compiled", "cuda_graph"),
    [
        (None, False, True),
        (torch.bfloat16, False, False),
        (torch.float16, False, True),
        (torch.bfloat16, True, True),
    ],
)
def test_images_are_those_of_the_network(precision, compiled, cuda_graph, net):
    torch._dynamo.reset()
    run = Runner(net, precision=precision, channels_last=True, compiled=compiled, cuda_graph=cuda_graph)
    results = [run(image(number)) for number in range(6)]
    assert len(run.graphs) == cuda_graph
    bound = 1e-4 if precision is None else 0.01
    with torch.no_grad():
        for number, sr in enumerate(results):
            assert sr.dtype == torch.float32 and (sr - net(image(number))).abs().max() < bound
    assert (results[-1] - results[-2]).abs().max() > 0.01, "results are memory of their own"
    with torch.no_grad():
        net.conv_last.bias += 50
        assert (run(image(7)) - net(image(7))).abs().max() < bound, "changed weights take effect"


def test_tiles_by_a_graph(net):
    run, lq = Runner(net, cuda_graph=True), image(0, 60, 80).cpu()
    with torch.no_grad():
        expected = tiled(net, lq, 2, 24, 8, device="cuda")
    torch.testing.assert_close(tiled(run, lq, 2, 24, 8, device="cuda"), expected, rtol=0, atol=1e-5)
    assert len(run.graphs) == 1


def test_what_cannot_be_recorded_runs_without(net, caplog):
    class Waiting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = copy.deepcopy(net)

        def forward(self, x):
            return self.net(x) if x.mean().item() > -1 else x

    run = Runner(Waiting(), cuda_graph=True)
    with torch.no_grad():
        for number in range(6):
            torch.testing.assert_close(run(image(number)), net(image(number)), rtol=0, atol=1e-5)
    assert sum("inference cannot be recorded" in text for text in caplog.messages) == 1
