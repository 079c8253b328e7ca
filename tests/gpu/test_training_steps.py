"""On a GPU: recorded and compiled training steps give the weights of usual ones. `pytest -m gpu tests/gpu`."""

import contextlib
import itertools

import pytest
import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from rcan_plugin.training import captured, checkpoints
from tests.comparison import names_all, same
from tests.models.conftest import RCAN, Images, batch, build, resumed, spoilt, step, train, weights

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]

RATE = 2.0**-10  # exact in float32, which is what rates on the device are
ADAM = {"type": "Adam", "lr": RATE, "betas": [0.9, 0.99], "fused": True}
GUARD = {"guard": {"factor": 10, "stop_after": 3}}
GRAPH = {"optim_g": ADAM, "cuda_graph": True}


@pytest.fixture(autouse=True)
def deterministic():
    """Kernels that give the same bits at every call, in full float32."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, False, False, False
    yield
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.fixture
def on_gpu(options):
    """`options` for one GPU."""
    return lambda **changes: options(num_gpu=1, **changes)


def distance(one, other) -> float:
    """The largest difference of two sets of weights."""
    assert one.keys() == other.keys()
    return max(float((value.float() - other[name].float()).abs().max()) for name, value in one.items())


def mean_distance(one, other) -> float:
    """The mean difference of two sets of weights."""
    return float(torch.cat([(value - other[name]).abs().flatten() for name, value in one.items()]).mean())


def graph_of(model) -> captured.CapturedStep:
    """The recorded step of a model, which has at least one graph."""
    assert isinstance(model.run_step, captured.CapturedStep) and model.run_step.enabled
    assert any(shape.replay for shape in model.run_step.shapes.values())
    return model.run_step


FEATURES = {
    "float32": {},
    "guard": GUARD,
    "average, channels-last": {"ema_decay": 0.9, "channels_last": True, **GUARD},
    "fp16": {"amp": "fp16"},
    "fp16, guard, norm": {"amp": "fp16", "grad_clip": {"norm": 1e-3}, **GUARD},
    "bf16": {"amp": "bf16"},
    "bf16, guard, average, channels-last": {"amp": "bf16", "ema_decay": 0.9, "channels_last": True, **GUARD},
    "parts": {"grad_accum": 2, **GUARD},
    "value": {"grad_clip": {"value": 1e-5}},
    "adjustable": {"grad_clip": {"adjustable": 2.0**-24}},
    "adjustable norm": {"grad_clip": {"adjustable_norm": 2.0**-20}},
    "two rates": {"optim_g": {**ADAM, "layer_rates": {"conv_last": 0.5}}},
    "AdamW": {"optim_g": {**ADAM, "type": "AdamW", "weight_decay": 0.125}, **GUARD},
    "warm-up": {"warmup_iter": 8},
}


@pytest.mark.parametrize("features", FEATURES)
def test_recorded_steps_give_the_weights_of_usual_ones(features, on_gpu):
    """After 20 steps, two of them rejected where there is a guard; the rate is halved after the 6th and the 12th."""
    more = FEATURES[features]
    results = []
    for graph in (True, False):
        model = build(on_gpu(train={**GRAPH, **more, "cuda_graph": graph}))
        before = weights(model)
        for number in range(1, 21):
            step(model, number, spoilt(model, "NaN in the batch") if "guard" in more and number in (2, 9) else None)
        assert not same(before, weights(model))
        if graph:
            graph_of(model)
        results.append((weights(model), model.get_current_log(), model.get_current_learning_rate()))
    (recorded, log, rate), (usual, usual_log, usual_rate) = results
    assert rate == usual_rate and rate[0] < RATE / 2
    assert log.get("skipped") == usual_log.get("skipped") == (2 if "guard" in more else None)
    # In half precision autocast does not reuse converted weights inside a graph; each is used once, so bits agree.
    assert distance(recorded, usual) == 0, "the same kernels in the same order"


def test_a_gpu_step_of_the_option_default_is_fused(on_gpu):
    optim = {"type": "Adam", "lr": RATE, "betas": [0.9, 0.99]}
    model = train(build(on_gpu(train={"optim_g": optim, "cuda_graph": True})), 6)
    assert model.optimizer_g.defaults["fused"] and graph_of(model)
    plain = train(build(on_gpu(train={"optim_g": optim})), 6)
    assert distance(weights(model), weights(plain)) < RATE


def test_the_step_neither_waits_nor_records_again(on_gpu):
    model = train(build(on_gpu(train={**GRAPH, "guard": {"factor": 10, "stop_after": 1000}, "ema_decay": 0.9})), 6)
    graph = graph_of(model)
    replay = next(iter(graph.shapes.values())).replay
    model.feed_data(batch(7))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for group in model.optimizer_g.param_groups:
            group["lr"] = 0.0  # as a scheduler or the warm-up sets it
        before = weights(model)
        model.optimize_parameters(7)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    after = weights(model)
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("net."))
    model.optimizer_g.param_groups[0]["lr"] = RATE
    train(model, 8, first=8)
    assert not same(weights(model), after)
    assert next(iter(graph.shapes.values())).replay is replay


def test_a_resumed_run_equals_one_that_was_not_stopped(on_gpu, tmp_path):
    opt = on_gpu(
        train={**GRAPH, **GUARD, "ema_decay": 0.9, "amp": "bf16"},
        val={"cuda_graph": True, "amp": "bf16", "tile": {"size": 8, "overlap": 2}},
    )
    model = train(build(opt), 5)
    model.save(0, 5)
    model.validation(Images().loader, 5, None)
    other = resumed(opt, checkpoints.load(tmp_path / "training_states/5.state"), folder=tmp_path)
    for one in (model, other):
        train(one, 14, first=6)
        graph_of(one)
        one.validation(Images().loader, 14, None)
    assert same(weights(model), weights(other)) and model.metric_results == other.metric_results
    assert same(model.optimizer_g.state_dict(), other.optimizer_g.state_dict())


def test_a_state_of_a_recorded_run_resumes_without_graphs(on_gpu, tmp_path):
    model = train(build(on_gpu(train=GRAPH)), 6)
    model.save(0, 6)
    state = checkpoints.load(tmp_path / "training_states/6.state")
    assert type(state["optimizers"][0]["param_groups"][0]["lr"]) is float
    other = resumed(on_gpu(train={"optim_g": ADAM}), state, "models/net_g_6.pth", tmp_path)
    for one in (model, other):
        train(one, 10, first=7)
    assert same(weights(model), weights(other))


def test_shapes_and_scales_have_graphs_of_their_own(on_gpu):
    mdsr = {"type": "MDSRArch", "num_feat": 4, "num_block": 1, "scales": [2, 3]}
    models = [
        build(on_gpu(network_g=mdsr, scale=None, train={**GRAPH, "cuda_graph": graph})) for graph in (True, False)
    ]
    plan = itertools.islice(itertools.cycle([(2, 8), (3, 8), (2, 10)]), 18)
    for number, (scale, side) in enumerate(plan, start=1):
        for model in models:
            step(model, number, {**batch(number, scale=scale, side=side), "scale": torch.tensor([scale] * 4)})
    assert len(graph_of(models[0]).shapes) == 3
    assert same(*map(weights, models))


def test_running_means_of_rejected_steps_are_restored(on_gpu):
    drrn = {"type": "DRRNArch", "num_in_ch": 3, "num_feat": 4, "num_unit": 1, "upscale": 2}
    model = train(build(on_gpu(network_g=drrn, train={**GRAPH, **GUARD, "ema_decay": 0.9})), 5)
    graph_of(model)
    before = weights(model)
    step(model, 6, spoilt(model, "NaN in the batch"))
    after = weights(model)
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("net."))
    assert all(value.isfinite().all() for value in after.values())


def test_gradient_checkpointing_is_recorded(on_gpu):
    models = [
        train(build(on_gpu(network_g={**RCAN, "use_checkpoint": checkpoint}, train=GRAPH)), 8)
        for checkpoint in (True, False)
    ]
    for model in models:
        graph_of(model)
    assert same(*map(weights, models))


class WaitingLoss(nn.Module):
    """A loss that reads a value from the device."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = (output - target).abs().mean()
        return loss if loss.item() > 0 else loss * 1


