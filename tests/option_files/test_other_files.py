"""The option files of the networks that RCAN is compared with: full-size networks and the authors' recipes."""

import re

import pytest
import torch
from basicsr.archs import build_network

from tests.conftest import ROOT, read_options

FILES = sorted(file.stem for file in (ROOT / "options/others").iterdir())

# With biases, slopes and normalisation; published counts are of weights alone (see the tests of the networks).
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
    return read_options(f"others/{file}")


def test_the_files_are_all_there():
    assert set(PARAMETERS) == set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_the_network_is_full_size(file):
    with torch.device("meta"):
        net = build_network(read(file)["network_g"])
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[file]


@pytest.mark.parametrize("file", FILES)
def test_the_file_does_what_its_name_says(file):
    network, scales = re.fullmatch(r"train_([A-Za-z]+)_x(\d+)", file).groups()
    opt = read(file)
    assert opt["name"] == f"{network}_BI_x{scales}"
    text = (ROOT / "options/others" / f"{file}.yml").read_text()
    assert f"# python basicsr/train.py -opt options/others/{file}.yml\n" in text
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


# From the authors' solvers and options where they are public, else from the papers: see the heads of the option files.
SGD = {"type": "SGD", "momentum": 0.9}
DECAYING = {**SGD, "weight_decay": 1e-4}
ADAM = {"type": "Adam", "weight_decay": 0, "eps": 1e-8}
CONVOLUTIONS = {"conv.bias": 0.1, "convs.0.bias": 0.1, "convs.1.bias": 0.1}
"""DRRN and MemNet: a tenth of the rate for biases of convolutions, the full rate for those of normalisations."""
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
    opt = read(file)
    train = opt["datasets"]["train"]
    recipe = (opt["train"]["optim_g"], train["batch_size_per_gpu"], train["gt_size"], opt["train"]["total_iter"])
    assert recipe == RECIPES[file]


def test_summed_losses_belong_to_the_rates_of_sgd():
    """Published rates of SGD are for sums over a patch: with a mean they would be some hundred times too low."""
    losses = {file: read(file)["train"] for file in FILES}
    sums = {
        file for file, train in losses.items()
        if train["pixel_opt"]["type"] in ("EuclideanLoss", "PyramidLoss", "RecursiveLoss")
    }  # fmt: skip
    by_sgd = {file for file, train in losses.items() if train["optim_g"]["type"] == "SGD"}
    assert by_sgd - sums == {f"train_ESPCN_x{scale}" for scale in (2, 3, 4)}, "its paper has the mean"
    assert sums <= by_sgd
