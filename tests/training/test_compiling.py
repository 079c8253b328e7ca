"""Which blocks of a network repeat, and that they are compiled once."""

import copy

import pytest
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.archs.swinir_arch import SwinIR
from torch._dynamo.backends.registry import lookup_backend

from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.archs.vdsr_arch import VDSRArch
from rcan_plugin.training.compiling import compile_blocks, repeated_blocks

SMALL = {"num_feat": 8, "num_group": 2, "num_block": 3, "squeeze_factor": 4, "upscale": 2}
NETWORKS = {
    "RCANArch": (lambda: RCANArch(**SMALL), "RCAB", 6),
    "BasicSR's RCAN": (lambda: RCAN(3, 3, **SMALL), "RCAB", 6),
    "EDSR": (lambda: EDSR(3, 3, num_feat=8, num_block=4, upscale=2), "ResidualBlockNoBN", 4),
    "MSRResNet": (lambda: MSRResNet(3, 3, num_feat=8, num_block=5), "ResidualBlockNoBN", 5),
    "RRDBNet": (lambda: RRDBNet(3, 3, num_feat=8, num_block=2, num_grow_ch=4), "ResidualDenseBlock", 6),
    "SwinIR": (
        lambda: SwinIR(img_size=16, embed_dim=12, depths=(2, 2), num_heads=(2, 2), window_size=8, upscale=2),
        "SwinTransformerBlock",
        4,
    ),
}


@pytest.fixture
def compilations(monkeypatch):
    """The inputs' shapes of each compilation, by a backend that takes no C++ compiler."""
    shapes, aot_eager, compile_ = [], lookup_backend("aot_eager"), torch.compile

    def backend(graph, inputs):
        shapes.append([tuple(value.shape) for value in inputs if torch.is_tensor(value) and value.ndim == 4][-1])
        return aot_eager(graph, inputs)

    monkeypatch.setattr(torch, "compile", lambda function, **settings: compile_(function, backend=backend, **settings))
    torch._dynamo.reset()
    yield shapes
    torch._dynamo.reset()


@pytest.mark.parametrize("network", NETWORKS)
def test_the_blocks_that_repeat(network):
    build, name, number = NETWORKS[network]
    blocks = repeated_blocks(build())
    assert {type(block).__name__ for block in blocks} == {name} and len(blocks) == number


def test_a_network_without_blocks_is_refused():
    with pytest.raises(ValueError, match=r"VDSRArch has no repeated blocks; .* use compile: true"):
        compile_blocks(VDSRArch(num_feat=4, num_layers=3), training=True, dynamic=False)


@pytest.mark.parametrize("network", ["RCANArch", "EDSR"])
def test_they_are_compiled_once_for_training_only(network, compilations):
    build, name, number = NETWORKS[network]
    torch.manual_seed(0)
    plain = build()
    net = copy.deepcopy(plain)
    assert compile_blocks(net, training=True, dynamic=False) == f"{number} x {name}"
    assert list(net.state_dict()) == list(plain.state_dict())
    image = torch.rand(1, 3, 10, 12, generator=torch.Generator().manual_seed(1))
    for one in (net, plain):
        for _ in range(2):
            one.zero_grad()
            one(image).square().mean().backward()
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6 * float(theirs.grad.abs().max()))
    assert len(compilations) == 1
    net.eval()
    with torch.no_grad():
        for side in (9, 11):
            assert torch.equal(net(torch.ones(1, 3, side, side)), plain.eval()(torch.ones(1, 3, side, side)))
    assert len(compilations) == 1, "validation compiles nothing"
    net.train()(image)
    assert len(compilations) == 1


def test_a_copy_of_a_compiled_network_has_blocks_of_its_own(compilations):
    net = RCANArch(**SMALL)
    compile_blocks(net, training=True, dynamic=False)
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert other(torch.rand(1, 3, 8, 8)).std() > 0
