"""The option files of the networks that RCAN is compared with, and of its ablation study."""

import re

import basicsr.models
import basicsr.train
import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import build_network, vgg_arch

from tests.conftest import ROOT, read_options, shrink
from tests.test_option_files import pipeline

FILES = sorted(file.stem for file in (ROOT / "options").glob("train_*.yml") if not re.search("_RCAN_", file.stem))
SHORT = sorted(f"../benchmarks/training/{file.stem}" for file in (ROOT / "benchmarks/training").glob("*.yml"))
ABLATION = sorted(f"ablation/{file.stem}" for file in (ROOT / "options/ablation").iterdir())

# Published counts are of weights alone (see the networks' own tests); these are with biases, slopes and normalisation.
# EDSR, MDSR: the authors' code; MSRResNet: BasicSR's log of its own option files (x4: 1,517,571).
PARAMETERS = {
    **{f"train_SRCNN_x{scale}": 57_281 for scale in (2, 3, 4)},
    **{f"train_FSRCNN_x{scale}": 12_809 for scale in (2, 3, 4)},
    "train_ESPCN_x2": 21_284, "train_ESPCN_x3": 22_729, "train_ESPCN_x4": 24_752,
    **{f"train_DRCN_x{scale}": 1_775_121 for scale in (2, 3, 4)},
    "train_EDSR_x2": 40_729_603, "train_EDSR_x3": 43_680_003, "train_EDSR_x4": 43_089_923,
    "train_MSRResNet_x2": 1_369_859, "train_MSRResNet_x3": 1_554_499, "train_MSRResNet_x4": 1_517_571,
    "train_SRGAN_x4": 1_517_571,
    "train_LapSRN_x2": 407_441, "train_LapSRN_x4": 814_242,
    "train_LapSRN_x8": 640 + 3 * (6 * 36_928 + 577 + 16),  # 5 convolutions and the transposed one, residual, image
    "train_VDSR_x234": 665_921, "train_DRRN_x234": 297_601 + 13_058, "train_MemNet_x234": 695_497,
    "train_MDSR_x234": 7_957_449,
}  # fmt: skip


def read(file: str) -> dict:
    return yaml.safe_load((ROOT / "options" / f"{file}.yml").read_text())


def test_the_files_are_all_there():
    assert set(PARAMETERS) == set(FILES)
    parts = ("none", "LSC", "SSC", "CA", "LSC_SSC", "LSC_CA", "SSC_CA", "LSC_SSC_CA")
    assert set(ABLATION) == {f"ablation/RCAN_x2_{part}" for part in parts}


@pytest.mark.parametrize("file", FILES)
def test_the_network_is_full_size(file):
    with torch.device("meta"):
        net = build_network(read_options(file)["network_g"])
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[file]


@pytest.mark.parametrize("file", FILES)
def test_the_file_does_what_its_name_says(file):
    network, scales = re.fullmatch(r"train_([A-Za-z]+)_x(\d+)", file).groups()
    opt = read_options(file)
    assert opt["name"] == f"{network}_BI_x{scales}"
    text = (ROOT / "options" / f"{file}.yml").read_text()
    assert f"# python basicsr/train.py -opt options/{file}.yml\n" in text
    for data in opt["datasets"].values():
        assert data["type"] == "DegradationPairedDataset" and data["degradation"] == {"type": "BI"}
        assert data["dataroot_gt"] in ("datasets/DIV2K/train/HR.lmdb", "datasets/DIV2K/valid/HR.lmdb")
        assert ("channels" in data) == (opt["network_g"].get("num_in_ch") == 1)
    borders = {metric["crop_border"] for metric in opt["val"]["metrics"].values()}
    if scales == "234":
        assert "scale" not in opt and "scale" not in opt["datasets"]["train"]
        assert opt["datasets"]["train"]["scales"] == [2, 3, 4] and borders == {"scale"}
        assert [data["scale"] for name, data in opt["datasets"].items() if name != "train"] == [2, 3, 4]
    else:
        assert opt["scale"] == opt["network_g"]["upscale"] == int(scales) and borders == {int(scales)}
        assert opt["datasets"]["train"]["gt_size"] % int(scales) == 0


# By the authors' solvers and options where they are public, else by readers of the papers: see the option files' heads.
SGD = {"type": "SGD", "momentum": 0.9}
DECAYING = {**SGD, "weight_decay": 1e-4}
ADAM = {"type": "Adam", "weight_decay": 0, "eps": 1e-8}
CONVOLUTIONS = {"conv.bias": 0.1, "convs.0.bias": 0.1, "convs.1.bias": 0.1}
"""Of DRRN's and MemNet's biases those of the normalisations learn at the full rate."""
RECIPES = {
    "train_VDSR_x234": ({**DECAYING, "lr": 0.1}, 64, 41, 9_960),
    "train_DRRN_x234": ({**DECAYING, "lr": 0.1, "layer_rates": CONVOLUTIONS}, 128, 31, 326_800),
    "train_MemNet_x234": ({**DECAYING, "lr": 0.1, "layer_rates": CONVOLUTIONS}, 32, 31, 600_000),
    "train_LapSRN_x4": ({**DECAYING, "lr": 1e-5, "layer_rates": {"bias": 0.1}}, 64, 128, 100_000),
    "train_SRCNN_x3": ({**SGD, "lr": 1e-4, "layer_rates": {"conv3": 0.1}}, 128, 33, 6_000_000),
    "train_FSRCNN_x3": ({**SGD, "lr": 1e-3, "layer_rates": {"deconv": 0.1}}, 128, 21, 3_000_000),
    "train_ESPCN_x3": ({**SGD, "lr": 1e-2, "layer_rates": {"conv3": 0.1}}, 128, 51, 3_000_000),
    "train_DRCN_x3": ({**DECAYING, "lr": 1e-2}, 64, 42, 200_000),
    "train_EDSR_x4": ({**ADAM, "lr": 1e-4, "betas": [0.9, 0.999]}, 16, 192, 300_000),
    "train_MSRResNet_x4": ({**ADAM, "lr": 2e-4, "betas": [0.9, 0.99]}, 16, 128, 1_000_000),
}


