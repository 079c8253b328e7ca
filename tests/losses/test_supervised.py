"""Losses of several outputs, by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from basicsr.losses import build_loss

from rcan_plugin.archs.drcn_arch import DRCNArch
from rcan_plugin.archs.lapsrn_arch import LapSRNArch
from rcan_plugin.archs.memnet_arch import MemNetArch
from rcan_plugin.degradations import imresize
from rcan_plugin.losses.supervised import EuclideanLoss, PyramidLoss, RecursiveLoss, half_squares, outputs_of


def image(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def off_by(*differences: float) -> torch.Tensor:
    """A batch of images of 1 x 2 x 2 pixels, each off by a number from `ZERO` in all its pixels."""
    return torch.tensor(differences).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


ZERO = off_by(0.0, 0.0)


# -- the scale of all of them


def test_half_squares_are_summed_over_an_image_and_averaged_over_the_batch():
    output = torch.tensor([[[[1.0, 2.0]], [[0.0, 0.0]]], [[[0.0, -3.0]], [[1.0, 1.0]]]])  # 2 x 2 x 1 x 2
    # (1 + 4) and (9 + 1 + 1), halved, over two images.
    assert half_squares(output, torch.zeros_like(output)).item() == 4.0
    assert half_squares(output[:1], torch.zeros(1, 2, 1, 2)).item() == 2.5


@pytest.mark.parametrize("loss", [EuclideanLoss(), PyramidLoss()])
def test_twice_the_batch_is_the_same_and_twice_the_image_is_twice_the_loss(loss):
    output, target = image(2, 3, 4, 6), image(2, 3, 4, 6, seed=2)
    value = loss(output, target).item()
    assert loss(output.repeat(2, 1, 1, 1), target.repeat(2, 1, 1, 1)).item() == pytest.approx(value)
    assert loss(output.repeat(1, 1, 2, 1), target.repeat(1, 1, 2, 1)).item() == pytest.approx(2 * value)


def test_a_mean_squared_error_is_smaller_by_half_the_pixels():
    """Why a published rate of 0.1 does nothing with torch's loss: 41 * 41 / 2 = 840.5."""
    output, target = image(3, 1, 41, 41), image(3, 1, 41, 41, seed=2)
    assert (EuclideanLoss()(output, target) / F.mse_loss(output, target)).item() == pytest.approx(840.5)


def test_outputs_are_a_list_of_float32():
    one, several = outputs_of(ZERO.bfloat16()), outputs_of([ZERO.half(), ZERO.double()])
    assert [output.dtype for output in (*one, *several)] == [torch.float32] * 3
    assert (len(one), len(several)) == (1, 2)


@pytest.mark.parametrize("loss", [EuclideanLoss(), RecursiveLoss(), PyramidLoss()])
def test_a_network_under_autocast_has_its_loss_in_float32(loss):
    output, target = image(1, 1, 8, 8).bfloat16(), image(1, 1, 8, 8, seed=2)
    value = loss([output, output], target)
    assert value.dtype == torch.float32
    assert value.shape == ()
    assert torch.equal(value, loss([output.float(), output.float()], target))


@pytest.mark.parametrize(("kind", "arguments"), [("EuclideanLoss", {}), ("RecursiveLoss", {}), ("PyramidLoss", {})])
def test_they_are_built_from_options(kind, arguments):
    loss = build_loss({"type": kind, "loss_weight": 0.5, **arguments})
    assert type(loss).__name__ == kind
    assert loss.loss_weight == 0.5
    assert not loss.state_dict()
    assert not list(loss.parameters())


# -- EuclideanLoss


