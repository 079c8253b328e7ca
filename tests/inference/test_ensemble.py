"""Self-ensemble: the mean over flips and turns."""

import functools
import itertools

import pytest
import torch

from rcan_plugin.inference.ensemble import self_ensemble
from tests.inference.networks import assert_same, nearest, noise, pooling


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_ensemble_is_the_mean_of_the_turns_and_mirrored_turns(scale):
    lq, network = noise(2, 3, 9, 6), pooling(scale)
    results = []
    for quarters, mirrored in itertools.product(range(4), (False, True)):
        turned = torch.rot90(lq.flip(3) if mirrored else lq, quarters, (2, 3))
        back = torch.rot90(network(turned), -quarters, (2, 3))
        results.append(back.flip(3) if mirrored else back)
    assert not torch.allclose(results[0], results[1])
    assert_same(self_ensemble(network, lq), torch.stack(results).mean(0))


def test_ensemble_of_what_commutes_with_flips_is_the_plain_result():
    lq = noise(1, 3, 5, 8, dtype=torch.float32)
    assert_same(self_ensemble(functools.partial(nearest, scale=2), lq), nearest(lq, 2), atol=3e-7)
    before = lq.clone()
    assert_same(self_ensemble(lambda x: x, lq), before, atol=3e-7)
    assert torch.equal(lq, before)


def test_ensemble_sums_halves_in_float32_and_returns_halves():
    values = iter([256.0] + 7 * [1.0])  # in bfloat16 256 + 1 is 256
    mean = self_ensemble(lambda x: torch.full_like(x, next(values)), noise(1, 1, 4, 4, dtype=torch.bfloat16))
    assert mean.dtype == torch.bfloat16 and mean.unique().tolist() == [torch.tensor(263 / 8).bfloat16().item()]
