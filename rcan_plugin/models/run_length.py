"""Checks before training that a run reaches `total_iter`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY

from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.data.scan import kept_scan
from rcan_plugin.training.epochs import Epochs


def check_run_length(opt: Mapping[str, Any], state: Mapping[str, Any] | None, all_epochs: bool) -> None:
    """Check that the training set fills a batch and, for BasicSR's own loop, that the loop reaches `total_iter`.

    Args:
        opt: what BasicSR's `parse_options` returns; scans of this plugin's data sets are kept (`keep_scan`).
        state: the training state to resume from, if any.
        all_epochs: the trainer runs as many epochs as `total_iter` needs, as `rcan train` does.

    Raises:
        ValueError: the run would train nothing, or end early.
    """
    data = opt["datasets"]["train"]
    ratio, batch, ranks = data.get("dataset_enlarge_ratio", 1), data["batch_size_per_gpu"], opt["world_size"]
    gpus = 1 if opt["dist"] else max(1, opt["num_gpu"])
    epochs = Epochs(_number_of_images(data), ratio, batch, ranks, gpus)
    total = int(opt["train"]["total_iter"])
    start = {"epoch": state["epoch"], "iteration": state["iter"]} if state else {}
    name = f"data set {data.get('name', '?')}"
    if epochs.images == 0:
        raise ValueError(f"{name} has no images.")
    where = f"{name}: {epochs.images} images with dataset_enlarge_ratio {ratio}"
    size = f"{batch * gpus}" + (f" on {ranks} processes" if ranks > 1 else "")
    enough = math.ceil(batch * gpus * ranks / epochs.images) if all_epochs else epochs.sufficient_ratio(total, **start)
    remedy = f"set dataset_enlarge_ratio to {enough}, or " if enough else ""
    if epochs.iterations == 0:
        raise ValueError(
            f"{where} fill no batch of {size}, so nothing would be trained: {remedy}lower batch_size_per_gpu."
        )
    last = total if all_epochs else epochs.last_iteration(total, **start)
    if last < total:
        resumed = f", resumed at iteration {state['iter']} in epoch {state['epoch']}," if state else ""
        raise ValueError(
            f"{where} in batches of {size}{resumed} would end at iteration {last} of {total}, because BasicSR rounds "
            f"epochs up and drops batches that are not full: {remedy}use `rcan train`, which trains until total_iter."
        )


def _number_of_images(data: Mapping[str, Any]) -> int:
    """The length of a training set. A data set of another package is built for this."""
    if data["type"] == DegradationPairedDataset.__name__:
        scan = kept_scan(DatasetOptions.read(data))
        if scan is not None:
            return len(scan.pairs)
    try:
        return len(DATASET_REGISTRY.get(data["type"])(deepcopy(data)))
    except Exception as error:  # a data set of another package may raise anything
        raise ValueError(
            f"data set {data.get('name', '?')}: {data['type']} cannot be built: {str(error) or repr(error)}"
        ) from None
