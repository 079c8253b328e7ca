"""`train: freeze`: parts of a network that keep their weights in the first iterations."""

import pytest
import torch

from rcan_plugin.models.accelerated_model import check
from rcan_plugin.training import checkpoints
from tests.comparison import same
from tests.models.conftest import RCAN, build, resumed, step, train, weights
from tests.recorders import FakeRecorder, use

RATE = 2.0**-10
ADAMW = {"type": "AdamW", "lr": RATE, "weight_decay": 0.1, "fused": True}
TRUNK = {"parts": ["conv_first", "body"], "until": 5}
FROZEN = ("net.conv_first", "net.body", "net.conv_after_body")


def trunk(model) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights(model).items() if name.startswith(FROZEN)}


def test_parts_keep_their_values_until_the_iteration_that_is_named(options, log):
    model = build(options(train={"optim_g": ADAMW, "freeze": TRUNK}))
    at_first, tail = trunk(model), weights(model)["net.conv_last.weight"]
    assert len(at_first) > 10
    train(model, 5)
    assert same(trunk(model), at_first), "weight decay included"
    assert not torch.equal(weights(model)["net.conv_last.weight"], tail)
    assert len(model.optimizer_g.state) == 4, "upsample and conv_last, weight and bias"
    step(model, 6)
    assert not any(torch.equal(value, at_first[name]) for name, value in trunk(model).items())
    said = [record.getMessage() for record in log.records if "freeze" in record.getMessage()]
    count = len(at_first)
    assert said == [
        f"train: freeze: {count} tensors of the network keep their values until iteration 5.",
        f"train: freeze: {count} tensors of the network are trained now.",
    ]


def test_the_other_parts_are_trained_as_ever(options):
    frozen = build(options(train={"optim_g": ADAMW, "freeze": TRUNK}))
    plain = build(options(train={"optim_g": ADAMW}))
    for model in (frozen, plain):
        step(model, 1)
    found, expected = weights(frozen), weights(plain)
    rest = [name for name in expected if not name.startswith(FROZEN)]
    assert len(rest) == 4 and same({n: found[n] for n in rest}, {n: expected[n] for n in rest})


FEATURES = {
    "guard": {"guard": {"factor": 10, "stop_after": 3}},
    "clipping": {"grad_clip": {"norm": 1e-3}},
    "average": {"ema_decay": 0.9},
    "recomputed": {},
}


@pytest.mark.parametrize("features", FEATURES)
def test_recorded_steps_give_the_weights_of_usual_ones(features, options, monkeypatch):
    use(FakeRecorder(), monkeypatch)
    train_options = {"optim_g": ADAMW, "freeze": TRUNK, **FEATURES[features]}
    network = {**RCAN, "use_checkpoint": features == "recomputed"}
    recorded, usual = (
        build(options(train={**train_options, "cuda_graph": graph}, network_g=network)) for graph in (True, False)
    )
    for model in (recorded, usual):
        train(model, 11)
    assert recorded.run_step.shapes and all(shape.replay for shape in recorded.run_step.shapes.values())
    assert same(weights(recorded), weights(usual))


@pytest.mark.parametrize("at", [3, 5, 7])
def test_a_resumed_run_ends_as_an_unbroken_one(at, options, tmp_path):
    opt = options(train={"optim_g": ADAMW, "freeze": TRUNK})
    model = train(build(opt), at)
    model.save(0, at)
    state = checkpoints.load(tmp_path / f"training_states/{at}.state")
    other = resumed(opt, state, f"models/net_g_{at}.pth", tmp_path)
    for number in range(at + 1, 10):
        for one in (model, other):
            step(one, number)
    assert same(weights(model), weights(other))


@pytest.mark.parametrize(
    "option",
    ["body", {"parts": "body", "until": 3}, {"parts": [], "until": 3}, {"parts": ["body"], "until": 0}],
    ids=str,
)
def test_an_option_that_is_malformed_is_refused_before_anything_is_built(option, options):
    with pytest.raises(ValueError, match=r"^train: freeze is .*; expected \{parts: \[PART, \.\.\.\], until: N\}"):
        check(options(train={"freeze": option}))
