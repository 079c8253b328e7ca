"""The guard by itself: which steps it rejects, and what it counts."""

import math

import pytest
import torch

from rcan_plugin.training.guard import Guard

CPU = torch.device("cpu")


def decisions(guard: Guard, losses, gradients=None) -> list[float]:
    gradients = gradients or [1.0] * len(losses)
    return [
        guard.rejects(torch.tensor(loss), [torch.tensor([one])]).item()
        for loss, one in zip(losses, gradients, strict=True)
    ]


def test_the_running_mean_is_of_good_steps_only():
    guard = Guard(CPU, 10.0, 5)
    assert decisions(guard, [math.nan, 2.0, 21.0, math.inf, 19.0, 21.0]) == [1, 0, 1, 1, 0, 0]
    assert guard.mean.item() == pytest.approx(0.99 * (0.99 * 2 + 0.01 * 19) + 0.01 * 21, rel=1e-6)
    assert (guard.skipped.item(), guard.in_a_row.item()) == (3, 0)


def test_gradients_that_are_not_finite():
    guard = Guard(CPU, 10.0, 5)
    assert decisions(guard, [1.0] * 4, [1.0, math.inf, math.nan, 1e18]) == [0, 1, 1, 0]
    assert guard.mean.item() == 1.0


def test_ranks_agree(monkeypatch):
    """A rank whose own batch is good learns of another's that is not."""
    guard = Guard(CPU, 10.0, 5)
    asked = []

    def all_reduce(value, operation):
        asked.append((value.item(), operation))
        value.fill_(1.0)

    monkeypatch.setattr("rcan_plugin.training.guard.several_ranks", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    assert decisions(guard, [1.0]) == [1]
    assert asked == [(0.0, torch.distributed.ReduceOp.MAX)]
    assert (guard.mean.item(), guard.skipped.item(), guard.in_a_row.item()) == (math.inf, 1, 1)


def test_its_state():
    """Without the count of steps in a row: a resumed run begins it anew, also from a state of version 0.1.0."""
    guard, other = Guard(CPU, 10.0, 5), Guard(CPU, 10.0, 5)
    decisions(guard, [2.0, math.nan])
    assert guard.state_dict() == {"mean": 2.0, "skipped": 1} and guard.streak() == 1
    other.load_state_dict({**guard.state_dict(), "in_a_row": 100})
    assert other.streak() == 0
    assert decisions(guard, [19.0, 30.0]) == decisions(other, [19.0, 30.0]) == [0, 1]
    assert guard.state_dict() == other.state_dict() and guard.streak() == other.streak() == 1


def test_it_is_stuck_after_enough_steps_in_a_row():
    guard = Guard(CPU, 10.0, 3)
    stuck = []
    for number, loss in enumerate([1.0, math.nan, math.nan, 1.0, math.nan, 90.0, math.inf, 1.0], start=1):
        decisions(guard, [loss])
        stuck.append(guard.is_stuck(number))
    assert stuck == [False] * 6 + [True, False]


def test_a_gpu_is_asked_only_every_so_often():
    guard = Guard(torch.device("meta"), 10.0, 5)  # of which no value can be had
    assert not any(guard.is_stuck(number) for number in (1, 4, 6, 9))
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        guard.is_stuck(5)
