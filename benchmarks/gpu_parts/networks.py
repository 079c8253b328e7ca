"""Networks and BasicSR options of the rows of `gpu.py`."""

from __future__ import annotations

import copy
import logging
from typing import Any

import torch

import rcan_plugin
from benchmarks.gpu_parts.results import NotAvailableError

rcan_plugin.register()

from basicsr.archs import build_network  # noqa: E402
from basicsr.models import build_model  # noqa: E402

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")


def options(network_g: dict[str, Any], *, train: dict[str, Any] | None = None, val: dict[str, Any] | None = None,
            ours: bool, is_train: bool = True) -> dict[str, Any]:  # fmt: skip
    """Options as BasicSR's `parse_options` returns them, for `AcceleratedSRModel` or `SRModel`."""
    return {
        "model_type": "AcceleratedSRModel" if ours else "SRModel", "scale": network_g["upscale"], "num_gpu": int(GPU),
        "is_train": is_train, "dist": False, "rank": 0, "world_size": 1, "path": {}, "val": copy.deepcopy(val or {}),
        "network_g": copy.deepcopy(network_g), "name": "benchmark", "logger": {},
        "train": {
            "optim_g": {"type": "Adam", "lr": 1e-4, "betas": [0.9, 0.99], **({"fused": True} if ours else {})},
            "scheduler": {"type": "MultiStepLR", "milestones": [10**6]},
            "pixel_opt": {"type": "L1Loss"}, **copy.deepcopy(train or {}),
        },
    }  # fmt: skip


def model(opt: dict[str, Any]) -> Any:
    """BasicSR's model of these options, built without its log."""
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True  # as BasicSR's training sets it
    logger = logging.getLogger("basicsr")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)
    return build_model(copy.deepcopy(opt))


def require(opt: dict[str, Any]) -> None:
    """Check that all keys of our options exist: an unknown key would be ignored, and something else measured.

    Raises:
        NotAvailableError: a key does not exist here.
    """
    from rcan_plugin.models.accelerated_model import check

    for section in ("train", "val"):
        for key in ("cuda_graph", "compile", "amp"):
            if opt[section].get(key):
                wrong = {**opt, section: {**opt[section], key: "no such value"}}
                try:
                    check(copy.deepcopy(wrong))
                except ValueError:
                    continue
                raise NotAvailableError(f"AcceleratedSRModel has no `{section}: {key}`")
    try:
        check(copy.deepcopy(opt))
    except ValueError as error:
        raise NotAvailableError(str(error)) from error
    if "kernels" in opt["network_g"]:
        try:
            with torch.device("meta"):
                build_network(copy.deepcopy(opt["network_g"]))
        except (TypeError, ValueError, ImportError) as error:
            raise NotAvailableError(f"network_g: kernels: {error}") from error


def spandrel_rcan(scale: int, dry_run: bool) -> torch.nn.Module:
    """RCAN as spandrel and traiNNer-redux have it.

    Raises:
        NotAvailableError: spandrel cannot be imported.
    """
    try:
        from spandrel.architectures.RCAN import RCAN as SpandrelRCAN
    except ImportError as error:
        raise NotAvailableError(f"spandrel is not installed: {error}") from error
    size = {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16, "reduction": 8} if dry_run else {}
    return SpandrelRCAN(scale=scale, **size)