@pytest.mark.parametrize(
    ("outputs", "arguments", "expected"),
    [
        # An image of 4 pixels off by d has 4 * d^2 / 2.
        (off_by(1.0, 3.0), {}, (2 + 18) / 2),
        (off_by(1.0, 3.0), {"loss_weight": 0.25}, 2.5),
        ([off_by(1.0, 3.0)], {}, 10),
        ([off_by(1.0, 1.0), off_by(2.0, 0.0), off_by(1.0, 3.0)], {}, 2 + 4 + 10),
        ([off_by(1.0, 1.0), off_by(2.0, 0.0), off_by(1.0, 3.0)], {"side_weight": 0.5}, 0.5 * (2 + 4) + 10),
        ([off_by(1.0, 1.0), off_by(1.0, 3.0)], {"side_weight": 0.0, "loss_weight": 2.0}, 20),
    ],
)
def test_euclidean_loss(outputs, arguments, expected):
    assert EuclideanLoss(**arguments)(outputs, ZERO).item() == pytest.approx(expected, rel=1e-6)


def test_the_gradient_of_euclidean_loss_is_the_difference_over_the_batch():
    """Caffe's backward pass: (output - target) / batch, for each output."""
    target = image(4, 1, 3, 3)
    outputs = [image(4, 1, 3, 3, seed=seed).requires_grad_() for seed in (2, 3)]
    EuclideanLoss(side_weight=0.5)(outputs, target).backward()
    torch.testing.assert_close(outputs[0].grad, 0.5 * (outputs[0] - target).detach() / 4)
    torch.testing.assert_close(outputs[1].grad, (outputs[1] - target).detach() / 4)


# -- RecursiveLoss


@pytest.mark.parametrize(
    ("current_iter", "alpha"),
    [(0, 0.8), (25, 0.6), (50, 0.4), (75, 0.2), (100, 0.0), (101, 0.0), (1000, 0.0)],
)
def test_the_schedule_of_alpha_is_a_line_down_to_zero(current_iter, alpha):
    loss = RecursiveLoss(alpha=0.8, alpha_iter=100)
    loss.current_iter = current_iter
    # Predictions: 2 and 6, on average 4; final: 10.
    outputs = [off_by(1.0, 1.0), off_by(2.0, math.sqrt(2.0)), off_by(1.0, 3.0)]
    assert loss(outputs, ZERO).item() == pytest.approx(alpha * 4 + (1 - alpha) * 10, rel=1e-6)


def test_recursive_loss_starts_with_only_the_predictions():
    loss = RecursiveLoss()
    assert (loss.alpha, loss.alpha_iter, loss.current_iter, loss.loss_weight) == (1.0, 100_000, 0, 1.0)
    outputs = [off_by(1.0, 1.0), off_by(5.0, 5.0)]
    assert loss(outputs, ZERO).item() == pytest.approx(2.0)
    assert RecursiveLoss(loss_weight=3.0)(outputs, ZERO).item() == pytest.approx(6.0)
    assert RecursiveLoss(alpha=0.0)(outputs, ZERO).item() == pytest.approx(50.0)


def test_the_number_of_recursions_does_not_change_the_scale():
    outputs = [off_by(1.0, 1.0)] * 3 + [off_by(2.0, 2.0)]
    assert RecursiveLoss(alpha=0.5)(outputs, ZERO).item() == pytest.approx(0.5 * 2 + 0.5 * 8)


@pytest.mark.parametrize("outputs", [ZERO, [ZERO]])
def test_recursive_loss_refuses_one_output(outputs):
    with pytest.raises(ValueError, match="RecursiveLoss: the network returned one output; expected several"):
        RecursiveLoss()(outputs, ZERO)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"alpha": 1.5}, "alpha is 1.5"), ({"alpha": -0.1}, "alpha is -0.1"), ({"alpha_iter": 0}, "alpha_iter 0")],
)
def test_recursive_loss_refuses_numbers_out_of_range(arguments, words):
    with pytest.raises(ValueError, match=f"RecursiveLoss: .*{words}.*; expected 0 to 1, and 1 or more"):
        RecursiveLoss(**arguments)


