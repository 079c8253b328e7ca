"""Networks that give several outputs in training, and the losses that supervise them."""

import pytest
import torch
from basicsr.metrics import calculate_psnr
from basicsr.utils import tensor2img
from torch import nn

from rcan_plugin.degradations import imresize
from rcan_plugin.training import checkpoints
from tests.comparison import same
from tests.models.conftest import Images, batch, build, resumed, step, train, weights

NETWORKS = {
    "LapSRNArch": ({"num_feat": 4, "depth": 1, "upscale": 4}, {"type": "PyramidLoss", "loss_weight": 0.5}),
    "DRCNArch": ({"num_feat": 4, "num_recursion": 3, "upscale": 2}, {"type": "RecursiveLoss", "alpha": 0.8}),
    "MemNetArch": (
        {"num_feat": 4, "num_block": 2, "num_recursion": 2, "upscale": 2},
        {"type": "EuclideanLoss", "side_weight": 0.25},
    ),
}
OUTPUTS = {"LapSRNArch": 2, "DRCNArch": 4, "MemNetArch": 3}
L1 = {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"}
# The losses are sums over an image: of rates for means a thousandth.
TRAIN = {"optim_g": {"type": "Adam", "lr": 1e-3, "betas": [0.9, 0.99]}}


def tiny(options, name: str, loss=None, **train_options):
    """Options of a network for colour with its loss, or with another."""
    network, own = NETWORKS[name]
    return options(
        network_g={"type": name, "num_in_ch": 3, **network},
        scale=network["upscale"],
        train={**TRAIN, "pixel_opt": loss or own, **train_options},
    )


def data_for(name: str, number: int = 1):
    return batch(number, scale=NETWORKS[name][0]["upscale"])


def halves(image: torch.Tensor) -> torch.Tensor:
    """N x C x H x W, by bicubic to half the size."""
    reduced = [imresize(one.permute(1, 2, 0).double().numpy(), 0.5) for one in image]
    return torch.stack([torch.from_numpy(one).permute(2, 0, 1) for one in reduced]).float()


def by_hand(name: str, outputs, gt: torch.Tensor, alpha: float = 0.8) -> torch.Tensor:
    """The loss of the options in `NETWORKS`."""
    if name == "LapSRNArch":
        targets = halves(gt), gt
        levels = [
            torch.sqrt((one - target) ** 2 + 1e-6).sum() / len(gt) for one, target in zip(outputs, targets, strict=True)
        ]
        return 0.5 * (levels[0] + levels[1])
    squares = [((one - gt) ** 2).sum() / 2 / len(gt) for one in outputs]
    if name == "DRCNArch":
        return alpha * sum(squares[:-1]) / len(squares[:-1]) + (1 - alpha) * squares[-1]
    return 0.25 * sum(squares[:-1]) + squares[-1]


def outputs_of(model, data) -> list[torch.Tensor]:
    """What the network gives in training, with what gradients need."""
    assert model.net_g.training
    return model.net_g(data["lq"])


@pytest.mark.parametrize("name", NETWORKS)
def test_each_output_is_supervised(name, options):
    """The log has the loss, and the step its gradients."""
    model, other = (build(tiny(options, name)) for _ in range(2))
    data = data_for(name)
    outputs = outputs_of(other, data)
    assert len(outputs) == OUTPUTS[name] and outputs[-1].shape == data["gt"].shape
    alpha = 0.8 * (1 - 1 / 100_000)
    loss = by_hand(name, outputs, data["gt"], alpha)
    loss.backward()
    step(model, 1, data)
    assert model.get_current_log() == {"l_pix": pytest.approx(loss.item(), rel=1e-5)}
    for ours, theirs in zip(model.net_g.parameters(), other.net_g.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4 * float(theirs.grad.abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_they_learn(name, options):
    optim = {"type": "Adam", "lr": 5e-3}
    opt = tiny(options, name, optim_g=optim, scheduler={"type": "MultiStepLR", "milestones": []})
    model, losses = build(opt), []
    for number in range(1, 41):
        step(model, number, data_for(name))
        losses.append(model.get_current_log()["l_pix"])
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", ["LapSRNArch", "DRCNArch"])
def test_a_batch_in_parts_has_the_same_loss_and_gradients(name, options):
    whole, parts = (build(tiny(options, name, grad_accum=number)) for number in (1, 4))
    for model in (whole, parts):
        step(model, 1, data_for(name))
    assert parts.get_current_log() == pytest.approx(whole.get_current_log(), rel=1e-5)
    for one, other in zip(parts.net_g.parameters(), whole.net_g.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4 * float(other.grad.abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_under_bf16_the_losses_are_taken_in_float32(name, options):
    model, seen = build(tiny(options, name, amp="bf16")), []
    data = data_for(name)
    model.net_g.register_forward_hook(lambda module, inputs, output: seen.extend(output))
    step(model, 1, data)
    assert torch.bfloat16 in {one.dtype for one in seen} or name == "LapSRNArch"
    expected = by_hand(name, [one.detach().float() for one in seen], data["gt"], 0.8 * (1 - 1 / 100_000))
    assert model.log_dict["l_pix"].dtype == torch.float32
    assert model.get_current_log()["l_pix"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_other_losses_see_the_final_output_alone(name, options):
    model, other = (build(tiny(options, name, L1)) for _ in range(2))
    seen = []
    for one in (model, other):
        one.cri_perceptual = lambda output, gt: (seen.append((output, gt)), ((output - gt) ** 2).mean(), None)[1:]
    data = data_for(name)
    final = outputs_of(other, data)[-1].detach()
    step(model, 1, data)
    expected = {"l_pix": (final - data["gt"]).abs().mean(), "l_percep": ((final - data["gt"]) ** 2).mean()}
    assert model.get_current_log() == pytest.approx({key: float(value) for key, value in expected.items()}, rel=1e-6)
    ((output, gt),) = seen
    assert torch.equal(output, final) and torch.equal(gt, data["gt"])


def test_our_losses_supervise_a_network_of_one_output_too(options):
    model = build(options(train={**TRAIN, "pixel_opt": {"type": "EuclideanLoss", "loss_weight": 2.0}}))
    data = batch(1)
    with torch.no_grad():
        expected = ((model.net_g(data["lq"]) - data["gt"]) ** 2).sum() / len(data["gt"])
    step(model, 1, data)
    assert model.get_current_log()["l_pix"] == pytest.approx(float(expected), rel=1e-6)


# -- a loss that changes with the iteration


def test_the_recursions_weight_follows_the_iteration_also_after_a_resume(options, tmp_path):
    """A line from 0.8 down to 0 at iteration 8."""
    opt = tiny(options, "DRCNArch", {"type": "RecursiveLoss", "alpha": 0.8, "alpha_iter": 8})
    model = build(opt)

    def check(model, number: int) -> float:
        data = batch(number)
        with torch.no_grad():
            outputs = outputs_of(model, data)
        alpha = 0.8 * max(0.0, 1 - number / 8)
        expected, final = (float(by_hand("DRCNArch", outputs, data["gt"], one)) for one in (alpha, 0.0))
        step(model, number)
        assert model.get_current_log()["l_pix"] == pytest.approx(expected, rel=1e-6)
        assert expected != pytest.approx(final, rel=1e-5) or number in (1, 8, 9, 10)  # at first all outputs are alike
        return alpha

    assert [check(model, number) for number in range(1, 6)] == pytest.approx([0.7, 0.6, 0.5, 0.4, 0.3])
    model.save(0, 5)
    other = resumed(opt, checkpoints.load(tmp_path / "training_states/5.state"), folder=tmp_path)
    assert [check(other, number) for number in range(6, 11)] == pytest.approx([0.2, 0.1, 0, 0, 0])
    assert same(weights(other), weights(train(model, 10, first=6)))


# -- validation


@pytest.mark.parametrize("ema_decay", [0, 0.9])
@pytest.mark.parametrize("name", NETWORKS)
def test_validation_takes_the_final_output(name, ema_decay, options):
    opt = tiny(options, name, ema_decay=ema_decay)
    model, scale = build(opt), opt["scale"]
    for number in (1, 2, 3):
        step(model, number, data_for(name, number))
    images = Images(scale=scale)
    model.validation(images.loader, 3, None)
    net: nn.Module = model.net_g_ema if ema_decay else model.net_g
    net.eval()
    with torch.no_grad():
        values = [
            calculate_psnr(tensor2img(net(item["lq"][None])), tensor2img(item["gt"]), 2, test_y_channel=True)
            for item in images
        ]
    assert model.metric_results == {"psnr": sum(values) / len(values)}
