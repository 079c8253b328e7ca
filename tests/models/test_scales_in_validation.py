"""Networks of several scales, and sets whose LR images come enlarged, in training and validation."""

import copy

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_psnr
from basicsr.utils import tensor2img
from basicsr.utils.registry import ARCH_REGISTRY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from rcan_plugin.inference.ensemble import self_ensemble
from rcan_plugin.inference.official_chop import official_chop
from rcan_plugin.inference.tiles import tiled
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample
from tests.comparison import same
from tests.models.conftest import PSNR, Images, batch, build, step, weights

MDSR = {"type": "MDSRArch", "num_feat": 4, "num_block": 1, "scales": [2, 3]}
VDSR = {"type": "VDSRArch", "num_in_ch": 3, "num_feat": 4, "num_layers": 3}
BORDER = {"psnr": {**PSNR, "crop_border": "scale"}}
SETS = {2: [(12, 10), (9, 14)], 3: [(12, 9), (10, 11)]}


def of_scale(scale: int, number: int = 1) -> dict:
    """A batch as our data set gives it: it says its scale."""
    return {**batch(number, scale=scale), "scale": torch.tensor([scale] * 4)}


def psnr(sr: torch.Tensor, item, scale: int) -> float:
    return calculate_psnr(tensor2img(sr), tensor2img(item["gt"]), crop_border=scale, test_y_channel=True)


def enlarged(scale: int, sizes=None, name: str = "") -> Images:
    """A set with `pre_upsample: true`."""
    images = Images(name or f"x{scale}", scale, sizes or SETS[scale])
    images.opt["pre_upsample"] = True
    for item in images.items:
        item["lq"] = BicubicUpsample(scale)(item["lq"][None])[0]
    return images


def alive(net: nn.Module) -> nn.Module:
    """Larger weights, so that results differ by more than a rounding."""
    with torch.no_grad():
        for one in net.parameters():
            one *= 1.5
    return net


# -- a network that is told the scale


def test_a_step_trains_the_branches_of_its_scale(options):
    model = build(options(network_g=MDSR, scale=None))
    for number, (scale, other) in enumerate(((2, 3), (3, 2)), start=1):
        data = of_scale(scale, number)
        with torch.no_grad():
            expected = (model.net_g(data["lq"], scale) - data["gt"]).abs().mean()
        before = weights(model)
        step(model, number, data)
        assert model.get_current_log()["l_pix"] == pytest.approx(float(expected), rel=1e-6)
        kept = {name for name, value in weights(model).items() if torch.equal(value, before[name])}
        assert kept == {name for name in before if f".x{other}." in name}


@pytest.mark.parametrize("features", [{"grad_accum": 2}, {"ema_decay": 0.9, "channels_last": True}, {"amp": "bf16"}])
def test_features_go_along_with_several_scales(features, options):
    plain, model = (build(options(network_g=MDSR, scale=None, train=more)) for more in ({}, features))
    for number, scale in enumerate((2, 3, 3, 2), start=1):
        for one in (plain, model):
            step(one, number, of_scale(scale, number))
        assert model.get_current_log()["l_pix"] == pytest.approx(plain.get_current_log()["l_pix"], rel=2e-3)
    expected = {name: value for name, value in weights(plain).items() if name.startswith("net.")}
    for name, value in expected.items():
        torch.testing.assert_close(weights(model)[name], value, rtol=0, atol=4e-3)  # four steps of Adam at 1e-3


def test_data_that_says_no_scale_has_that_of_the_options(options):
    model = build(options(network_g=MDSR, scale=3))
    data = batch(1, scale=3)
    with torch.no_grad():
        expected = (model.net_g(data["lq"], 3) - data["gt"]).abs().mean()
    step(model, 1, data)
    assert model.get_current_log()["l_pix"] == pytest.approx(float(expected), rel=1e-6)


def test_without_any_scale_it_is_refused(options):
    model = build(options(network_g=MDSR, scale=None))
    said = "MDSRArch needs the scale of the data: .* scale .* scales"
    with pytest.raises(ValueError, match=said):
        step(model, 1, batch(1))
    images = Images()
    del images.opt["scale"]
    with pytest.raises(ValueError, match=said):
        model.validation(images.loader, 1, None)
    with pytest.raises(ValueError, match="MDSRArch: scale 4: this network has 2, 3"):
        step(model, 1, of_scale(4))


WAYS = {
    "whole": ({}, lambda net, lq, scale: net(lq, scale)),
    "tiles": (
        {"tile": {"size": 6, "overlap": 2}},
        lambda net, lq, scale: tiled(lambda part: net(part, scale), lq, scale, 6, 2),
    ),
    "official": (
        {"tile": {"protocol": "official_chop"}},
        lambda net, lq, scale: official_chop(lambda part: net(part, scale), lq),
    ),
    "eightfold": ({"self_ensemble": True}, lambda net, lq, scale: self_ensemble(lambda part: net(part, scale), lq)),
}


