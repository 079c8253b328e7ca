"""Checks that a machine has the data, weights and GPUs that options name, and that they fit."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.scan import keep_scan
from rcan_plugin.options import keys as tables
from rcan_plugin.options.mistakes import Mistake
from rcan_plugin.options.signatures import registered


def check_files(opt: Mapping[str, Any], resuming: bool) -> Iterator[Mistake]:
    """Check what the options need of this machine.

    Args:
        opt: what BasicSR's `parse_options` returns.
        resuming: whether the run is resumed: it does not read again what it started from.
    """
    yield from _check_gpus(opt)
    if (opt.get("logger") or {}).get("use_tb_logger") and importlib.util.find_spec("tensorboard") is None:
        yield Mistake(("logger", "use_tb_logger"), "is true, and tensorboard is not installed: `pip install tensorboard`.")
    for phase, data in opt.get("datasets", {}).items():
        yield from _check_data(opt, phase, data)
    for key, value in opt.get("path", {}).items():
        wanted = key == "resume_state" or (key.startswith("pretrain_network") and not resuming)
        if wanted and value and not Path(value).is_file():
            yield Mistake(("path", key), f"{value} {missing()}: correct it, or set it to ~ to start without.")


def _check_gpus(opt: Mapping[str, Any]) -> Iterator[Mistake]:
    asked, present = opt.get("num_gpu", 0), torch.cuda.device_count()
    if asked > present:
        text = f"is {asked}, and this machine has {present}: write auto, or {present}{' for the CPU' * (present == 0)}."
        yield Mistake(("num_gpu",), text)
    elif asked > 1 and not opt["dist"]:
        program = "train" if opt["is_train"] else "test"
        text = (
            f"is {asked} without a launcher. BasicSR would use DataParallel, which is slow and multiplies the batch. Run "
            f"`torchrun --nproc_per_node {asked} basicsr/{program}.py -opt FILE --launcher pytorch`, or use one GPU with "
            "CUDA_VISIBLE_DEVICES=0."
        )
        yield Mistake(("num_gpu",), text)
    prefetch = (opt["datasets"].get("train") or {}).get("prefetch_mode") if "datasets" in opt else None
    if prefetch == "cuda" and present == 0:
        yield Mistake(("datasets", "train", "prefetch_mode"), "is cuda, and this machine has no GPU: write ~.")


def _check_data(opt: Mapping[str, Any], phase: str, data: Mapping[str, Any]) -> Iterator[Mistake]:
    path = ("datasets", phase)
    if data.get("type") in tables.OUR_DATA:
        try:
            keep_scan(DatasetOptions.read(data))
        except (FileNotFoundError, ValueError) as error:
            yield Mistake(path, str(error))
        return
    roots = {key: value for key, value in data.items() if key.startswith("dataroot") and value}
    absent = [key for key, value in roots.items() if not Path(value).exists()]
    for key in absent:
        yield Mistake((*path, key), f"{roots[key]} {missing()}.")
    if not absent and data.get("type") in registered("datasets"):
        try:
            registered("datasets")[data["type"]](deepcopy(dict(data)))
        except Exception as error:
            yield Mistake(path, f"{data['type']} cannot be built: {' '.join(str(error).split()) or type(error).__name__}")


def missing() -> str:
    """`does not exist`, and from where a relative path was looked for."""
    return f"does not exist (looked for from {Path.cwd()})"
