"""`AcceleratedSRModel` next to BasicSR's own SRModel: the same where nothing is asked, and what each feature does."""

import types

import pytest
import torch
from basicsr.archs.rcan_arch import RCAN as BasicSRRCAN
from basicsr.models import base_model
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.models.accelerated_model import check
from rcan_plugin.options import check as options_module
from tests.archs.rcan import official_layout
from tests.models.conftest import RCAN, Dropping, batch, build, same, step, train, weights

COMMON = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "upscale": 2}
NETWORKS = {
    "RCANArch": RCAN,
    "RCAN": {**RCAN, "type": "RCAN"},
    "EDSR": {"type": "EDSR", **COMMON},
    "MSRResNet": {"type": "MSRResNet", **COMMON},
}
ARGUMENTS = {key: value for key, value in RCAN.items() if key != "type"}


def distance(one, other) -> float:
    """The largest difference between two sets of weights, of the largest weight."""
    assert one.keys() == other.keys()
    largest = max(value.abs().max() for value in other.values())
    return float(max((one[name] - value).abs().max() for name, value in other.items()) / largest)


# -- nothing asked for


@pytest.mark.parametrize("ema_decay", [0, 0.9])
@pytest.mark.parametrize("network", NETWORKS)
def test_with_all_features_off_it_is_srmodel(network, ema_decay, options):
    opt = options(network_g=NETWORKS[network], train={"ema_decay": ema_decay})
    ours, theirs = (train(build(opt, *cls), 20) for cls in ((), (SRModel,)))
    assert same(weights(ours), weights(theirs))
    assert same(ours.optimizer_g.state_dict()["state"], theirs.optimizer_g.state_dict()["state"])
    assert ours.get_current_log() == theirs.get_current_log() and list(ours.get_current_log()) == ["l_pix"]
    assert not same(weights(ours), weights(build(opt)))
    assert len(weights(ours)) == len(ours.net_g.state_dict()) * (2 if ema_decay else 1)


def test_log_dict_holds_the_losses_without_waiting_for_them(options):
    model = build(options())
    assert model.log_dict == {}
    step(model, 1)
    assert model.log_dict.keys() == {"l_pix"} and not model.log_dict["l_pix"].requires_grad
    assert model.get_current_log() == {"l_pix": model.log_dict["l_pix"].item()}


def test_several_losses_are_summed_and_told_apart(options):
    opt = options(train={"grad_accum": 2, "perceptual_opt": None})
    model = build(opt)
    model.cri_perceptual = lambda output, gt: ((output - gt).pow(2).mean(), None)
    before = weights(model)
    with torch.no_grad():
        model.feed_data(batch(1))
        output = model.net_g(model.lq)
        expected = {"l_pix": (output - model.gt).abs().mean(), "l_percep": (output - model.gt).pow(2).mean()}
    step(model, 1)
    assert model.get_current_log() == pytest.approx({key: float(value) for key, value in expected.items()}, rel=1e-6)
    plain = build(opt)
    plain.net_g.zero_grad()
    (sum(losses(plain.net_g(model.lq), model.gt) for losses in (nn.L1Loss(), nn.MSELoss()))).backward()
    for ours, theirs in zip(model.net_g.parameters(), plain.net_g.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-7)
    assert not same(weights(model), before)


# -- precision, layout, compilation


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
    assert "amp: fp16 overflows in RCAN, whose values run to 255 and more: bf16 does not." in log.messages
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
    from torch._dynamo.backends.registry import lookup_backend

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
    assert saved.keys() == {"params", "params_ema"}
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


# -- parts of a batch


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: one.grad.clone() for name, one in model.net_g.named_parameters()}


