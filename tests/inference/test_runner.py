"""How a network is run: precision, its copy of the weights, graphs by a stand-in."""

import weakref

import pytest
import torch
from torch import nn

from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.inference import runner as module
from rcan_plugin.inference.runner import Runner
from rcan_plugin.inference.tiles import tiled
from tests.recorders import FakeRecorder, use
from tests.walks import modules_walked

SMALL = {"num_feat": 8, "num_group": 1, "num_block": 2, "squeeze_factor": 4, "upscale": 2}


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return RCANArch(**SMALL).eval()


def image(height: int = 10, width: int = 12, number: int = 0, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(number))


def call(net: nn.Module, lq: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return net(lq)


@pytest.mark.parametrize("channels_last", [False, True])
def test_without_options_it_is_the_network_itself(channels_last, net):
    seen = []
    net.conv_first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    run = Runner(net, channels_last=channels_last)
    sr = run(image())
    assert torch.equal(sr, call(net, image().to(memory_format=run.memory_format)))
    assert run.copy is None and not sr.requires_grad
    assert seen[0].is_contiguous(memory_format=torch.channels_last) == channels_last


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_uses_a_copy_of_the_weights(precision, net):
    scaled = {torch.bfloat16: 0.01, torch.float16: 0.002}[precision]
    run = Runner(net, precision=precision, channels_last=True)
    sr, expected = run(image()), call(net, image())
    assert sr.dtype == torch.float32 and 0 < (sr - expected).abs().max() < scaled
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in run.copy.parameters()} == {precision}
    assert {buffer.dtype for buffer in run.copy.buffers()} == {torch.float32}, "the mean is subtracted in float32"


def test_bf16_costs_less_than_a_hundredth_of_a_decibel(net):
    """At 38 dB, RCAN's on Set5 at x2; of noise, which is harder than images."""
    lq = image(32, 32, batch=2)
    error = (Runner(net, precision=torch.bfloat16)(lq) - call(net, lq)).square().mean()
    mse = 10 ** (-38 / 10)
    assert 10 * torch.log10(1 + error / mse) < 0.01


def test_the_copy_follows_the_weights(net):
    run = Runner(net, precision=torch.bfloat16)
    first = run(image())
    with torch.no_grad():
        net.conv_last.bias += 50
    second = run(image())
    assert (second - first).mean() == pytest.approx(50 / 255, rel=0.05)
    net.conv_last.bias.data += 50  # torch does not count this change
    assert torch.equal(run(image()), second)
    run.weights_changed()
    assert (run(image()) - second).mean() == pytest.approx(50 / 255, rel=0.05)
    same_copy = run.copy
    run(image())
    assert run.copy is same_copy


def test_the_copy_follows_tensors_that_were_replaced(net):
    run = Runner(net, precision=torch.bfloat16)
    first = run(image())
    net.load_state_dict({**net.state_dict(), "conv_last.bias": net.conv_last.bias.detach() + 50}, assign=True)
    net.out_mean = net.out_mean + 1
    run.weights_changed()
    assert (run(image()) - first).mean() == pytest.approx(1 + 50 / 255, rel=0.05)


def test_weights_made_in_inference_mode(net):
    expected = Runner(net, precision=torch.bfloat16)(image())
    with torch.inference_mode():
        other = RCANArch(**SMALL).eval()
        other.load_state_dict(net.state_dict())
        run = Runner(other, precision=torch.bfloat16)
        assert torch.equal(run(image()), expected)
        other.conv_last.bias += 50
        run.weights_changed()
        assert (run(image()) - expected).mean() == pytest.approx(50 / 255, rel=0.05)


def test_a_copy_made_in_inference_mode_can_be_changed_outside(net):
    run = Runner(net, precision=torch.bfloat16)
    with torch.inference_mode():
        first = run(image())
    with torch.no_grad():
        net.conv_last.bias += 50
    assert (run(image()) - first).mean() == pytest.approx(50 / 255, rel=0.05)
    assert all(weights.requires_grad for weights in net.parameters())
    assert not any(weights.requires_grad for weights in run.copy.parameters())


