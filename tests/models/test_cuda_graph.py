"""`train: cuda_graph`: a model whose steps are recorded, by a stand-in for CUDA graphs, trains as one without."""

import pytest
import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import ARCH_REGISTRY

from rcan_plugin.training import captured, checkpoints
from tests.comparison import names_all, same
from tests.models.conftest import RCAN, Dropping, Images, batch, build, resumed, spoilt, step, train, weights
from tests.recorders import FakeRecorder, use
from tests.walks import modules_walked

RATE = 2.0**-10  # exact in float32, which is what a device's rates are
ADAM = {"type": "Adam", "lr": RATE, "betas": [0.9, 0.99], "fused": True}
GRAPH = {"optim_g": ADAM, "cuda_graph": True}
GUARD = {"guard": {"factor": 10, "stop_after": 3}}
MDSR = {"type": "MDSRArch", "num_feat": 4, "num_block": 1, "scales": [2, 3]}
DRRN = {"type": "DRRNArch", "num_in_ch": 3, "num_feat": 4, "num_unit": 1, "upscale": 2}


@pytest.fixture
def recorder(monkeypatch):
    return use(FakeRecorder(), monkeypatch)


def warnings_of(log) -> list[str]:
    """The warnings about graphs."""
    messages = (record.getMessage() for record in log.records if record.levelname == "WARNING")
    return [message for message in messages if "cuda_graph" in message]


FEATURES = {
    "nothing else": {},
    "guard": GUARD,
    "bf16, channels-last, average": {"amp": "bf16", "channels_last": True, "ema_decay": 0.9, **GUARD},
    "fp16": {"amp": "fp16"},
    "fp16, guard, clipping": {"amp": "fp16", "grad_clip": {"norm": 1e-3}, **GUARD},
    "parts": {"grad_accum": 2, **GUARD},
    "norm": {"grad_clip": {"norm": 1e-3}},
    "value": {"grad_clip": {"value": 1e-5}},
    "adjustable": {"grad_clip": {"adjustable": 2.0**-24}},
    "adjustable norm": {"grad_clip": {"adjustable_norm": 2.0**-20}},
    "two rates": {"optim_g": {**ADAM, "layer_rates": {"conv_last": 0.5}}},
    "AdamW": {"optim_g": {**ADAM, "type": "AdamW", "weight_decay": 0.1}, **GUARD},
    "warm-up": {"warmup_iter": 8},
}


@pytest.mark.parametrize("features", FEATURES)
def test_recorded_steps_give_the_weights_of_usual_ones(features, options, recorder):
    """Also with a rejected batch among them, and with a rate that is halved after the sixth."""
    more = FEATURES[features]
    model, plain = (build(options(train={"optim_g": ADAM, **more, "cuda_graph": graph})) for graph in (True, False))
    logs = []
    for one in (model, plain):
        before = weights(one)
        one_log = []
        for number in range(1, 13):
            step(one, number, spoilt(one, "NaN in the batch") if "guard" in more and number in (2, 8) else None)
            one_log.append(one.get_current_log())
        assert not same(before, weights(one))
        logs.append(str(one_log))
    assert recorder.counts == (3, 1, 9)
    assert same(weights(model), weights(plain)) and logs[0] == logs[1]
    assert same(model.optimizer_g.state_dict()["state"], plain.optimizer_g.state_dict()["state"])
    assert model.get_current_learning_rate() == plain.get_current_learning_rate()
    assert model.scaler.state_dict() == plain.scaler.state_dict()
    if "guard" in more:
        assert model.get_current_log()["skipped"] == 2


@pytest.mark.parametrize("network", ["several outputs", "running means", "several scales"])
def test_other_networks(network, options, recorder):
    laps = {"type": "LapSRNArch", "num_in_ch": 3, "num_feat": 4, "depth": 1, "upscale": 4}
    own = {"several outputs": laps, "running means": DRRN, "several scales": MDSR}[network]
    loss = {"pixel_opt": {"type": "PyramidLoss"}} if own is laps else {}
    plan = {"several outputs": [4] * 8, "running means": [2] * 8, "several scales": [2, 3, 3, 2, 2, 3, 2, 3] * 2}
    models = [
        build(options(network_g=own, scale=own.get("upscale"), train={**GRAPH, **GUARD, **loss, "cuda_graph": graph}))
        for graph in (True, False)
    ]
    for number, scale in enumerate(plan[network], start=1):
        data = {**batch(number, scale=scale), "scale": torch.tensor([scale] * 4)}
        if number == 7:
            data["lq"][0] = torch.nan
        for model in models:
            step(model, number, data)
    assert same(*map(weights, models)) and models[0].get_current_log()["skipped"] == 1
    assert recorder.counts == ((6, 2, 10) if own is MDSR else (3, 1, 5)), "a graph for each scale"


