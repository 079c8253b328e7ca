"""Gradients and weights of several ranks: two processes with gloo."""

import torch
from torch import nn

from rcan_plugin.training.ranks import several_ranks
from tests.conftest import ROOT


def test_two_ranks(run, tmp_path):
    run("-m", "tests.training.two_ranks", tmp_path, cwd=ROOT)
    (first, gradients), (second, others) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
    torch.manual_seed(0)
    assert torch.equal(first["0.weight"], nn.Conv2d(3, 4, 3).weight) and first["1.num_batches_tracked"] == 0
    expected = torch.full((2, 3, 2, 2), 1.5)
    expected[0, 1, 0, 1] = 5
    for mine in (gradients, others):
        assert torch.equal(mine[0], expected) and mine[0].is_contiguous(memory_format=torch.channels_last)
        assert mine[1].tolist() == [0, 0.5, 1]


def test_a_single_process():
    assert not several_ranks()
