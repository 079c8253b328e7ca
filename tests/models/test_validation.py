"""Validation: SRModel's figures, files and names, and what `AcceleratedSRModel` can do besides."""

import logging

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_psnr
from basicsr.models.sr_model import SRModel
from basicsr.utils import tensor2img
from basicsr.utils.registry import ARCH_REGISTRY, METRIC_REGISTRY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from rcan_plugin.degradations import imresize
from rcan_plugin.inference.ensemble import self_ensemble
from rcan_plugin.inference.official_chop import official_chop
from rcan_plugin.inference.tiles import tiled
from rcan_plugin.models.accelerated_model import AcceleratedSRModel
from tests.comparison import same
from tests.disks import files_up_to
from tests.models.conftest import PSNR, RCAN, Dropping, Images, build, train

METRICS = {
    "psnr": PSNR,
    "psnr_rgb": {"type": "calculate_psnr", "crop_border": 3, "test_y_channel": False},
    "ssim": {"type": "calculate_ssim", "crop_border": 2, "test_y_channel": True},
    "difference": {"type": "difference", "better": "lower"},
    "brightness": {"type": "brightness"},
}
LARGE = ((26, 23), (12, 41))  # of which the official way cuts both, or one


def difference(img, img2, better):
    """A metric that knows no border."""
    return np.abs(img.astype(float) - img2).mean()


def brightness(img, **_):
    """A metric that needs no HR image."""
    return img.mean()


def uneven(img, **_):
    """A metric whose mean over `Images` depends on their order."""
    return {24: 1e16, 16: 1.0, 22: -1e16}[len(img)]


@pytest.fixture(autouse=True)
def more_metrics(monkeypatch):
    for metric in (difference, brightness, uneven):
        monkeypatch.setitem(METRIC_REGISTRY._obj_map, metric.__name__, metric)


# -- as SRModel


@pytest.mark.parametrize("features", [{}, {"ema_decay": 0.9}, {"amp": "bf16"}, {"channels_last": True}])
def test_the_figures_are_srmodels(features, options, log):
    opt = options(train=features, val={"metrics": METRICS})
    ours = train(build(opt), 3)
    theirs = build(opt, SRModel)
    theirs.net_g.load_state_dict(ours.net_g.state_dict())
    if "ema_decay" in features:
        theirs.net_g_ema.load_state_dict(ours.net_g_ema.state_dict())
        assert not same(list(ours.net_g.parameters()), list(ours.net_g_ema.parameters()))
    images = Images(gt=True)
    ours.validation(images.loader, 3, None)
    theirs.nondist_validation(images.loader, 3, None, False)
    said = [text for text in log.messages if text.startswith("Validation Set")]
    if "channels_last" in features:  # another order of sums, then 8 bits
        assert ours.metric_results == pytest.approx(theirs.metric_results, rel=1e-4)
    else:
        assert ours.metric_results == theirs.metric_results
        assert ours.best_metric_results == theirs.best_metric_results
        assert said[0] == said[1] and "# psnr: " in said[0]
    assert ours.metric_results.keys() == METRICS.keys()
    assert ours.net_g.training


def test_in_testing_too(options):
    opt = options(is_train=False, val={"metrics": METRICS}, train=None)
    ours, theirs = build(opt), build(opt, SRModel)
    ours.validation(Images().loader, "tiny", None)
    theirs.nondist_validation(Images().loader, "tiny", None, False)
    assert ours.metric_results == theirs.metric_results


def test_by_hand_as_srmodel(options, monkeypatch):
    """`feed_data`, `test`, `get_current_visuals`, as programs of others call them."""
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Dropping", Dropping)
    data = Images()[0]
    visuals = []
    for cls in (AcceleratedSRModel, SRModel):
        model = build(options(network_g={"type": "Dropping"}), cls)
        model.feed_data({**data, "lq": data["lq"][None], "gt": data["gt"][None]})
        model.test()
        visuals.append(model.get_current_visuals())
    assert same(*visuals) and visuals[0]["result"].shape == (1, 3, 24, 18)
    assert not visuals[0]["result"].requires_grad


def test_sets_without_hr_images(options):
    """What needs none is measured, as by SRModel, which fails where another metric is asked for."""
    opt = options(val={"metrics": {"brightness": METRICS["brightness"]}})
    ours, theirs = build(opt), build(opt, SRModel)
    ours.validation(Images(gt=False).loader, 5, None)
    theirs.nondist_validation(Images(gt=False).loader, 5, None, False)
    assert ours.metric_results == theirs.metric_results and ours.metric_results["brightness"] > 0
    model = build(options(val={"metrics": METRICS}))
    model.validation(Images(gt=False).loader, 5, None)
    assert model.metric_results == ours.metric_results