def test_rates_are_numbers_outside_of_a_step(options, recorder, tmp_path):
    """For schedules, logs and saved states, which load elsewhere."""
    model = train(build(options(train=GRAPH)), 5)
    (group,) = model.optimizer_g.param_groups
    assert group["lr"] == RATE and type(group["lr"]) is float and group["capturable"] is False
    model.save(0, 5)
    state = checkpoints.load(tmp_path / "training_states/5.state")
    assert state["optimizers"][0]["param_groups"][0]["lr"] == RATE
    other = resumed(options(train={"optim_g": ADAM}), state, folder=tmp_path, cls=SRModel)
    for one in (model, other):
        train(one, 8, first=6)
    assert same(weights(model), weights(other))


def test_a_resumed_run_equals_one_that_was_not_stopped(options, recorder, tmp_path):
    opt = options(train={**GRAPH, **GUARD, "ema_decay": 0.9, "amp": "bf16"}, val={"cuda_graph": True, "amp": "bf16"})
    model = train(build(opt), 5)
    model.save(0, 5)
    model.validation(Images().loader, 5, None)
    other = resumed(opt, checkpoints.load(tmp_path / "training_states/5.state"), folder=tmp_path)
    for one in (model, other):
        train(one, 12, first=6)
        one.validation(Images().loader, 12, None)
    assert same(weights(model), weights(other)) and model.metric_results == other.metric_results
    assert same(model.optimizer_g.state_dict(), other.optimizer_g.state_dict())


def test_a_rate_edited_before_a_resume_takes_effect(options, recorder, tmp_path):
    train(build(options(train=GRAPH)), 5).save(0, 5)
    models = [
        resumed(
            options(train={"optim_g": {**ADAM, "lr": RATE / 4}, "cuda_graph": graph}),
            checkpoints.load(tmp_path / "training_states/5.state"),
            folder=tmp_path,
        )
        for graph in (True, False)
    ]
    for model in models:
        train(model, 12, first=6)
    assert same(*map(weights, models)) and models[0].get_current_learning_rate() == [RATE / 8]


def test_shapes_have_graphs_of_their_own_and_are_bounded(options, recorder, monkeypatch, log):
    monkeypatch.setattr(captured, "MAX_GRAPHS", 2)
    model, plain = (build(options(train={**GRAPH, "cuda_graph": graph})) for graph in (True, False))
    for number, side in enumerate([6, 8, 10] * 5, start=1):
        for one in (model, plain):
            step(one, number, batch(number, side=side))
    assert recorder.counts == (6, 2, 4)
    assert same(weights(model), weights(plain))
    (warning,) = warnings_of(log)
    assert names_all(warning, "2 shapes", "10, 10")