class Masking(nn.Module):
    """Builds a buffer for each size of image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("mask", torch.ones(1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mask.shape != x.shape[-2:]:
            self.mask = torch.full(x.shape[-2:], float(x.shape[-1]))
        return x * self.mask * self.weight


def test_a_network_that_builds_buffers_for_the_size_of_an_image():
    net = Masking().eval()
    run = Runner(net, precision=torch.bfloat16)
    assert run(torch.ones(1, 3, 2, 4)).unique() == 4
    net(torch.ones(1, 3, 2, 8))  # as in training
    net.weight.data.fill_(3)
    run.weights_changed()
    assert run(torch.ones(1, 3, 2, 4)).unique() == 3 * 4


def test_a_graph_keeps_the_buffers_that_it_reads(monkeypatch):
    use(FakeRecorder(), monkeypatch)
    net = Masking().eval()
    run = Runner(net, cuda_graph=True)
    masks = []
    for width in (4, 8):
        for _ in range(3):
            run(torch.ones(1, 3, 2, width))
        masks.append(weakref.ref(net.mask))
    assert len(run.graphs) == 2 and masks[0]() is not net.mask and masks[0]().shape == (2, 4)


def test_half_precision_costs_no_walk_through_the_modules(net):
    run = Runner(net, precision=torch.bfloat16)
    run(image())
    assert modules_walked(lambda: run(image())) == 0


def test_shapes_that_recur_are_recorded_and_results_are_new_memory(net, monkeypatch):
    recorder = use(FakeRecorder(), monkeypatch)
    run = Runner(net, cuda_graph=True)
    images = [image(number=number) for number in range(6)]
    results = [run(lq) for lq in images]
    assert recorder.counts == (3, 1, 3)
    for lq, sr in zip(images, results, strict=True):
        assert torch.equal(sr, call(net, lq))
    for side in range(5, 25):
        run(image(side, side))
    assert recorder.records == 1, "shapes that occur once are not"
    with torch.no_grad():
        net.conv_last.bias += 50
    assert torch.equal(run(images[0]), call(net, images[0])), "a graph reads the weights where they are"


def test_graphs_are_recorded_again_after_weights_were_replaced(net, monkeypatch):
    recorder = use(FakeRecorder(), monkeypatch)
    run = Runner(net, cuda_graph=True)
    for number in range(4):
        run(image(number=number))
        run.weights_changed()  # as after each training step
    assert recorder.records == 1
    net.load_state_dict({name: value * 2 for name, value in net.state_dict().items()}, assign=True)
    run.weights_changed()
    assert torch.equal(run(image()), call(net, image())) and recorder.records == 2


def test_the_number_of_graphs_is_bounded(net, monkeypatch):
    monkeypatch.setattr(module, "MAX_GRAPHS", 2)
    recorder = use(FakeRecorder(), monkeypatch)
    run = Runner(net, precision=torch.bfloat16, cuda_graph=True)
    for _ in range(5):
        for side in (6, 7, 8):
            sr = run(image(side, side))
            assert torch.equal(sr, Runner(net, precision=torch.bfloat16)(image(side, side)))
    assert recorder.records == 2 and recorder.replays == 4


def test_a_failed_recording_is_reported_once(net, monkeypatch, caplog):
    recorder = use(FakeRecorder(RuntimeError("not permitted\nmore")), monkeypatch)
    run = Runner(net, cuda_graph=True)
    for number in range(6):
        assert torch.equal(run(image(number=number)), call(net, image(number=number)))
    assert recorder.records == recorder.recoveries == 1
    assert sum("inference cannot be recorded: not permitted." in text for text in caplog.messages) == 1


def test_tiles_by_a_graph(net, monkeypatch):
    recorder = use(FakeRecorder(), monkeypatch)
    run, lq = Runner(net, cuda_graph=True), image(30, 40)
    assert torch.equal(tiled(run, lq, 2, 12, 4), tiled(lambda tile: call(net, tile), lq, 2, 12, 4))
    assert recorder.records == 1 and recorder.replays > 5


def test_on_a_cpu_nothing_is_compiled_or_recorded(net):
    run = Runner(net, compiled=True, cuda_graph=True)
    for _ in range(4):
        assert torch.equal(run(image()), call(net, image()))
    assert run.copy is run.recorder is None