@pytest.mark.parametrize("file", RECIPES)
def test_the_recipe_is_the_authors(file):
    opt = read_options(file)
    train = opt["datasets"]["train"]
    found = (opt["train"]["optim_g"], train["batch_size_per_gpu"], train["gt_size"], opt["train"]["total_iter"])
    assert found == RECIPES[file]


def test_summed_losses_belong_to_the_rates_of_sgd():
    """Rates published for sums over a patch: with a mean they would be some hundred times too low."""
    losses = {file: read_options(file)["train"] for file in FILES}
    sums = {
        file for file, train in losses.items()
        if train["pixel_opt"]["type"] in ("EuclideanLoss", "PyramidLoss", "RecursiveLoss")
    }  # fmt: skip
    by_sgd = {file for file, train in losses.items() if train["optim_g"]["type"] == "SGD"}
    assert by_sgd - sums == {f"train_ESPCN_x{scale}" for scale in (2, 3, 4)}, "its paper has the mean"
    assert sums <= by_sgd


def test_the_ablation_differs_from_the_recipe_only_in_what_its_cell_says():
    """Table 1 of the paper: Set5 x2, 5e4 iterations."""
    for file in ABLATION:
        opt, plain = read(file), read_options("train_RCAN_x2")
        parts = set(file.removeprefix("ablation/RCAN_x2_").split("_")) - {"none"}
        switches = {"LSC": "long_skip", "SSC": "short_skip", "CA": "channel_attention"}
        assert {part for part, switch in switches.items() if opt["network_g"].pop(switch)} == parts
        assert opt.pop("name") == file.removeprefix("ablation/")
        del plain["name"]
        assert opt["datasets"].pop("val") == {
            "name": "Set5", "type": "DegradationPairedDataset", "dataroot_gt": "datasets/benchmark/Set5/HR",
            "degradation": {"type": "BI"},
        }  # fmt: skip
        del plain["datasets"]["val"]
        assert (opt["train"].pop("total_iter"), opt["val"].pop("val_freq")) == (50_000, 1_000)
        assert opt["train"]["scheduler"].pop("milestones")[0] > 50_000
        for section, key in (("train", "total_iter"), ("val", "val_freq")):
            del plain[section][key]
        del plain["train"]["scheduler"]["milestones"]
        assert opt == plain


@pytest.fixture
def vgg_without_download(monkeypatch):
    """VGG19 with random weights."""
    original = vgg_arch.vgg.vgg19

    def small(pretrained):
        torch.manual_seed(0)
        with torch.device("meta"):
            net = original(weights=None)
        net.features.to_empty(device="cpu")
        for parameter in net.features.parameters():
            torch.nn.init.normal_(parameter, std=0.03)
        return net

    monkeypatch.setattr(vgg_arch.vgg, "vgg19", small)


@pytest.mark.parametrize("file", [*FILES, *ABLATION, *SHORT])
def test_each_runs_two_iterations(file, tiny, monkeypatch, vgg_without_download):
    options = shrink(read(file), tiny)
    if file == "train_SRGAN_x4":  # its discriminator takes 128 pixels
        for path in (tiny / "HR").iterdir():
            assert cv2.imwrite(str(path), np.tile(cv2.imread(str(path)), (4, 4, 1))[:136, :136])
        options["datasets"]["train"]["gt_size"] = 128
        options["network_d"]["num_feat"] = 4
        torch.save({"params": build_network(options["network_g"]).state_dict()}, tiny / "start.pth")
        options["path"]["pretrain_network_g"] = str(tiny / "start.pth")
    built: list = []
    build_model = basicsr.models.build_model
    monkeypatch.setattr(basicsr.train, "build_model", lambda opt: built.append(build_model(opt)) or built[0])
    pipeline(monkeypatch, "train", tiny, options)
    folder = tiny / "experiments" / options["name"]
    saved = torch.load(folder / "models/net_g_2.pth", weights_only=True)["params"]
    fresh = build_network(options["network_g"]).state_dict()
    assert saved.keys() == fresh.keys()
    assert all(tensor.isfinite().all() for tensor in saved.values())
    sets = [data["name"] for name, data in options["datasets"].items() if name != "train"]
    best = built[0].best_metric_results
    assert list(best) == sets
    assert all(np.isfinite(one["psnr"]["val"]) and one["psnr"]["val"] > 3 for one in best.values())
