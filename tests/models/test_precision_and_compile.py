"""Precision, memory format and compilation of a training step."""

import types

import pytest
import torch
from basicsr.archs.rcan_arch import RCAN as BasicSRRCAN
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn
from torch._dynamo.backends.registry import lookup_backend

from tests.comparison import same
from tests.models.conftest import ARGUMENTS, Dropping, batch, build, distance, step, train, weights


def test_bf16_trains_float32_weights_close_to_float32s(options):
    plain, bf16 = (train(build(options(train=amp)), 20) for amp in ({}, {"amp": "bf16"}))
    assert {value.dtype for value in weights(bf16).values()} == {torch.float32}
    assert {value.dtype for state in bf16.optimizer_g.state.values() for value in state.values()} == {torch.float32}
    # 20 steps of Adam at 1e-3 move a weight by up to 0.02; bf16 keeps 8 bits.
    assert 0 < distance(weights(bf16), weights(plain)) < 0.01
    assert bf16.get_current_log()["l_pix"] == pytest.approx(plain.get_current_log()["l_pix"], rel=0.01)
    seen = []
    bf16.net_g.conv_last.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    step(bf16, 21)
    assert seen == [torch.bfloat16] and not bf16.scaler.is_enabled()


def test_losses_are_taken_in_float32(options, monkeypatch):
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Dropping", Dropping)
    model = build(options(network_g={"type": "Dropping"}, train={"amp": "bf16"}))
    seen = []
    loss = model.cri_pix
    model.cri_pix = lambda output, gt: (seen.append(output.dtype), loss(output, gt))[1]
    step(model, 1)
    assert seen == [torch.float32]


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")  # torch saw no first step
def test_fp16_scales_and_steps_back_when_it_overflows(options, log):
    model = build(options(train={"amp": "fp16"}))
    assert any("fp16 overflows in RCAN" in text and "bf16" in text for text in log.messages)
    before = weights(model)
    too_large = batch(1)
    too_large["lq"] *= 1000  # times 255 is more than 65504
    step(model, 1, too_large)
    assert same(weights(model), before)
    assert model.scaler.get_scale() == 2.0**15, "half of torch's first scale"
    train(model, 6, first=2)
    assert model.scaler.get_scale() == 2.0**15
    assert {value.dtype for value in weights(model).values()} == {torch.float32}
    plain = train(build(options()), 6, first=2)
    assert 0 < distance(weights(model), weights(plain)) < 0.01


def test_channels_last_is_the_same_up_to_rounding(options):
    plain, last = (train(build(options(train=layout)), 20) for layout in ({}, {"channels_last": True}))
    # Adam turns the rounding of a gradient near zero into a step: 20 of them are 0.02 at most.
    assert distance(weights(last), weights(plain)) < 1e-3
    assert last.net_g.conv_first.weight.is_contiguous(memory_format=torch.channels_last)
    seen = []
    last.net_g.conv_last.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    step(last, 21)
    assert last.lq.is_contiguous(memory_format=torch.channels_last)
    assert seen[0].is_contiguous(memory_format=torch.channels_last) and not seen[0].is_contiguous()


@pytest.fixture
def compiled(monkeypatch) -> types.SimpleNamespace:
    """`Module.compile` by a backend that takes no C++ compiler; notes the modes asked for and each compilation."""

    notes = types.SimpleNamespace(modes=[], shapes=[])
    original, aot_eager = nn.Module.compile, lookup_backend("aot_eager")

    def backend(graph, inputs):
        notes.shapes.append([tuple(one.shape) for one in inputs if torch.is_tensor(one) and one.ndim == 4][-1])
        return aot_eager(graph, inputs)

    def compile_(self, mode=None):
        notes.modes.append(mode)
        original(self, backend=backend)

    monkeypatch.setattr(nn.Module, "compile", compile_)
    torch._dynamo.reset()
    yield notes
    torch._dynamo.reset()


def test_a_compiled_run_saves_the_plain_networks_keys(options, compiled, tmp_path):
    opt = options(train={"compile": True, "ema_decay": 0.9})
    model = train(build(opt), 3)
    assert compiled.modes == ["default"] and len(compiled.shapes) == 1
    model.save(0, 3)
    saved = torch.load(tmp_path / "models/net_g_3.pth", weights_only=True)
    assert saved.keys() == {"params", "params_ema", "network_g"}
    BasicSRRCAN(**ARGUMENTS).load_state_dict(saved["params"], strict=True)
    BasicSRRCAN(**ARGUMENTS).load_state_dict(saved["params_ema"], strict=True)
    plain = train(build(options(train={"ema_decay": 0.9})), 3)
    assert distance(weights(model), weights(plain)) < 1e-3


@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_validation_does_not_compile_anew(ema_decay, options, compiled):
    model = train(build(options(train={"compile": "max-autotune", "ema_decay": ema_decay})), 2)
    assert compiled.modes == ["max-autotune"]
    for side in (9, 10, 13):
        model.upscale(torch.rand(1, 3, side, side + 1), 2)
    train(model, 4, first=3)
    assert len(compiled.shapes) == 1


def test_a_test_is_not_compiled(options, compiled):
    build(options(is_train=False, train={"compile": True}))
    assert compiled.modes == []
