"""Rates of their own for parts of a network, and clipping that follows them."""

import math

import pytest
import torch
from basicsr.models.sr_model import SRModel

from rcan_plugin.models.accelerated_model import check
from rcan_plugin.training import checkpoints
from rcan_plugin.training.clipping import clip
from tests.comparison import names_all, same
from tests.models.conftest import batch, build, resumed, step, train, weights

ADAM = {"type": "Adam", "lr": 1e-3, "betas": [0.9, 0.99]}
SGD = {"type": "SGD", "lr": 0.1}
LAST = {"conv_last": 0.1}


def by_name(model) -> dict[str, float]:
    """The rate of each parameter."""
    names = {parameter: name for name, parameter in model.net_g.named_parameters()}
    return {names[one]: group["lr"] for group in model.optimizer_g.param_groups for one in group["params"]}


def change(before, after) -> dict[str, torch.Tensor]:
    return {name: after[name] - value for name, value in before.items()}


# -- the rates


def test_parts_learn_at_their_own_rates_and_factors_multiply(options):
    rates = {"conv_last": 0.1, "bias": 2.0}
    model = build(options(train={"optim_g": {**ADAM, "layer_rates": rates}}))
    expected = {
        name: 1e-3 * (0.1 if "conv_last" in name else 1) * (2 if "bias" in name else 1)
        for name, _ in model.net_g.named_parameters()
    }
    assert by_name(model) == pytest.approx(expected, rel=1e-12)
    assert expected["conv_last.bias"] == 2e-4 and {1e-3, 2e-3, 1e-4} < set(expected.values())
    assert sorted(model.get_current_learning_rate()) == pytest.approx([1e-4, 2e-4, 1e-3, 2e-3], rel=1e-12)


def test_a_step_is_so_much_longer_or_shorter(options):
    plain, model = (build(options(train={"optim_g": {**SGD, **more}})) for more in ({}, {"layer_rates": LAST}))
    before = weights(model)
    assert same(before, weights(plain))
    for one in (plain, model):
        step(one, 1)
    whole, found = change(before, weights(plain)), change(before, weights(model))
    for name, value in whole.items():
        assert value.any()
        factor = 0.1 if "conv_last" in name else 1.0
        torch.testing.assert_close(found[name], factor * value, rtol=1e-3, atol=1e-7)


def test_a_factor_of_0_keeps_a_part_as_it_is(options):
    model = build(options(train={"optim_g": {**ADAM, "layer_rates": {"conv_last": 0.0}}}))
    before = weights(model)
    found = change(before, weights(train(model, 3)))
    assert {name for name, value in found.items() if not value.any()} == {"net.conv_last.weight", "net.conv_last.bias"}


@pytest.mark.parametrize("layer_rates", [{}, {"layer_rates": None}, {"layer_rates": {}}, {"layer_rates": {"conv": 1}}])
def test_without_them_there_is_one_group_and_steps_are_srmodels(layer_rates, options):
    model = build(options(train={"optim_g": {**ADAM, **layer_rates}}))
    assert len(model.optimizer_g.param_groups) == 1
    theirs = build(options(train={"optim_g": ADAM}), SRModel)
    assert same(weights(train(model, 8)), weights(train(theirs, 8)))


def test_a_part_of_no_name_is_refused(options):
    opt = options(train={"optim_g": {**ADAM, "layer_rates": {"conv_last": 0.1, "tail": 0.1}}})
    with pytest.raises(ValueError) as caught:
        build(opt)
    assert str(caught.value) == (
        "train: optim_g: layer_rates names 'tail'; expected a part of a parameter's name, such as 'conv_first.weight'."
    )