@pytest.mark.parametrize("features", [{}, {"amp": "fp16", **GUARD}])
def test_a_loss_that_waits_is_reported_once_and_training_continues(features, on_gpu, monkeypatch, log, tmp_path):
    monkeypatch.setitem(LOSS_REGISTRY._obj_map, "WaitingLoss", WaitingLoss)
    models = [
        build(on_gpu(train={**GRAPH, **features, "pixel_opt": {"type": "WaitingLoss"}, "cuda_graph": graph}))
        for graph in (True, False)
    ]
    for model in models:
        train(model, 12)
        model.save(0, 12)  # reads the random states
    assert same(*map(weights, models)) and not models[0].run_step.enabled
    warnings = [text.getMessage() for text in log.records if text.levelname == "WARNING"]
    (warning,) = (text for text in warnings if "cuda_graph" in text)
    assert names_all(warning, "cannot be recorded", "continues without")
    # The device and the allocator are usable, and another model may record.
    torch.cuda.empty_cache()
    assert torch.nn.functional.dropout(torch.ones(1000, device="cuda"), 0.5).std() > 0
    graph_of(train(build(on_gpu(train=GRAPH)), 6))


def test_dropout_draws_new_numbers_at_each_replay(on_gpu, monkeypatch):
    from basicsr.utils.registry import ARCH_REGISTRY

    from tests.models.conftest import Dropping

    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Dropping", Dropping)
    still = {"type": "Adam", "lr": 0.0, "fused": True}
    model = build(on_gpu(network_g={"type": "Dropping"}, train={"optim_g": still, "cuda_graph": True}))
    losses = []
    for number in range(1, 9):
        step(model, number, batch(1))
        losses.append(model.get_current_log()["l_pix"])
    graph_of(model)
    assert len(set(losses)) == 8


