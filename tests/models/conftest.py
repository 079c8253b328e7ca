"""Tiny training runs of `AcceleratedSRModel` in this process, on random images in memory."""

from __future__ import annotations

import copy
import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import basicsr.utils.logger
import numpy as np
import pytest
import torch
from basicsr.models.sr_model import SRModel
from torch import nn
from torch.utils.data import DataLoader, Dataset

import rcan_plugin
from rcan_plugin.models.accelerated_model import AcceleratedSRModel

rcan_plugin.register()

Options = Callable[..., dict[str, Any]]

RCAN = {
    "type": "RCANArch", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_group": 1, "num_block": 1,
    "squeeze_factor": 4, "upscale": 2, "img_range": 255, "rgb_mean": [0.4488, 0.4371, 0.4040],
}  # fmt: skip
COMMON = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "upscale": 2}
NETWORKS = {
    "RCANArch": RCAN,
    "RCAN": {**RCAN, "type": "RCAN"},
    "EDSR": {"type": "EDSR", **COMMON},
    "MSRResNet": {"type": "MSRResNet", **COMMON},
}
ARGUMENTS = {key: value for key, value in RCAN.items() if key != "type"}
ADAM = {"type": "Adam", "lr": 1e-3, "betas": [0.9, 0.99]}
PSNR = {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Options]:
    """What BasicSR's `parse_options` returns for a tiny run: `options(train={"amp": "bf16"}, scale=None)`.

    Keys are added to those of a section; None removes a key.
    """
    # Else BasicSR configures the logger of the whole process, and other tests do not see its messages.
    monkeypatch.setitem(basicsr.utils.logger.initialized_logger, "basicsr", True)
    monkeypatch.setattr(logging.getLogger("basicsr"), "propagate", True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folders = {name: str(tmp_path / name) for name in ("models", "training_states", "visualization")}

    def make(**changes: Any) -> dict[str, Any]:
        for folder in folders.values():
            Path(folder).mkdir(exist_ok=True)
        opt: dict[str, Any] = {
            "name": "tiny", "model_type": "AcceleratedSRModel", "scale": 2, "num_gpu": 0, "manual_seed": 0,
            "dist": False, "rank": 0, "world_size": 1, "is_train": True, "auto_resume": False,
            "datasets": {"train": {"batch_size_per_gpu": 4}},
            "network_g": dict(RCAN),
            "path": {"strict_load_g": True, "resume_state": None, **folders},
            "train": {
                "optim_g": {"type": "Adam", "lr": 1e-3, "betas": [0.9, 0.99]},
                "scheduler": {"type": "MultiStepLR", "milestones": [6, 12], "gamma": 0.5},
                "total_iter": 20, "warmup_iter": -1,
                "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
            },
            "val": {"val_freq": 5, "save_img": False, "metrics": {"psnr": dict(PSNR)}},
            "logger": {"print_freq": 1, "use_tb_logger": False},
        }  # fmt: skip
        for name, change in changes.items():
            if isinstance(change, Mapping) and name != "network_g":
                change = {key: value for key, value in {**opt[name], **change}.items() if value is not None}
            opt[name] = change
        return {name: value for name, value in opt.items() if value is not None}

    yield make
    torch.set_num_threads(threads)


@pytest.fixture
def log(options: Options, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The messages in BasicSR's log."""
    caplog.set_level(logging.INFO, "basicsr")
    return caplog


def build(opt: Mapping[str, Any], cls: type[SRModel] = AcceleratedSRModel, seed: int = 0) -> Any:
    """Build a model from options, which are not changed."""
    torch.manual_seed(seed)
    return cls(copy.deepcopy(dict(opt)))


def batch(number: int = 0, size: int = 4, scale: int = 2, side: int = 8) -> dict[str, Any]:
    """A batch of random images that depends on the number only."""
    generator = torch.Generator().manual_seed(number)
    return {
        "lq": torch.rand(size, 3, side, side, generator=generator),
        "gt": torch.rand(size, 3, side * scale, side * scale, generator=generator),
        "gt_path": [f"{number}_{i}.png" for i in range(size)],
    }


def step(model: Any, number: int, data: dict[str, Any] | None = None) -> None:
    """Run one iteration as BasicSR's loop does."""
    model.update_learning_rate(number, warmup_iter=model.opt["train"].get("warmup_iter", -1))
    model.feed_data(batch(number) if data is None else data)
    model.optimize_parameters(number)


def train(model: Any, last: int, first: int = 1) -> Any:
    """Run iterations `first` to `last`; returns the model."""
    for number in range(first, last + 1):
        step(model, number)
    return model


def weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy of all weights of a checkpoint; names begin with `net.` or `ema.`."""
    nets = {"net": model.net_g} | ({"ema": model.net_g_ema} if hasattr(model, "net_g_ema") else {})
    return {
        f"{label}.{name}": value.clone()
        for label, net in nets.items()
        for name, value in model.get_bare_model(net).state_dict().items()
    }


class Dropping(nn.Module):
    """A network that draws random numbers in training."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.Dropout(0.3), nn.PixelShuffle(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Images(Dataset[dict[str, Any]]):
    """A validation set of random images of a few sizes; LR is the 2x2 mean of HR."""

    def __init__(self, name: str = "Set", scale: int = 2, sizes: Any = ((12, 9), (8, 14), (11, 11)), gt: bool = True):
        self.opt = {"name": name, "scale": scale, "phase": "val"}
        self.items = []
        for i, (height, width) in enumerate(sizes):
            generator = torch.Generator().manual_seed(i)
            hr = torch.rand(1, 3, height * scale, width * scale, generator=generator)
            lq = torch.nn.functional.avg_pool2d(hr, scale)[0]
            self.items.append({"lq": lq, "lq_path": f"folder/{name}{i}.png"} | ({"gt": hr[0]} if gt else {}))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {key: value.clone() if torch.is_tensor(value) else value for key, value in self.items[index].items()}

    @property
    def loader(self) -> DataLoader[dict[str, Any]]:
        """As BasicSR builds it."""
        return DataLoader(self, batch_size=1)


def distance(one, other) -> float:
    """The largest difference between two sets of weights, of the largest weight."""
    assert one.keys() == other.keys()
    largest = max(value.abs().max() for value in other.values())
    return float(max((one[name] - value).abs().max() for name, value in other.items()) / largest)


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: one.grad.clone() for name, one in model.net_g.named_parameters()}


def resumed(opt, state, path="models/net_g_5.pth", folder=None, cls=AcceleratedSRModel):
    """A new process that goes on: other random numbers so far, the state read as our launcher reads it."""
    opt = {**opt, "path": {**opt["path"], "pretrain_network_g": str(folder / path), "param_key_g": "params"}}
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    model = build(opt, cls, seed=99)
    model.resume_training(state)
    return model


def spoilt(model, how: str) -> dict:
    """A batch that must not be learnt from; a hook makes the gradient inf while the loss is finite."""
    data = batch(99)
    if how == "NaN in the batch":
        data["lq"][0, 0, 0, 0] = math.nan
    elif how == "a loss far above the mean":
        data["gt"] *= 1000
    else:
        parameter = next(model.net_g.parameters())
        handle = parameter.register_hook(lambda gradient: (handle.remove(), gradient * math.inf)[1])
    return data
