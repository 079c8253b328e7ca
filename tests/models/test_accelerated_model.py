"""`AcceleratedSRModel` beside BasicSR's SRModel: equal where no feature is asked for, and what its features do."""

import pytest
import torch
from basicsr.models import base_model
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rcan_plugin.models.accelerated_model import check
from tests.comparison import names_all, same
from tests.models.conftest import NETWORKS, batch, build, distance, gradients, step, train, weights


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


@pytest.fixture
def same_convolutions():
    """Torch's own convolutions: oneDNN chooses its kernels by CPU and batch size, which round differently."""
    with torch.backends.mkldnn.flags(enabled=False):
        yield


@pytest.mark.usefixtures("same_convolutions")
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


@pytest.mark.usefixtures("same_convolutions")
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
    for build_or_check in (build, check):
        with pytest.raises(ValueError, match=rf"train: optim_g: type is {name!r}; expected a class of torch\.optim"):
            build_or_check(opt)


@pytest.mark.parametrize(("is_train", "program"), [(True, "train"), (False, "test")])
def test_several_gpus_without_a_launcher_are_refused(is_train, program, options):
    opt = options(num_gpu=2, is_train=is_train)
    line = rf"num_gpu is 2 without .* `torchrun --nproc_per_node 2 basicsr/{program}\.py -opt FILE --launcher pytorch`"
    for build_or_check in (check, build):
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
    assert names_all(caught.value, f"out of memory on cpu: {said}", "; ".join(keys) + ".")
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_out_of_memory_in_the_optimisers_first_step_is_reported_too(options, monkeypatch):
    model = build(options())

    def full():
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.optimizer_g, "step", full)
    with pytest.raises(RuntimeError, match="out of memory on cpu: batch 4"):
        step(model, 1)


def test_the_average_has_the_memory_format_of_the_weights(options):
    model = build(options(train={"channels_last": True, "ema_decay": 0.9}))
    for net in (model.net_g, model.net_g_ema):
        assert net.conv_first.weight.is_contiguous(memory_format=torch.channels_last)