SCHEDULES = {
    "MultiStepLR": ({}, {1: 1e-3, 6: 1e-3, 7: 5e-4, 12: 5e-4, 13: 2.5e-4}),
    "warm-up": ({"warmup_iter": 5}, {1: 2e-4, 4: 8e-4}),
    "WarmupCosineLR": (
        {"scheduler": {"type": "WarmupCosineLR", "total": 14, "warmup": 4}},
        {1: 2.5e-4, 4: 1e-3, 8: 1e-3 * (1 + math.cos(math.pi / 3)) / 2, 14: 0.0},
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_scale_all_rates(schedule, options):
    more, known = SCHEDULES[schedule]
    plain = build(options(train={"optim_g": ADAM, **more}))
    model = build(options(train={"optim_g": {**ADAM, "layer_rates": LAST}, **more}))
    for number in range(1, 15):
        for one in (plain, model):
            step(one, number)
        (rate,) = plain.get_current_learning_rate()
        assert rate == pytest.approx(known.get(number, rate), rel=1e-9, abs=1e-15)
        assert model.get_current_learning_rate() == pytest.approx([rate, 0.1 * rate], rel=1e-9, abs=1e-15)


# -- going on


def test_a_resumed_run_keeps_them(options, tmp_path, log):
    opt = options(train={"optim_g": {**ADAM, "layer_rates": LAST}})
    model = train(build(opt), 5)
    model.save(0, 5)
    other = resumed(opt, checkpoints.load(tmp_path / "training_states/5.state"), folder=tmp_path)
    for number in range(6, 9):
        for one in (model, other):
            step(one, number)
        expected = [1e-3, 1e-4] if number == 6 else [5e-4, 5e-5]
        assert other.get_current_learning_rate() == pytest.approx(expected, rel=1e-12)
    assert same(weights(model), weights(other)) and by_name(model) == by_name(other)
    assert same(model.optimizer_g.state_dict(), other.optimizer_g.state_dict())
    assert "The learning rates in the option file differ" not in log.text


@pytest.mark.parametrize(
    "edit",
    [
        {"optim_g": {**ADAM, "layer_rates": {"conv_last": 0.4}}},
        {"optim_g": {**ADAM, "lr": 1e-4, "layer_rates": LAST}},
        {"optim_g": {**ADAM, "layer_rates": {"last": 0.3}}},  # the same parameters
        {"scheduler": {"type": "MultiStepLR", "milestones": [3, 8], "gamma": 0.1}},
    ],
    ids=str,
)
def test_edited_rates_take_effect(edit, options, tmp_path, log):
    opt = {"optim_g": {**ADAM, "layer_rates": LAST}}
    model = train(build(options(train=opt)), 5)
    model.save(0, 5)
    changed = options(train={**opt, **edit})
    other = resumed(changed, checkpoints.load(tmp_path / "training_states/5.state"), folder=tmp_path)
    assert same(list(other.optimizer_g.state.values()), list(model.optimizer_g.state.values())), "momentum stays"
    fresh = train(build(changed), 5)
    for number in range(6, 15):
        for one in (other, fresh):
            step(one, number)
        assert by_name(other) == pytest.approx(by_name(fresh), rel=1e-12)
        assert len(set(by_name(other).values())) == 2
    assert log.text.count("The learning rates in the option file differ") == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, LAST),
        (LAST, None),
        (LAST, {"conv_after_body": 0.1}),  # groups of the same sizes
        ({"conv_last": 0.1, "conv_first": 0.1}, {"conv_last": 0.1, "conv_first": 0.2}),
    ],
    ids=str,
)
def test_a_resumed_run_has_the_same_groups(before, after, options, tmp_path):
    """What an optimiser keeps of a parameter is found by its number among them."""
    train(build(options(train={"optim_g": {**ADAM, "layer_rates": before}})), 2).save(0, 5)
    state = checkpoints.load(tmp_path / "training_states/5.state")
    with pytest.raises(ValueError) as caught:
        resumed(options(train={"optim_g": {**ADAM, "layer_rates": after}}), state, folder=tmp_path)
    assert names_all(caught.value, f"train: optim_g: layer_rates is {after}", f"but {before} in the state")
    assert names_all(caught.value, "path: pretrain_network_g")


def test_a_state_of_basicsrs_model_has_one_group(options, tmp_path):
    train(build(options(), SRModel), 2).save(0, 5)
    state = torch.load(tmp_path / "training_states/5.state", weights_only=True)
    with pytest.raises(ValueError, match=r"layer_rates is \{'conv_last': 0.1\}, but None in the state"):
        resumed(options(train={"optim_g": {**ADAM, "layer_rates": LAST}}), state, folder=tmp_path)


# -- clipping


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        ("adjustable", 0.35, ([3.0, -3.5], [7.0])),  # 0.35 / 0.1 and 0.35 / 0.05
        ("value", 3.5, ([3.0, -3.5], [3.5])),
        ("norm", 6.5, ([1.5, -2.0], [6.0])),  # of (3, -4, 12) the norm is 13: of all together
    ],
)
def test_clipping_of_two_groups(kind, number, expected):
    parameters = [torch.nn.Parameter(torch.zeros(size)) for size in (2, 1, 3)]  # the last has no gradient
    for parameter, gradient in zip(parameters, ([3.0, -4.0], [12.0]), strict=False):
        parameter.grad = torch.tensor(gradient)
    groups = [{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:], "lr": 0.05}]
    clip(torch.optim.SGD(groups), kind, number)
    for parameter, gradient in zip(parameters, expected, strict=False):
        torch.testing.assert_close(parameter.grad, torch.tensor(gradient), rtol=1e-5, atol=0)
    assert parameters[2].grad is None


def test_with_adjustable_clipping_no_step_is_longer_than_theta(options):
    """Whatever the rate: 1 in the body, 0.1 in the last convolution, half of it after a milestone."""
    features = {"grad_clip": {"adjustable": 1e-4}, "optim_g": {"type": "SGD", "lr": 1.0, "layer_rates": LAST}}
    model = build(options(train={**features, "scheduler": {"type": "MultiStepLR", "milestones": [1], "gamma": 0.5}}))
    for number, rate in ((1, 1.0), (2, 0.5)):
        before = weights(model)
        step(model, number, batch(1))
        taken = change(before, weights(model))
        for own, names in ((0.1, True), (1.0, False)):
            members = {name for name in taken if ("conv_last" in name) == names}
            largest = max(float(taken[name].abs().max()) for name in members)
            assert largest == pytest.approx(1e-4, rel=2e-2)  # the last bits of a weight
            gradients = [one.grad for name, one in model.net_g.named_parameters() if f"net.{name}" in members]
            bound = 1e-4 / (rate * own)
            assert max(float(one.abs().max()) for one in gradients) == pytest.approx(bound, rel=1e-6)


@pytest.mark.parametrize("rates", [0.1, {"bias": "0.1"}, {"bias": -1.0}, {"bias": True}])
def test_rates_that_are_none_are_refused_before_anything_is_built(rates, options):
    with pytest.raises(ValueError, match=r"optim_g: layer_rates is .*; expected parts of parameters' names"):
        check(options(train={"optim_g": {"type": "SGD", "lr": 0.1, "layer_rates": rates}}))