# -- PyramidLoss


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # Each pixel sqrt(d^2 + eps^2); 4 pixels, two images off by 0 and 0.03.
        ({"eps": 0.04}, 4 * (0.04 + 0.05) / 2),
        ({"eps": 0.04, "loss_weight": 2.0}, 4 * (0.04 + 0.05)),
        ({}, 4 * (0.001 + math.sqrt(0.03**2 + 1e-6)) / 2),
    ],
)
def test_charbonnier(arguments, expected):
    assert PyramidLoss(**arguments)(off_by(0.0, 0.03), ZERO).item() == pytest.approx(expected, rel=1e-5)


def test_the_targets_of_lower_levels_are_imresize():
    hr = image(2, 3, 16, 24)
    arrays = [batch_member.permute(1, 2, 0).double().numpy() for batch_member in hr]
    levels, expected = [], 0.0
    for number, divisor in enumerate((4, 2, 1)):
        output = image(2, 3, 16 // divisor, 24 // divisor, seed=5 + number)
        levels.append(output)
        for level, array in zip(output, arrays, strict=True):
            difference = level.permute(1, 2, 0).double().numpy() - imresize(array, 1 / divisor)
            expected += np.sqrt(difference**2 + 1e-6).sum() / 2
    assert PyramidLoss()(levels, hr).item() == pytest.approx(expected, rel=1e-6)
    assert PyramidLoss(loss_weight=0.1)(levels, hr).item() == pytest.approx(0.1 * expected, rel=1e-6)


def test_levels_that_are_right_leave_eps_for_each_pixel():
    hr = image(1, 1, 16, 16)
    array = hr[0, 0].double().numpy()
    levels = [torch.from_numpy(imresize(array, 1 / divisor)).float()[None, None] for divisor in (4, 2, 1)]
    assert PyramidLoss()(levels, hr).item() == pytest.approx(1e-3 * (16 + 64 + 256), rel=1e-4)


def test_the_gradient_of_charbonnier_ends_at_one():
    output = torch.tensor([[[[0.0, 1e-3, -5.0, 5.0]]]], requires_grad=True)
    PyramidLoss()(output, torch.zeros(1, 1, 1, 4)).backward()
    torch.testing.assert_close(output.grad.flatten(), torch.tensor([0.0, math.sqrt(0.5), -1.0, 1.0]))


@pytest.mark.parametrize("size", [(3, 3), (16, 16), (1, 1), (5, 8), (8, 5), (3, 8), (4, 8), (8, 4)])
def test_pyramid_loss_refuses_outputs_of_other_sizes(size):
    with pytest.raises(
        ValueError, match=rf"PyramidLoss: an output of \({size[0]}, {size[1]}\) for a target of \(8, 8\)"
    ):
        PyramidLoss()(torch.zeros(1, 1, *size), torch.zeros(1, 1, 8, 8))


# -- with the networks they are for


def test_each_takes_what_its_network_gives_in_training():
    torch.manual_seed(0)
    x, hr = image(2, 1, 4, 4), image(2, 1, 16, 16, seed=2)
    for net, loss in (
        (DRCNArch(num_feat=4, num_recursion=3, upscale=4), RecursiveLoss(alpha=0.5)),
        (MemNetArch(num_feat=4, num_block=2, num_recursion=2, upscale=4), EuclideanLoss()),
        (LapSRNArch(num_feat=4, depth=1, upscale=4), PyramidLoss()),
    ):
        value = loss(net(x), hr)
        value.backward()
        assert value.item() > 1
        assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("loss", [EuclideanLoss(), RecursiveLoss(), PyramidLoss()])
def test_what_torch_would_broadcast_is_refused(loss):
    outputs = [torch.zeros(2, 1, 4, 4)] * 2
    with pytest.raises(ValueError, match=r"the network's output is \(2, 1.* and the HR image \(2, 3"):
        loss(outputs, torch.zeros(2, 3, 4, 4))