@pytest.mark.parametrize(("parts", "size"), [(2, 4), (4, 4), (2, 5), (4, 6), (4, 3)])
def test_parts_give_the_gradients_of_the_whole_batch(parts, size, options):
    """Also where the parts are of different sizes: a loader that does not drop the last batch may hand one over."""
    whole, accumulated = (build(options(train=train)) for train in ({}, {"grad_accum": parts}))
    sizes = []
    accumulated.net_g.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    for model in (whole, accumulated):
        step(model, 1, batch(1, size))
    assert sum(sizes) == size and len(sizes) == min(parts, -(-size // -(-size // parts)))
    assert distance(gradients(accumulated), gradients(whole)) < 1e-6
    assert accumulated.get_current_log() == pytest.approx(whole.get_current_log(), rel=1e-6)


class OnCpu(DistributedDataParallel):
    """Without the device that BasicSR always names."""

    def __init__(self, net: nn.Module, device_ids: object, **settings: bool) -> None:
        super().__init__(net, **settings)


@pytest.fixture
def one_rank(tmp_path, monkeypatch):
    """A process group of this process alone, in which BasicSR wraps the network as it does on GPUs."""
    monkeypatch.setattr(base_model, "DistributedDataParallel", OnCpu)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    yield {"dist": True}
    torch.distributed.destroy_process_group()


def test_ranks_exchange_gradients_with_the_last_part_alone(options, one_rank, monkeypatch):
    whole = build(options())
    model = build(options(**one_rank, train={"grad_accum": 4, "guard": {"factor": 10, "stop_after": 3}}))
    assert isinstance(model.net_g, DistributedDataParallel)
    exchanged = []

    def exchange(state, bucket):
        exchanged.append(forwards[-1])
        future = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    forwards = [0]
    model.net_g.register_comm_hook(None, exchange)
    model.net_g.module.register_forward_hook(lambda *_: forwards.append(forwards[-1] + 1))
    for one in (whole, model):
        step(one, 1)
    assert forwards[-1] == 4 and set(exchanged) == {4}, "the parts after which gradients were exchanged"
    theirs = gradients(whole)
    assert distance({name.removeprefix("module."): one for name, one in gradients(model).items()}, theirs) < 1e-6
    assert model.get_current_log() == pytest.approx({**whole.get_current_log(), "skipped": 0}, rel=1e-6)
    assert weights(model).keys() == weights(whole).keys()


# -- average of the weights


class Normalised(nn.Module):
    """A network with buffers that training changes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.up = nn.PixelShuffle(2)

    def forward(self, x):
        return self.up(self.norm(self.conv(x)))


def test_the_average_takes_buffers_over(options, monkeypatch):
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Normalised", Normalised)
    opt = options(network_g={"type": "Normalised"}, train={"ema_decay": 0.9})
    ours, theirs = (train(build(opt, *cls), 5) for cls in ((), (SRModel,)))
    assert same(list(ours.net_g_ema.parameters()), list(theirs.net_g_ema.parameters()))
    assert same(dict(ours.net_g_ema.named_buffers()), dict(ours.net_g.named_buffers()))
    assert ours.net_g_ema.norm.num_batches_tracked == 5
    assert not same(dict(theirs.net_g_ema.named_buffers()), dict(theirs.net_g.named_buffers())), "BasicSR leaves them"


# -- optimisers


def test_any_optimiser_of_torch(options):
    optim = {"type": "SGD", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}
    model = train(build(options(train={"optim_g": optim})), 3)
    assert isinstance(model.optimizer_g, torch.optim.SGD)
    plain = build(options())
    optimizer = torch.optim.SGD(plain.net_g.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    for number in (1, 2, 3):
        optimizer.zero_grad()
        data = batch(number)
        (plain.net_g(data["lq"]) - data["gt"]).abs().mean().backward()
        optimizer.step()
    assert same(weights(model), weights(plain))


@pytest.mark.parametrize("name", ["Adma", "lr_scheduler", None])
def test_an_unknown_optimiser_is_refused_before_anything_is_built(name, options):
    opt = options(train={"optim_g": {"type": name, "lr": 1e-3}})
    for build_or_check in (build, options_module.check):
        with pytest.raises(ValueError, match=rf"train: optim_g: type is {name!r}; expected a class of torch\.optim"):
            build_or_check(opt)


# -- weights to start from


def layouts(net: nn.Module, average: nn.Module) -> dict[str, dict]:
    params, params_ema = net.state_dict(), average.state_dict()
    with_prefix = {f"module.{name}": value for name, value in params.items()}
    return {
        "params": {"params": params},
        "params_ema": {"params_ema": params_ema},
        "both": {"params": params, "params_ema": params_ema},
        "flat": params,
        "prefixed": with_prefix,
        "prefixed under a key": {"params": with_prefix},
        "official": official_layout(net),
    }


@pytest.mark.parametrize("key", ["params", "params_ema", None, "left out"])
@pytest.mark.parametrize("ema_decay", [0, 0.9])
@pytest.mark.parametrize("layout", layouts(RCANArch(**ARGUMENTS), RCANArch(**ARGUMENTS)))
def test_weights_in_any_layout(layout, ema_decay, key, options, tmp_path):
    torch.manual_seed(1)
    net, average = RCANArch(**ARGUMENTS), RCANArch(**ARGUMENTS)
    torch.save(layouts(net, average)[layout], tmp_path / "start.pth")
    opt = options(train={"ema_decay": ema_decay})
    opt["path"] |= {"pretrain_network_g": str(tmp_path / "start.pth")}
    opt["path"] |= {} if key == "left out" else {"param_key_g": key}
    model = build(opt)
    averaged = layout == "params_ema" or (layout == "both" and key in ("params_ema", None))
    assert same(model.net_g.state_dict(), (average if averaged else net).state_dict())
    if ema_decay:
        averaged = layout in ("params_ema", "both")
        assert same(model.net_g_ema.state_dict(), (average if averaged else net).state_dict())


@pytest.mark.parametrize("network", ["RCANArch", "EDSR"])
@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_x3_starts_from_what_fits_of_x2(network, ema_decay, options, tmp_path):
    x2 = build(options(network_g=NETWORKS[network]), seed=1)
    x2.save(0, 1)
    path = {"pretrain_network_g": str(tmp_path / "models/net_g_1.pth")}
    opt = options(network_g={**NETWORKS[network], "upscale": 3}, scale=3, train={"ema_decay": ema_decay}, path=path)
    with pytest.raises(RuntimeError, match="size mismatch"):
        build(opt)
    opt["path"]["strict_load_g"] = False
    model, fresh = build(opt), build({**opt, "path": {}}).net_g.state_dict()
    for net in [model.net_g] + ([model.net_g_ema] if ema_decay else []):
        taken = {name for name, value in net.state_dict().items() if same(value, x2.net_g.state_dict().get(name))}
        assert net.state_dict().keys() - taken == {"upsample.0.weight", "upsample.0.bias"}
    assert all(
        same(model.net_g.state_dict()[f"upsample.0.{name}"], fresh[f"upsample.0.{name}"]) for name in ("weight", "bias")
    )


def test_the_log_says_which_weights_were_taken(options, log, tmp_path):
    torch.save(RCANArch(**ARGUMENTS).state_dict(), tmp_path / "flat.pth")
    build(options(path={"pretrain_network_g": str(tmp_path / "flat.pth")}))
    assert f"Loading RCANArch from {tmp_path / 'flat.pth'}, key none, it is flat." in log.messages


# -- what is refused, and what is said


@pytest.mark.parametrize(("is_train", "program"), [(True, "train"), (False, "test")])
def test_several_gpus_without_a_launcher_are_refused(is_train, program, options):
    opt = options(num_gpu=2, is_train=is_train)
    line = rf"num_gpu is 2 without .* `torchrun --nproc_per_node 2 basicsr/{program}\.py -opt FILE --launcher pytorch`"
    for build_or_check in (check, options_module.check, build):
        with pytest.raises(ValueError, match=line):
            build_or_check(opt)
    check({**opt, "dist": True})
    check({**opt, "num_gpu": 1})


class Full(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


@pytest.mark.parametrize(
    ("features", "said", "remedies"),
    [
        ({}, "batch 4 (grad_accum 1), LR patch 8x8, float32", ["train: grad_accum: 2", "train: amp: bf16"]),
        ({"grad_accum": 2, "amp": "bf16"}, "batch 4 (grad_accum 2), LR patch 8x8, bf16", ["train: grad_accum: 4"]),
        ({"grad_accum": 4}, "batch 4 (grad_accum 4), LR patch 8x8, float32", ["train: amp: bf16"]),
    ],
)
def test_out_of_memory_says_what_lowers_it(features, said, remedies, options, monkeypatch):
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Full", Full)
    model = build(options(network_g={"type": "Full"}, train=features))
    with pytest.raises(RuntimeError) as caught:
        step(model, 1)
    keys = ["a smaller batch_size_per_gpu or gt_size", *remedies, "network_g: use_checkpoint: true (RCANArch, SwinIR)"]
    assert str(caught.value) == f"out of memory on cpu: {said}. What lowers it: {'; '.join(keys)}."
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_out_of_memory_in_the_optimisers_first_step_says_so_too(options, monkeypatch):
    model = build(options())

    def full():
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.optimizer_g, "step", full)
    with pytest.raises(RuntimeError, match="out of memory on cpu: batch 4"):
        step(model, 1)