@pytest.mark.parametrize("ema_decay", [0, 0.9])
@pytest.mark.parametrize("way", WAYS)
def test_each_set_is_validated_at_its_own_scale(way, ema_decay, options):
    val, enlarge = WAYS[way]
    model = build(options(network_g=MDSR, scale=None, train={"ema_decay": ema_decay}, val={"metrics": BORDER, **val}))
    for number, scale in enumerate((2, 3), start=1):
        step(model, number, of_scale(scale, number))
    net = model.net_g_ema if ema_decay else model.net_g
    for scale in (2, 3):
        images = Images(f"x{scale}", scale, SETS[scale])
        model.validation(images.loader, 2, None)
        with torch.no_grad():
            values = [psnr(enlarge(net, item["lq"][None], scale), item, scale) for item in images]
        assert model.metric_results == {"psnr": sum(values) / len(values)}
        assert model.best_metric_results[f"x{scale}"]["psnr"]["val"] == sum(values) / len(values)


def test_by_hand_it_takes_the_scale_of_the_data(options):
    """`feed_data`, `test`, `get_current_visuals`."""
    model = build(options(network_g=MDSR, scale=None))
    for scale in (3, 2):
        model.feed_data(of_scale(scale))
        model.test()
        with torch.no_grad():
            assert torch.equal(model.output, model.net_g.eval()(model.lq, scale))
        assert model.output.shape == (4, 3, 8 * scale, 8 * scale)
        model.net_g.train()


# -- sets whose LR images come enlarged


def test_one_network_validates_enlarged_sets_of_several_scales(options):
    model = build(options(network_g=VDSR, scale=None, val={"metrics": BORDER}))
    alive(model.net_g)
    figures = []
    for scale in (2, 3):
        images = enlarged(scale)
        model.validation(images.loader, 5, None)
        with torch.no_grad():
            values = [psnr(model.net_g(item["lq"][None]), item, scale) for item in images]
        assert model.metric_results == {"psnr": sum(values) / len(values)}
        figures.append(model.metric_results["psnr"])
        # The network may as well enlarge by itself.
        by_itself = build(options(network_g={**VDSR, "upscale": scale}, scale=scale, val={"metrics": BORDER}))
        by_itself.net_g.load_state_dict(model.net_g.state_dict())
        by_itself.validation(Images(f"x{scale}", scale, SETS[scale]).loader, 5, None)
        assert by_itself.metric_results["psnr"] == pytest.approx(figures[-1], abs=1e-3)
    assert figures[0] != figures[1]


LARGE = [(15, 17), (9, 21)]
BORDERS = {  # that tiles of 20 with an overlap of 8 have inside a side
    30: [10, 20], 34: [7, 14, 20, 27], 18: [], 42: [11, 20, 22, 31],
    45: [8, 16, 20, 25, 28, 36], 51: [10, 20, 20, 30, 31, 40], 27: [7, 20], 63: [10, 20, 21, 30, 32, 41, 43, 52],
}  # fmt: skip


@pytest.mark.parametrize("scale", [2, 3])
def test_tiles_of_enlarged_sets(scale, options):
    """Of size and overlap in the enlarged image's pixels; VDSR of three layers sees three pixels to each side."""
    val = {"metrics": BORDER, "tile": {"size": 20, "overlap": 8}}
    model, images = build(options(network_g=VDSR, scale=None, val=val)), enlarged(scale, LARGE)
    net = alive(model.net_g)
    model.validation(images.loader, 5, None)
    values = []
    for item in images:
        lq = item["lq"][None]
        with torch.no_grad():
            whole, cut = net(lq), tiled(net, lq, 1, 20, 8)
            assert torch.equal(model.upscale(lq, scale, 1), cut)
        far = torch.ones(lq.shape[-2:], dtype=torch.bool)
        for axis, side in enumerate(lq.shape[-2:]):
            for border in BORDERS[side]:
                far.narrow(axis, border - 3, 6).fill_(False)
        assert 0.1 < far.float().mean() < 0.8
        difference = (whole - cut).abs().amax(1)[0]
        assert difference[far].max() < 1e-5 < 0.1 < difference[~far].max()
        values.append(psnr(cut, item, scale))  # BasicSR clips what it is given
    assert model.metric_results == {"psnr": sum(values) / len(values)}


