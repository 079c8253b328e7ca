"""Validates an option file before BasicSR builds, moves or writes anything."""

from __future__ import annotations

import functools
import inspect
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rcan_plugin._files import in_words, report_uncaught, require_file
from rcan_plugin.archs import NETWORKS
from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.data.scan import forget_scans, keep_scan
from rcan_plugin.options.outputs import check_outputs
from rcan_plugin.options.their_data import check_roots
from rcan_plugin.training import checkpoints

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
        _check_option_file()
        opt, namespace = parse_options(*args, **kwargs)
        if only_ours and not _has_ours(opt):
            return opt, namespace
        report_uncaught()
        try:
            check_outputs(opt, namespace.opt, resuming=resumed_state(opt) is not None)
            check(opt)
        except (OSError, ValueError) as error:
            sys.exit(f"\n{namespace.opt}: {in_words(error)}\nNothing was built, moved or written.")
        return opt, namespace

    return parse


def _check_option_file() -> None:
    """End the program if the option file of the command line is missing, no file, or may not be read."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-opt")
    if (file := parser.parse_known_args()[0].opt) is not None:
        try:
            require_file("option file", file)
        except (OSError, ValueError) as error:
            sys.exit(f"\n{in_words(error)}")


def check(opt: dict[str, Any]) -> None:
    """Check that the data and the weights in the options exist, and make a resumed run load its weights strictly.

    The files of our data sets are scanned here once; the data sets built next in this process use the result.

    Args:
        opt: what BasicSR's `parse_options` returns. Only `strict_load_g` and `param_key_g` are changed, and only when
            resuming.

    Raises:
        FileNotFoundError: a folder, an image or a file of weights is missing.
        OSError: one may not be read.
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
    path = opt.get("path", {})
    resuming = resumed_state(opt) is not None
    for key, value in path.items():
        # A resumed run does not read again what it started from.
        wanted = key == "resume_state" or (key.startswith("pretrain_network") and not resuming)
        if wanted and value:
            require_file(f"path: {key}", value, "correct it, or set it to ~ to start without")
    if resuming:
        # Weights of another scale may fit in part at the start; a resumed run must find all of its own.
        path["strict_load_g"] = True
        # `param_key_g: ~` is for the authors' flat files; BasicSR's own have a key.
        path["param_key_g"] = path.get("param_key_g") or "params"


def _check_data(opt: Mapping[str, Any]) -> None:
    for data in opt.get("datasets", {}).values():
        if data.get("type") == DegradationPairedDataset.__name__:
            keep_scan(DatasetOptions.read(data))
        else:
            check_roots(data)


def resumed_state(opt: Mapping[str, Any]) -> Path | None:
    """The training state that a run with these options resumes from, by the rules of BasicSR's `load_resume_state`."""
    if not opt.get("auto_resume"):
        state = opt.get("path", {}).get("resume_state")
        return Path(state) if state else None
    return checkpoints.newest_state(Path("experiments", opt["name"], "training_states"))


def _has_ours(opt: Mapping[str, Any]) -> bool:
    data_types = {data.get("type") for data in opt.get("datasets", {}).values()}
    network_type = (opt.get("network_g") or {}).get("type")
    return (
        DegradationPairedDataset.__name__ in data_types
        or network_type in {network.__name__ for network in NETWORKS}
        or opt.get("model_type") == "AcceleratedSRModel"
    )
