"""Validates an option file before BasicSR builds, moves or writes anything."""

from __future__ import annotations

import functools
import inspect
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rcan_plugin.archs import NETWORKS
from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.data.scan import forget_scans, keep_scan

Parse = Callable[..., tuple[dict[str, Any], Namespace]]


def checked(parse_options: Parse, only_ours: bool = True) -> Parse:
    """Wrap BasicSR's `parse_options` so that `check` follows; an error ends the program with one message.

    Args:
        parse_options: BasicSR's function, or what this function made of it.
        only_ours: leave options alone in which no data set, network or model is ours.
    """
    parse_options = inspect.unwrap(parse_options)

    @functools.wraps(parse_options)
    def parse(*args: Any, **kwargs: Any) -> tuple[dict[str, Any], Namespace]:
        opt, namespace = parse_options(*args, **kwargs)
        if only_ours and not _has_ours(opt):
            return opt, namespace
        try:
            check(opt, goes_on=not only_ours)
        except (FileNotFoundError, ValueError) as error:
            sys.exit(f"\n{namespace.opt}: {error}\nNothing was built, moved or written.")
        return opt, namespace

    return parse


def check(opt: dict[str, Any], goes_on: bool = False) -> None:
    """Check that the data and the weights in the options exist, and make a resumed run load its weights strictly.

    The files of our data sets are scanned here once; the data sets built next in this process use the result.

    Args:
        opt: what BasicSR's `parse_options` returns. Only when resuming it is changed: see `choose_state`.
        goes_on: the trainer goes on until `total_iter`, as `rcan train` does.

    Raises:
        FileNotFoundError: a folder, an image or a file of weights is missing.
        ValueError: a value is out of range, or a data set of ours cannot be used as described.
    """
    if opt.get("model_type") == "AcceleratedSRModel":
        from rcan_plugin.models import accelerated_model  # it needs BasicSR, which may not be imported before us

        accelerated_model.check(opt)
    forget_scans()
    try:
        _check_data(opt)
    except Exception:
        forget_scans()
        raise
    from rcan_plugin.models.resuming import choose_state  # they need BasicSR too
    from rcan_plugin.models.run_length import check_run_length

    training = opt.get("is_train", False) and "train" in opt["datasets"]
    state = choose_state(opt) if training else None
    for key, value in opt.get("path", {}).items():
        # A resumed run does not read again what it started from.
        if key.startswith("pretrain_network") and value and state is None and not Path(value).is_file():
            raise FileNotFoundError(f"path: {key}: {value} {_missing()}: correct it, or set it to ~ to start without.")
    if training:
        check_run_length(opt, state, goes_on)


def _check_data(opt: Mapping[str, Any]) -> None:
    for data in opt.get("datasets", {}).values():
        if data.get("type") == DegradationPairedDataset.__name__:
            keep_scan(DatasetOptions.read(data))
            continue
        for key, value in data.items():
            if key.startswith("dataroot") and value and not Path(value).exists():
                raise FileNotFoundError(f"data set {data.get('name', '?')}: {key}: {value} {_missing()}.")


def _has_ours(opt: Mapping[str, Any]) -> bool:
    data_types = {data.get("type") for data in opt.get("datasets", {}).values()}
    network_type = (opt.get("network_g") or {}).get("type")
    return (
        DegradationPairedDataset.__name__ in data_types
        or network_type in {network.__name__ for network in NETWORKS}
        or opt.get("model_type") == "AcceleratedSRModel"
    )


def _missing() -> str:
    return f"does not exist (looked for from {Path.cwd()})"