class Pixelwise(nn.Module):
    """Sees one pixel, so that tiles cannot matter."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.3 * self.mix(x)


def test_tiles_of_a_network_that_sees_one_pixel_change_nothing(options, monkeypatch, tmp_path):
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Pixelwise", Pixelwise)
    figures = []
    for val in ({}, {"tile": {"size": 10, "overlap": 4}}, {"tile": {"protocol": "official_chop"}}):
        model = build(options(network_g={"type": "Pixelwise"}, scale=None, val={"metrics": BORDER, **val}))
        images = enlarged(2, LARGE)
        model.validation(images.loader, 5, None, save_img=True)
        saved = [cv2.imread(str(tmp_path / f"visualization/x2{i}/x2{i}_5.png")) for i in range(2)]
        figures.append((model.metric_results, [image.tolist() for image in saved]))
        lq = images[0]["lq"][None]
        with torch.no_grad():
            torch.testing.assert_close(model.upscale(lq, 2, 1), model.net_g(lq), rtol=0, atol=1e-6)
    assert figures[0] == figures[1] == figures[2]


def test_a_network_that_enlarges_what_is_enlarged_is_refused(options):
    tile = {"tile": {"size": 20, "overlap": 8}}
    model = build(options(network_g={**VDSR, "upscale": 2}, scale=None, val={"metrics": BORDER, **tile}))
    with pytest.raises(ValueError, match="scale is 1, but the network upscales by 2"):
        model.validation(enlarged(2).loader, 5, None)


def test_pictures_of_enlarged_sets(options, tmp_path):
    """What is left of the network's result is the image as it was enlarged, in levels."""
    model = build(options(network_g=VDSR, scale=None, val={"pictures": 1, "metrics": BORDER}))
    alive(model.net_g)
    with SummaryWriter(str(tmp_path / "tb")) as writer:
        for scale in (2, 3):
            model.validation(enlarged(scale).loader, 5, writer)
    events = EventAccumulator(str(tmp_path / "tb"), {"images": 0}).Reload()
    assert events.Tags()["images"] == ["x2/x20", "x3/x30"]
    for scale in (2, 3):
        item = enlarged(scale)[0]
        (event,) = events.Images(f"x{scale}/x{scale}0")
        height, width = (side * scale for side in SETS[scale][0])
        assert (event.height, event.width) == (height, 3 * width)
        picture = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)  # B, G, R
        with torch.no_grad():
            panels = item["lq"], model.net_g(item["lq"][None]), item["gt"]
        assert np.array_equal(picture, np.concatenate([tensor2img(panel) for panel in panels], axis=1))


# -- several processes


@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_the_network_that_is_validated_gets_the_running_means_of_the_first(ema_decay, options, monkeypatch):
    """Of the averaged one too, whose running means are each process's own as well."""
    network = {"type": "DRRNArch", "num_in_ch": 3, "num_feat": 4, "num_unit": 1, "upscale": 2}
    first, second = (build(options(network_g=network, train={"ema_decay": ema_decay}, rank=rank)) for rank in (0, 1))
    for number in (1, 2, 3):
        step(first, number, batch(number))
        step(second, number, batch(number + 10))
    nets = ["net_g", *(["net_g_ema"] if ema_decay else [])]
    for name in nets:  # ranks have the same weights
        theirs = dict(getattr(second, name).named_parameters())
        for key, value in getattr(first, name).named_parameters():
            theirs[key].data.copy_(value.data)
    validated = nets[-1]
    of_first = [one.clone() for one in getattr(first, validated).buffers()]
    assert not same(of_first, list(getattr(second, validated).buffers()))
    sent = copy.deepcopy(of_first)

    def broadcast(tensor, source):
        assert source == 0
        tensor.copy_(sent.pop(0))

    monkeypatch.setattr(torch.distributed, "broadcast", broadcast)
    monkeypatch.setattr(
        torch.distributed, "all_gather_object", lambda all_, own: all_.__setitem__(slice(None), [own, {}])
    )
    second.opt |= {"dist": True, "world_size": 2}
    second.validation(Images().loader, 3, None)
    assert sent == [] and same(list(getattr(second, validated).buffers()), of_first)
    first.opt["dist"] = False
    images = Images(sizes=((8, 14),))
    images.items = [Images().items[1]]  # that of the second process
    first.validation(images.loader, 3, None)
    assert second.metric_results == first.metric_results


def test_pictures_of_one_image_at_several_scales_do_not_overwrite_each_other(options, tmp_path):
    sets = {"train": {}, "val_1": {}, "val_2": {}}
    model = build(options(network_g=VDSR, scale=None, val={"metrics": BORDER}, datasets=sets))
    for scale in (2, 3):
        images = enlarged(scale, name="same")
        images.opt["name"] = f"Set_x{scale}"
        model.validation(images.loader, 5, None, save_img=True)
    saved = sorted(path.name for path in (tmp_path / "visualization/same0").iterdir())
    assert saved == ["same0_Set_x2_5.png", "same0_Set_x3_5.png"]


def test_a_border_of_the_scale_of_a_set_that_has_none_is_refused(options):
    model = build(options(network_g=VDSR, scale=None, val={"metrics": BORDER}))
    images = enlarged(2)
    del images.opt["scale"]
    with pytest.raises(ValueError, match=r"val: metrics: psnr: crop_border is scale, .* has no scale"):
        model.validation(images.loader, 5, None)