REFUSED = {
    "SGD": ({"optim_g": {"type": "SGD", "lr": 0.01}}, "SGD has no setting `capturable`"),
    "guard and Adam that is not fused": ({"optim_g": {**ADAM, "fused": False}, **GUARD}, "guard with optim_g: Adam"),
    "fp16 and NAdam": ({"optim_g": {"type": "NAdam", "lr": 1e-3}, "amp": "fp16"}, "amp: fp16 with optim_g: NAdam"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_recorded_is_reported_at_the_start(case, options, recorder, log):
    train_options, reason = REFUSED[case]
    model = build(options(train={**GRAPH, **train_options}))
    (warning,) = warnings_of(log)
    assert names_all(warning, reason, "continues without")
    plain = train(build(options(train={**train_options})), 6)
    assert same(weights(train(model, 6)), weights(plain)) and recorder.counts == (0, 0, 0)


def test_a_network_that_replaces_a_buffer_is_refused(options, recorder, log, monkeypatch):
    class Counting(Dropping):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count = self.count + 1
            return super().forward(x)

    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Counting", Counting)
    model = train(build(options(network_g={"type": "Counting"}, train=GRAPH)), 5)
    assert recorder.records == 0 and model.net_g.count == 5
    assert warnings_of(log) == [
        "train: cuda_graph: the step cannot be recorded: the network puts new tensors in the place of its buffer "
        "count. Training continues without."
    ]


def test_a_network_that_adds_a_buffer_in_its_first_step_is_recorded(options, recorder, log, monkeypatch):
    class Adding(Dropping):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not hasattr(self, "two"):
                self.register_buffer("two", torch.full((), 2.0), persistent=False)
            return super().forward(x) * self.two

    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Adding", Adding)
    train(build(options(network_g={"type": "Adding"}, train=GRAPH)), 5)
    assert recorder.counts == (3, 1, 2) and not warnings_of(log)


def test_a_loss_that_changes_with_the_iteration_is_refused(options, recorder, log):
    network = {"type": "DRCNArch", "num_in_ch": 3, "num_feat": 4, "num_recursion": 2, "upscale": 2}
    build(options(network_g=network, train={**GRAPH, "pixel_opt": {"type": "RecursiveLoss"}}))
    assert "RecursiveLoss changes with the iteration" in log.text


@pytest.mark.parametrize("features", [{}, {"amp": "fp16", **GUARD, "grad_clip": {"norm": 1.0}}])
def test_a_failed_recording_is_reported_once_and_training_continues(features, options, monkeypatch, log):
    recorder = use(FakeRecorder(RuntimeError("operation not permitted when stream is capturing\nmore")), monkeypatch)
    model, plain = (build(options(train={**GRAPH, **features, "cuda_graph": graph})) for graph in (True, False))
    for one in (model, plain):
        train(one, 8)
    assert same(weights(model), weights(plain))
    assert recorder.counts == (3, 1, 0) and recorder.recoveries == 1
    (warning,) = warnings_of(log)
    assert names_all(warning, "not permitted when stream is capturing. ", "continues without")


def test_a_recording_that_fails_in_the_optimizer_leaves_a_usable_model(options, monkeypatch, log):
    """The scaler has unscaled gradients, and the optimizer has been told to skip, when the error comes."""

    class FailsInOptimizer(FakeRecorder):
        def record(self, function):
            def fail():
                raise RuntimeError("halfway")

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(model.optimizer_g, "step", fail)
                function()

    use(FailsInOptimizer(), monkeypatch)
    model = build(options(train={**GRAPH, **GUARD, "amp": "fp16"}))
    train(model, 3)
    for number in (4, 5):
        before = weights(model)
        step(model, number)
        assert not same(weights(model), before)
    assert "halfway" in log.text and not hasattr(model.optimizer_g, "found_inf")
    assert all(value.isfinite().all() for value in weights(model).values())


def test_without_a_gpu_it_is_reported_once_and_changes_nothing(options, log):
    network = {**RCAN, "num_block": 2}
    opt = options(network_g=network, train={"cuda_graph": True}, val={"cuda_graph": True, "compile": "blocks"})
    model = build(opt)
    messages = [text for text in log.messages if "no effect without a GPU" in text]
    assert len(messages) == 1 and names_all(messages[0], "train: cuda_graph", "val: cuda_graph", "val: compile")
    assert same(weights(train(model, 3)), weights(train(build(options(network_g=network)), 3)))


@pytest.mark.parametrize("section", ["train", "val"])
def test_a_network_without_blocks_is_refused_at_the_start(section, options):
    vdsr = {"type": "VDSRArch", "num_in_ch": 3, "num_feat": 4, "num_layers": 3, "upscale": 2}
    with pytest.raises(ValueError, match="compile: blocks: VDSRArch has no repeated blocks"):
        build(options(network_g=vdsr, **{section: {"compile": "blocks"}}))


def test_validation_between_recorded_steps(options, recorder):
    """The averaged weights, which a graph updates, are those that are validated."""
    val = {"amp": "bf16", "tile": {"size": 8, "overlap": 2}}
    figures = []
    for graph in (True, False):
        features = {**GRAPH, "cuda_graph": graph, "ema_decay": 0.5}
        model = build(options(train=features, val={**val, "cuda_graph": graph}))
        results = []
        for first, last in ((1, 2), (3, 6), (7, 9)):
            train(model, last, first)
            model.validation(Images().loader, last, None)
            results.append(model.metric_results["psnr"])
        figures.append(results)
    assert figures[0] == figures[1] and len(set(figures[0])) == 3


@pytest.mark.parametrize("graph", [True, False])
def test_steps_and_images_do_not_walk_through_the_modules(graph, options, recorder):
    """For RCAN one walk takes as long on the host as a step or an image takes on a GPU."""
    features = {**GRAPH, **GUARD, "cuda_graph": graph, "ema_decay": 0.5, "amp": "bf16", "grad_clip": {"norm": 1.0}}
    model = train(build(options(train=features, val={"amp": "bf16", "cuda_graph": graph})), 5)
    assert modules_walked(lambda: train(model, 8, first=6)) == 0
    lq = batch(1, size=1)["lq"]
    for _ in range(3):
        model.upscale(lq, 2)  # converts the weights after the last step, and records
    assert modules_walked(lambda: [model.upscale(lq, 2) for _ in range(4)]) == 0
