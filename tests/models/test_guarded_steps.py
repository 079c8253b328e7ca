"""Guard and clipping in the training steps of a model."""

import pytest
import torch

from rcan_plugin.training import checkpoints
from rcan_plugin.training.guard import Guard, StuckError
from tests.comparison import names_all, same
from tests.disks import names
from tests.models.conftest import ADAM, Images, build, resumed, spoilt, step, train, weights

OPTIMISERS = {
    "Adam": ADAM,
    "fused Adam": {**ADAM, "fused": True},
    "fused AdamW": {**ADAM, "type": "AdamW", "fused": True},
    "SGD": {"type": "SGD", "lr": 1e-3, "momentum": 0.9},
    "fused SGD": {"type": "SGD", "lr": 1e-3, "momentum": 0.9, "fused": True},
}


@pytest.mark.parametrize("features", [{}, {"guard": {"factor": 10, "stop_after": 3}}, {"amp": "fp16"}])
def test_a_step_clips_the_gradients_themselves(features, options):
    """Not the scaled ones of fp16. With SGD at rate 1 a step shows its gradient."""
    optim = {"type": "SGD", "lr": 1.0}
    clipped = {"value": 3e-4}, {"adjustable": 3e-4}, {"norm": 0.005}
    for option in clipped:
        plain, model = (
            build(options(train={"optim_g": optim, **features, **more})) for more in ({}, {"grad_clip": option})
        )
        before = weights(model)
        for one in (plain, model):
            step(one, 1)
        whole, taken = (
            torch.cat([(before[name] - value).flatten() for name, value in weights(one).items()])
            for one in (plain, model)
        )
        assert whole.abs().max() > 1e-3 and whole.norm() > 0.01
        if "norm" in option:
            torch.testing.assert_close(taken, whole * 0.005 / whole.norm(), rtol=1e-3, atol=1e-7)
        else:
            torch.testing.assert_close(taken, whole.clip(-3e-4, 3e-4), rtol=1e-3, atol=1e-7)


def test_adjustable_clipping_follows_the_rate(options):
    schedule = {"type": "MultiStepLR", "milestones": [1], "gamma": 0.1}
    model = build(
        options(train={"optim_g": {"type": "SGD", "lr": 1.0}, "scheduler": schedule, "grad_clip": {"adjustable": 1e-4}})
    )
    for number, bound in ((1, 1e-4), (2, 1e-3)):
        step(model, number)
        largest = max(one.grad.abs().max() for one in model.net_g.parameters())
        torch.testing.assert_close(largest, torch.tensor(bound), rtol=1e-5, atol=0)