@pytest.mark.parametrize(("features", "graph"), [({}, False), ({"amp": "bf16", "channels_last": True}, True)])
def test_compiled_blocks_give_the_weights_of_usual_ones(features, graph, on_gpu, log):
    network = {**RCAN, "num_feat": 16, "num_group": 2, "num_block": 3}
    features = {**features, "optim_g": ADAM, "ema_decay": 0.9}
    torch._dynamo.reset()
    model = build(on_gpu(network_g=network, train={**features, "compile": "blocks", "cuda_graph": graph}))
    plain = build(on_gpu(network_g=network, train=features))
    before = weights(plain)
    for one in (model, plain):
        train(one, 20)
    if graph:
        graph_of(model)
    # The mean, because Adam turns the rounding of a gradient near zero into a step of the rate.
    bound = (0.1 if "amp" in features else 0.01) * mean_distance(weights(plain), before)
    assert mean_distance(weights(model), weights(plain)) < bound
    assert model.get_current_log()["l_pix"] == pytest.approx(plain.get_current_log()["l_pix"], rel=0.02)
    assert any("Compiling 6 x RCAB" in text for text in log.messages)
    assert any(text.startswith("First step, with compilation: ") for text in log.messages)
    model.validation(Images().loader, 20, None)


def test_one_rank_with_nccl(on_gpu, tmp_path):
    """As under torchrun with one process: recorded as without."""
    group = {"init_method": f"file://{tmp_path / 'rendezvous'}", "rank": 0, "world_size": 1}
    if not torch.distributed.is_nccl_available():
        pytest.skip("no NCCL")
    plain = weights(train(build(on_gpu(train={**GRAPH, **GUARD})), 8))
    torch.distributed.init_process_group("nccl", **group)
    try:
        model = train(build(on_gpu(dist=True, train={**GRAPH, **GUARD})), 8)
        graph_of(model)
        assert same(weights(model), plain)
    finally:
        with contextlib.suppress(RuntimeError):
            torch.distributed.destroy_process_group()
