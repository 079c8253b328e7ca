"""Gradient clipping by itself."""

import math

import pytest
import torch
from torch import nn

from rcan_plugin.training.clipping import clip, read_clipping


@pytest.mark.parametrize(
    ("kind", "number", "lr", "expected"),
    [
        ("norm", 6.5, 0.1, ([1.5, -2.0], [6.0])),  # of (3, -4, 12) the norm is 13
        ("norm", 20.0, 0.1, ([3.0, -4.0], [12.0])),
        ("value", 3.5, 0.1, ([3.0, -3.5], [3.5])),
        ("adjustable", 0.35, 0.1, ([3.0, -3.5], [3.5])),
        ("adjustable", 0.35, 0.05, ([3.0, -4.0], [7.0])),
        ("adjustable", 0.35, 0.0, ([0.35, -0.35], [0.35])),  # a warm-up may begin there
        ("adjustable_norm", 0.65, 0.1, ([1.5, -2.0], [6.0])),
        ("adjustable_norm", 0.65, 0.05, ([3.0, -4.0], [12.0])),
        ("adjustable_norm", 6.5, 0.0, ([1.5, -2.0], [6.0])),
    ],
)
@pytest.mark.parametrize("on_device", [False, True])
def test_clipping_of_known_gradients(kind, number, lr, expected, on_device):
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    for parameter, gradient in zip(parameters, ([3.0, -4.0], [12.0]), strict=True):
        parameter.grad = torch.tensor(gradient)
    optimizer = torch.optim.SGD(parameters, lr=lr)
    if on_device:
        optimizer.param_groups[0]["lr"] = torch.tensor(lr)
    clip(optimizer, kind, number)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, torch.tensor(gradient), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("kind", "theta"), [("norm", 2.0), ("value", 0.3)])
def test_it_is_torchs_bit_for_bit(kind, theta):
    gradients = [torch.randn(5, 3, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    ours, theirs = ([nn.Parameter(torch.zeros(5, 3)) for _ in gradients] for _ in range(2))
    for parameters in (ours, theirs):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
    clip(torch.optim.SGD(ours, lr=0.1), kind, theta)
    torch_clip = {"norm": nn.utils.clip_grad_norm_, "value": nn.utils.clip_grad_value_}[kind]
    torch_clip(theirs, theta)
    assert all(torch.equal(one.grad, other.grad) for one, other in zip(ours, theirs, strict=True))
    assert not torch.equal(ours[0].grad, gradients[0])


@pytest.mark.parametrize("kind", ["norm", "value", "adjustable", "adjustable_norm"])
def test_without_gradients_nothing_happens(kind):
    parameter = nn.Parameter(torch.zeros(2))
    clip(torch.optim.SGD([parameter], lr=0.1), kind, 1.0)
    assert parameter.grad is None


@pytest.mark.parametrize(
    "option", [1.0, {}, {"norm": 0}, {"norm": -1}, {"norm": "1"}, {"norm": True}, {"value": math.inf},
               {"value": math.nan}, {"theta": 1}, {"norm": 1, "value": 1}, ["norm"]],
)  # fmt: skip
def test_wrong_clipping_is_refused(option):
    with pytest.raises(ValueError) as caught:
        read_clipping(option)
    assert str(caught.value) == (
        f"train: grad_clip is {option!r}; expected one of {{norm: N}}, {{value: N}}, {{adjustable: N}}, "
        "{adjustable_norm: N}."
    )


def test_clipping_that_is_read():
    assert read_clipping(None) is None
    assert read_clipping({"norm": 1}) == ("norm", 1.0) and read_clipping({"adjustable": 0.4}) == ("adjustable", 0.4)