@pytest.mark.parametrize("how", ["NaN in the batch", "an inf gradient", "a loss far above the mean"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("amp", [None, "bf16", "fp16"])
def test_a_bad_step_is_not_taken(how, optimiser, amp, options):
    features = {"optim_g": OPTIMISERS[optimiser], "amp": amp, "guard": {"factor": 10, "stop_after": 3}}
    model, undisturbed = (
        train(build(options(train={**features, "scheduler": {"type": "MultiStepLR", "milestones": []}})), 3)
        for _ in range(2)
    )
    before, mean = weights(model), model.guard.mean.clone()
    state = [{key: value.clone() for key, value in one.items()} for one in model.optimizer_g.state.values()]
    step(model, 4, spoilt(model, how))
    assert same(weights(model), before)
    assert same(list(model.optimizer_g.state.values()), state)
    assert model.get_current_log()["skipped"] == 1 and same(model.guard.mean, mean)
    if "Adam" in optimiser:
        assert {one["step"].item() for one in model.optimizer_g.state.values()} == {3}
    overflow = amp == "fp16" and how != "a loss far above the mean"
    assert model.scaler.get_scale() == {None: 1.0, "bf16": 1.0, "fp16": 2.0 ** (15 if overflow else 16)}[amp]
    # It goes on as if that batch had not been.
    for one in (model, undisturbed):
        step(one, 5)
    assert not same(weights(model), before)
    if not overflow:
        assert same(weights(model), weights(undisturbed))
    assert model.get_current_log()["skipped"] == 1


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_bad_first_step_leaves_nothing_behind(optimiser, options):
    features = {"optim_g": OPTIMISERS[optimiser], "guard": {"factor": 10, "stop_after": 3}}
    model, fresh = build(options(train=features)), build(options(train=features))
    step(model, 1, spoilt(model, "NaN in the batch"))
    for one in (model, fresh):
        step(one, 1)
    assert same(weights(model), weights(fresh))
    assert same(model.optimizer_g.state_dict()["state"], fresh.optimizer_g.state_dict()["state"])


@pytest.mark.parametrize("amp", [None, "bf16"])
def test_with_fused_adam_nothing_waits_for_the_device(amp, options, monkeypatch):
    """From the batch to the weights no tensor is asked for its value."""
    features = {"amp": amp, "ema_decay": 0.9, "grad_accum": 2, "channels_last": True, "grad_clip": {"norm": 1.0}}
    model = build(
        options(train={**features, "optim_g": OPTIMISERS["fused Adam"], "guard": {"factor": 10, "stop_after": 3}})
    )
    train(model, 2)
    before = weights(model)

    def refuse(*_):
        raise AssertionError("the host waits")

    for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__", "__array__"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    monkeypatch.setattr(Guard, "is_stuck", lambda *_: False)  # every so often it does ask
    step(model, 3)
    monkeypatch.undo()
    assert not same(weights(model), before)


def test_too_many_in_a_row_end_the_training(options):
    model = build(options(train={"guard": {"factor": 10, "stop_after": 3}, "ema_decay": 0.9}))
    train(model, 1)
    for number in (2, 3):
        step(model, number, spoilt(model, "NaN in the batch"))
    step(model, 4)  # a good one begins the count anew
    assert model.get_current_log()["skipped"] == 2
    for number in (5, 6):
        step(model, number, spoilt(model, "NaN in the batch"))
    with pytest.raises(StuckError) as caught:
        step(model, 7, spoilt(model, "a loss far above the mean"))
    images = "99_0.png, 99_1.png, 99_2.png, 99_3.png"
    assert names_all(caught.value, "iteration 7", "3 steps in a row", images, "optim_g: lr", "grad_clip")
    assert str(caught.value).endswith("No good state was saved: start a new run.")


GUARDED = {"train": {"guard": {"factor": 10, "stop_after": 3}}, "logger": {"keep_last": 1}}
BAD = "a loss far above the mean"


def test_nothing_is_saved_or_deleted_while_steps_are_skipped(options, tmp_path, log):
    model = train(build(options(**GUARDED)), 2)
    for number in (1, 2):
        model.save(0, number)
    step(model, 3, spoilt(model, BAD))
    model.save(0, 3)
    model.validation(Images().loader, 3, None)
    assert log.messages[-2].startswith("Iteration 3 is not saved: the last 1 steps were skipped")
    assert "-inf @ -1 iter" in log.messages[-1], "destroyed weights are never the best"
    states = ["1.state", "2.state"]  # one more than keep_last: the newest may turn out to be destroyed
    assert names(tmp_path / "training_states") == states
    assert names(tmp_path / "models") == ["net_g_1.pth", "net_g_2.pth"]
    model.save(-1, -1)
    assert "net_g_latest.pth: the last 1 steps were skipped" in log.messages[-1]
    assert log.messages[-1].endswith("training_states/2.state: resume from it with --auto_resume.")
    step(model, 4)
    model.save(0, 4)
    assert names(tmp_path / "training_states") == ["2.state", "4.state"]


@pytest.mark.parametrize(("accepted_after", "good"), [(0, 2), (1, 4)])
def test_a_state_from_which_no_step_was_accepted_is_renamed(accepted_after, good, options, tmp_path):
    model = build(options(**GUARDED))
    for number in (2, 4):
        train(model, number, first=number - 1)
        model.save(0, number)
    train(model, 4 + accepted_after, first=5)
    for number in (5, 6):
        step(model, number + accepted_after, spoilt(model, BAD))
    with pytest.raises(StuckError) as caught:
        step(model, 7 + accepted_after, spoilt(model, BAD))
    state = tmp_path / f"training_states/{good}.state"
    assert str(caught.value).endswith(f"The last good state is {state}: resume from it with --auto_resume.")
    assert ("4.state was renamed to 4.state.rejected" in str(caught.value)) == (good == 2)
    assert checkpoints.states(tmp_path / "training_states")[0] == state


def test_a_resumed_state_from_which_no_step_is_accepted_is_renamed_too(options, tmp_path):
    """It was saved before the first rejected step, and the run was killed; a state of a longer run is left alone."""
    model = build(options(**GUARDED))
    for number in (2, 4):
        train(model, number, first=number - 1)
        model.save(0, number)
    (tmp_path / "training_states/9.state").touch()
    state = checkpoints.load(tmp_path / "training_states/4.state")
    again = resumed(options(**GUARDED), state, "models/net_g_4.pth", tmp_path)
    for number in (5, 6):
        step(again, number, spoilt(again, BAD))
    with pytest.raises(StuckError) as caught:
        step(again, 7, spoilt(again, BAD))
    assert names(tmp_path / "training_states") == ["2.state", "4.state.rejected", "9.state"]
    assert str(caught.value).endswith(f"resume from it with path: resume_state: {tmp_path}/training_states/2.state.")


def test_without_a_guard_such_a_step_is_taken(options):
    model = build(options())
    step(model, 1, spoilt(model, "NaN in the batch"))
    assert any(value.isnan().any() for value in weights(model).values())
    assert "skipped" not in model.get_current_log()


@pytest.mark.parametrize("network", [{"type": "DRRNArch", "num_in_ch": 3, "num_feat": 4, "num_unit": 1, "upscale": 2}])
def test_a_step_that_is_not_taken_leaves_running_means_as_they_were(network, options):
    features = {"guard": {"factor": 10, "stop_after": 3}, "ema_decay": 0.9}
    model = build(options(network_g=network, train=features))
    step(model, 1)
    before = weights(model)
    assert any("running_mean" in name for name in before)
    step(model, 2, spoilt(model, "NaN in the batch"))
    after = weights(model)
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("net."))
    assert all(value.isfinite().all() for value in after.values())
    step(model, 3)
    assert not same(weights(model)["net.first.norm.running_mean"], before["net.first.norm.running_mean"])