def test_a_disk_that_takes_half_of_an_image_ends_the_validation(options, tmp_path):
    """`cv2.imwrite` raises no error for the last bytes, which it writes as it closes the file."""
    model = build(options(is_train=False, train=None))
    with files_up_to(100), pytest.raises(OSError, match="File too large") as error:
        model.validation(Images().loader, "tiny", None, save_img=True)
    folder = tmp_path / "visualization"
    assert error.value.filename.startswith(str(folder)) and error.value.filename.endswith(".png")
    assert not [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("gt", [True, False])
def test_sets_without_metrics(gt, options, tmp_path, log):
    model = build(options(val={"metrics": None}))
    model.validation(Images(gt=gt).loader, 5, None, save_img=True)
    assert not hasattr(model, "metric_results") and "Validation" not in log.text
    assert (tmp_path / "visualization/Set2/Set2_5.png").is_file()
    assert not any((tmp_path / "models").iterdir())


def test_the_sets_own_scale_as_border(options, monkeypatch):
    """Two sets of different scales in one run, whose options have no scale of their own."""

    class Either(nn.Module):
        """x3 for images of odd width, else x2."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(0.9))

        def forward(self, x):
            return self.weight * nn.functional.interpolate(x, scale_factor=3 if x.shape[-1] % 2 else 2)

    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Either", Either)
    metrics = {"psnr": {**PSNR, "crop_border": "scale"}}
    model = build(options(network_g={"type": "Either"}, scale=None, val={"metrics": metrics}))
    for scale, sizes in ((2, [(12, 10), (9, 14)]), (3, [(12, 9), (10, 11)])):
        images = Images(f"x{scale}", scale, sizes)
        model.validation(images.loader, 5, None)
        values = []
        for item in images:
            sr = model.net_g(item["lq"][None])
            values.append(
                calculate_psnr(tensor2img(sr), tensor2img(item["gt"]), crop_border=scale, test_y_channel=True)
            )
        assert model.metric_results == {"psnr": sum(values) / len(values)}
        assert model.best_metric_results[f"x{scale}"]["psnr"]["val"] == sum(values) / len(values)


def test_a_set_without_a_scale(options):
    """Nothing but tiles, bicubic pictures and the border `scale` needs it."""
    images = Images()
    del images.opt["scale"]
    model = build(options(val={"metrics": METRICS}))
    model.validation(images.loader, 5, None)
    with_scale = build(options(val={"metrics": METRICS}))
    with_scale.validation(Images().loader, 5, None)
    assert model.metric_results == with_scale.metric_results
    with pytest.raises(ValueError, match="scale is None; expected a whole number of 1 or more"):
        build(options(val={"tile": {"size": 8, "overlap": 2}})).validation(images.loader, 5, None)


# -- images


def saved(folder, images: Images, name: str) -> list[np.ndarray]:
    """What was written of each image, B, G, R."""
    stems = [f"{images.opt['name']}{i}" for i in range(len(images))]
    return [cv2.imread(str(folder / name.format(stem=stem)), cv2.IMREAD_UNCHANGED) for stem in stems]


@pytest.mark.parametrize(
    ("is_train", "suffix", "name"),
    [
        (True, None, "{stem}/{stem}_5.png"),
        (True, "x", "{stem}/{stem}_5.png"),
        (False, None, "Set/{stem}_tiny.png"),
        (False, "x", "Set/{stem}_x.png"),
    ],
)
def test_images_are_saved_under_basicsrs_names(is_train, suffix, name, options, tmp_path):
    opt = options(is_train=is_train)
    opt["val"]["suffix"] = suffix
    images, model = Images(), build(opt)
    model.validation(images.loader, 5, None, save_img=True)
    ours = saved(tmp_path / "visualization", images, name)
    files = {str(path.relative_to(tmp_path)) for path in (tmp_path / "visualization").rglob("*.png")}
    for path in files:
        (tmp_path / path).unlink()
    theirs = build(opt, SRModel)
    theirs.nondist_validation(images.loader, 5, None, True)
    assert {str(path.relative_to(tmp_path)) for path in (tmp_path / "visualization").rglob("*.png")} == files
    for one, other in zip(ours, saved(tmp_path / "visualization", images, name), strict=True):
        assert np.array_equal(one, other) and one.shape[2] == 3
    build(opt).validation(images.loader, 6, None)
    assert not (tmp_path / "visualization/Set0/Set0_6.png").exists()


WAYS = {
    "whole": ({}, lambda net, lq: net(lq)),
    "eightfold": ({"self_ensemble": True}, self_ensemble),
    "tiles": ({"tile": {"size": 8, "overlap": 3}}, lambda net, lq: tiled(net, lq, 2, 8, 3)),
    "official": ({"tile": {"protocol": "official_chop"}}, official_chop),
    "tiles, eightfold": (
        {"tile": {"size": 8, "overlap": 3}, "self_ensemble": True},
        lambda net, lq: self_ensemble(lambda image: tiled(net, image, 2, 8, 3), lq),
    ),
    "official, eightfold": (
        {"tile": {"protocol": "official_chop"}, "self_ensemble": True},
        lambda net, lq: self_ensemble(lambda image: official_chop(net, image), lq),
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_each_way_to_enlarge(way, ema_decay, options, tmp_path, monkeypatch):
    val, enlarge = WAYS[way]
    model = train(build(options(train={"ema_decay": ema_decay}, val=val)), 3)
    net = model.net_g_ema if ema_decay else model.net_g
    with torch.no_grad():
        for one in net.parameters():
            one *= 1.5  # so that ways, and the two networks, differ by more than a rounding
    images = Images(sizes=LARGE)
    moved = []
    to = torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor, "to", lambda self, *a, **k: (moved.append(tuple(self.shape[-2:])), to(self, *a, **k))[1]
    )
    model.validation(images.loader, 5, None, save_img=True)
    monkeypatch.undo()
    whole_ones = set(LARGE) | {(width, height) for height, width in LARGE}
    if "tiles" in way:
        assert (8, 8) in moved and not whole_ones & set(moved)
    else:
        assert set(LARGE) <= set(moved)
    with torch.no_grad():
        expected = [tensor2img(enlarge(net, item["lq"][None])) for item in images]
        whole = [tensor2img(net(item["lq"][None])) for item in images]
    found = saved(tmp_path / "visualization", images, "{stem}/{stem}_5.png")
    for one, other, plain in zip(found, expected, whole, strict=True):
        assert np.array_equal(one, other)
        assert way == "whole" or not np.array_equal(one, plain)
    values = [
        calculate_psnr(sr, tensor2img(item["gt"]), 2, test_y_channel=True)
        for sr, item in zip(expected, images, strict=True)
    ]
    assert model.metric_results == {"psnr": sum(values) / len(values)}


@pytest.mark.parametrize("tile", [{"size": 8, "overlap": 2}, None])
def test_tiles_are_reported_to_differ(tile, options, log):
    build(options(val={"tile": tile}))
    warned = any(text.startswith("Validation in tiles") and "channel attention" in text for text in log.messages)
    assert warned == bool(tile)


@pytest.mark.parametrize("channels", [3, 1])
def test_pictures_in_tensorboard(channels, options, tmp_path):
    images = Images()
    network = RCAN
    if channels == 1:
        network = {**RCAN, "num_in_ch": 1, "num_out_ch": 1, "rgb_mean": [0.45]}
        for item in images.items:
            item |= {key: item[key][:1] for key in ("lq", "gt")}
    psnr = {**PSNR, "test_y_channel": False}
    model = build(options(network_g=network, val={"pictures": 2, "metrics": {"psnr": psnr}}))
    with SummaryWriter(str(tmp_path / "tb")) as writer:
        model.validation(images.loader, 5, writer)
        model.validation(Images("bare", gt=False).loader if channels == 3 else images.loader, 10, writer)
    events = EventAccumulator(str(tmp_path / "tb"), {"images": 0, "scalars": 0}).Reload()
    assert events.Tags()["images"] == ["Set/Set0", "Set/Set1"]
    assert events.Scalars("metrics/Set/psnr")[0].value == pytest.approx(model.best_metric_results["Set"]["psnr"]["val"])
    for i in range(2):
        event = events.Images(f"Set/Set{i}")[0]
        picture = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)  # B, G, R
        with torch.no_grad():
            sr = model.net_g(images[i]["lq"][None])
        panels = imresize(tensor2img(images[i]["lq"]), 2), tensor2img(sr), tensor2img(images[i]["gt"])
        panels = [panel if channels == 3 else np.stack([panel] * 3, axis=2) for panel in panels]
        assert event.step == 5 and (event.height, event.width) == (panels[2].shape[0], 3 * panels[2].shape[1])
        assert np.array_equal(picture, np.concatenate(panels, axis=1))


def test_hr_images_that_are_no_multiple(options, tmp_path):
    """A row more than the scale gives: the picture is as high as the lower ones."""
    images = Images(sizes=((12, 9),))
    images.items[0]["gt"] = torch.rand(3, 25, 19)
    model = build(options(val={"pictures": 1, "metrics": None}))
    with SummaryWriter(str(tmp_path / "tb")) as writer:
        model.validation(images.loader, 5, writer)
    (event,) = EventAccumulator(str(tmp_path / "tb"), {"images": 0}).Reload().Images("Set/Set0")
    assert (event.height, event.width) == (24, 18 + 18 + 19)


# -- the best


def brighten(model, by: float) -> None:
    with torch.no_grad():
        for net in (model.net_g, getattr(model, "net_g_ema", None)):
            if net is not None:
                net.conv_last.bias += 255 * by


@pytest.mark.parametrize("ema_decay", [0, 0.9])
@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_best_weights_are_kept(better, ema_decay, options, tmp_path):
    metrics = {"brightness": {"type": "brightness", "better": better}, "psnr": PSNR}
    model = train(build(options(train={"ema_decay": ema_decay}, val={"metrics": metrics})), 2)
    towards = 0.05 if better == "higher" else -0.05
    best = tmp_path / "models/net_g_best.pth"

    def validate(number: int, name: str = "Set") -> dict:
        model.validation(Images(name).loader, number, None)
        return torch.load(best, weights_only=True)

    def current() -> dict:
        nets = {"params": model.net_g} | ({"params_ema": model.net_g_ema} if ema_decay else {})
        copies = {key: {name: value.clone() for name, value in net.state_dict().items()} for key, net in nets.items()}
        return {**copies, "network_g": model.opt["network_g"]}

    first = current()
    assert same(validate(5), first)
    brighten(model, -towards)
    assert same(validate(10), first)
    assert model.best_metric_results["Set"]["brightness"]["iter"] == 5
    brighten(model, 2 * towards)
    second = current()
    assert not same(first, second) and same(validate(15), second)
    # Of several sets the first counts.
    assert same(validate(15, "another"), second)
    brighten(model, -5 * towards)
    assert same(validate(20), second)
    brighten(model, 6 * towards)
    assert same(validate(20, "another"), second)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["net_g_best.pth"]


def test_a_test_keeps_no_best(options, tmp_path):
    build(options(is_train=False)).validation(Images().loader, "tiny", None)
    assert not any((tmp_path / "models").iterdir())


# -- several processes


def test_each_process_takes_its_share_and_all_know_the_figures(options, tmp_path, monkeypatch):
    metrics = {**METRICS, "uneven": {"type": "uneven"}}
    alone = build(options(val={"metrics": metrics}))
    alone.validation(Images().loader, 5, None)
    (tmp_path / "models/net_g_best.pth").unlink()
    shares: dict[int, dict] = {}

    def validate(rank: int, save_img: bool = False) -> AcceleratedSRModel:
        opt = options(rank=rank, world_size=2, val={"metrics": metrics})
        model = build(opt)
        model.opt["dist"] = True

        def gather(gathered, found):
            shares[rank] = found
            gathered[:] = [shares.get(0), shares.get(1)] if len(shares) == 2 else [found, {}]

        monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
        monkeypatch.setattr(torch.distributed, "broadcast", lambda buffer, source: None)  # the models are alike
        model.validation(Images().loader, 5, None, save_img=save_img)
        return model

    validate(1, save_img=True)
    assert [path.name for path in (tmp_path / "visualization").iterdir()] == ["Set1"]
    assert not any((tmp_path / "models").iterdir()), "the first process writes"
    validate(0, save_img=True)
    assert {rank: list(share) for rank, share in shares.items()} == {1: [1], 0: [0, 2]}
    assert sorted(path.name for path in (tmp_path / "visualization").iterdir()) == ["Set0", "Set1", "Set2"]
    for rank in (0, 1):
        model = validate(rank)
        assert model.metric_results == alone.metric_results
        assert model.best_metric_results == alone.best_metric_results
    assert (tmp_path / "models/net_g_best.pth").is_file()


def test_the_bar_is_shown_when_asked_for(options, capsys):
    for pbar in (True, False):
        build(options(val={"pbar": pbar})).validation(Images("Set5").loader, 5, None)
        assert ("Set5" in capsys.readouterr().err) == pbar


def test_logged_at_info(options, log):
    build(options()).validation(Images().loader, 5, None)
    (record,) = (one for one in log.records if one.getMessage().startswith("Validation Set"))
    assert record.levelno == logging.INFO
