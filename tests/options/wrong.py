"""Option files to change and to check: small ones of each model, without files that they name."""

from __future__ import annotations

import copy
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import yaml

import rcan_plugin
from rcan_plugin.options.check import understand
from rcan_plugin.options.mistakes import Mistakes
from rcan_plugin.options.networks import without_side_effects
from rcan_plugin.options.read import OptionFile

rcan_plugin.register()

Options = dict[str, Any]
RCAN = {"type": "RCANArch", "num_feat": 8, "num_group": 1, "num_block": 1, "squeeze_factor": 4, "upscale": 2}
EDSR = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "upscale": 2}
METRICS = {"psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}}


def training(model: str = "SRModel") -> Options:
    """An option file to train RCAN on our data."""
    data = {"type": "DegradationPairedDataset", "dataroot_gt": "HR", "degradation": {"type": "BI"}}
    loading = {"use_hflip": True, "use_rot": True, "num_worker_per_gpu": 0, "batch_size_per_gpu": 2}
    return {
        "name": "run",
        "model_type": model,
        "scale": 2,
        "num_gpu": 0,
        "datasets": {"train": {"name": "t", **data, "gt_size": 16, **loading}, "val": {"name": "v", **data}},
        "network_g": dict(RCAN),
        "path": {"resume_state": None},
        "train": {
            "total_iter": 4,
            "optim_g": {"type": "Adam", "lr": 1e-4, "betas": [0.9, 0.99]},
            "scheduler": {"type": "MultiStepLR", "milestones": [2], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss"},
        },
        "val": {"val_freq": 2, "save_img": False, "metrics": copy.deepcopy(METRICS)},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 2, "use_tb_logger": False},
    }


def stock() -> Options:
    """An option file of BasicSR's own: EDSR on its paired data set."""
    paired = {"type": "PairedImageDataset", "dataroot_gt": "HR", "dataroot_lq": "LR", "io_backend": {"type": "disk"}}
    options = training()
    for data in options["datasets"].values():
        for key in ("degradation", "type", "dataroot_gt"):
            del data[key]
        data |= copy.deepcopy(paired)
    return {**options, "network_g": dict(EDSR)}


def gan() -> Options:
    """An option file that trains with a discriminator."""
    options = training("SRGANModel")
    options["network_d"] = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}
    options["train"]["optim_d"] = {"type": "Adam", "lr": 1e-4}
    options["train"]["gan_opt"] = {"type": "GANLoss", "gan_type": "vanilla"}
    return options


def evaluation() -> Options:
    """An option file for testing."""
    options = training()
    data = options["datasets"]["val"]
    val = {"save_img": True, "suffix": None, "metrics": copy.deepcopy(METRICS)}
    kept = {key: options[key] for key in ("name", "model_type", "scale", "num_gpu", "network_g")}
    return {**kept, "datasets": {"test_1": data}, "path": {"pretrain_network_g": "w.pth"}, "val": val}


BASES = {
    "ours": lambda: training("AcceleratedSRModel"),
    "SRModel": training,
    "stock": stock,
    "gan": gan,
    "test": evaluation,
}
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()
"""A value that removes the key. Its name is the same in every process, since names of tests hold it."""


def changed(options: Options, **changes: Any) -> Options:
    """A copy with `train__total_iter=3` set."""
    options = copy.deepcopy(options)
    for place, value in changes.items():
        *sections, key = place.split("__")
        section = options
        for name in sections:
            section = section.setdefault(name, {})
        if value is MISSING:
            del section[key]
        else:
            section[key] = value
    return options


def understood(path: Path, options: Options | str, *force_yml: str, is_train: bool = True) -> OptionFile:
    """Write an option file and check what it alone tells."""
    path.write_text(options if isinstance(options, str) else yaml.safe_dump(options, sort_keys=False))
    with without_side_effects():
        return understand(Namespace(opt=str(path), force_yml=list(force_yml), launcher="none"), is_train)


def refused(path: Path, options: Options | str, *force_yml: str, is_train: bool = True) -> list[str]:
    """The mistakes that a file is refused with. Each that has a line must name a key of that line."""
    with pytest.raises(Mistakes) as raised:
        understood(path, options, *force_yml, is_train=is_train)
    lines = path.read_text().splitlines()
    for number, text in raised.value.numbered:
        if isinstance(options, dict) and number:
            key = lines[number - 1].split(":")[0].strip(" -?\"'")
            assert re.search(rf"(^|: ){re.escape(key)}(: |\Z)", text.partition(": is ")[0] + ": "), (
                lines[number - 1],
                text,
            )
    return str(raised.value).splitlines()
