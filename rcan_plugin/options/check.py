"""What is looked at in an option file before BasicSR builds or moves anything."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rcan_plugin.archs import NETWORKS
from rcan_plugin.data.paired_dataset import DegradationPairedDataset

Parse = Callable[..., tuple[dict[str, Any], Namespace]]


def checked(parse_options: Parse, only_ours: bool = True) -> Parse:
    """BasicSR's `parse_options`, followed by `check`; what is wrong ends the program with one clear message.

    Args:
        parse_options: BasicSR's function, or what this function made of it.
        only_ours: leave options alone in which neither a data set nor the network is ours.
    """
    parse_options = inspect.unwrap(parse_options)

    @functools.wraps(parse_options)
    def parse(*args: Any, **kwargs: Any) -> tuple[dict[str, Any], Namespace]:
        opt, namespace = parse_options(*args, **kwargs)
        if only_ours and not _has_ours(opt):
            return opt, namespace
        try:
            check(opt)
        except (FileNotFoundError, ValueError) as error:
            sys.exit(f"\n{namespace.opt}: {error}\nNothing was built, moved or written.")
        return opt, namespace

    return parse


def check(opt: dict[str, Any]) -> None:
    """Look for the data and the weights that the options name, and let a resumed run load its own weights strictly.

    Args:
        opt: what BasicSR's `parse_options` returns. Changed only in `strict_load_g` and `param_key_g`, and only when
            resuming.

    Raises:
        FileNotFoundError: a folder, an image or a file of weights is missing.
        ValueError: a data set of ours cannot be used as described.
    """
    if opt.get("model_type") == "AcceleratedSRModel":
        from rcan_plugin.models import accelerated_model  # it needs BasicSR, which may not be imported before us

        accelerated_model.check(opt)
    with _quiet():  # BasicSR builds the data sets again, and then they say what they have to say
        for data in opt.get("datasets", {}).values():
            if data.get("type") == DegradationPairedDataset.__name__:
                DegradationPairedDataset(data)
                continue
            for key, value in data.items():
                if key.startswith("dataroot") and value and not Path(value).exists():
                    raise FileNotFoundError(f"data set {data.get('name', '?')}: {key}: {value} {_missing()}.")
    path = opt.get("path", {})
    resuming = resumed_state(opt) is not None
    for key, value in path.items():
        # What a resumed run started from is not read again.
        wanted = key == "resume_state" or (key.startswith("pretrain_network") and not resuming)
        if wanted and value and not Path(value).is_file():
            raise FileNotFoundError(f"path: {key}: {value} {_missing()}: mend it, or set it to ~ to start without.")
    if resuming:
        # Weights that fit in part start another scale; a run that goes on must find all of its own.
        path["strict_load_g"] = True
        # `param_key_g: ~` is for the authors' flat files; BasicSR's own have a key.
        path["param_key_g"] = path.get("param_key_g") or "params"


def resumed_state(opt: Mapping[str, Any]) -> Path | None:
    """The training state that a run with these options goes on from, by BasicSR's rules (`load_resume_state`)."""
    if not opt.get("auto_resume"):
        state = opt.get("path", {}).get("resume_state")
        return Path(state) if state else None
    states = Path("experiments", opt["name"], "training_states").glob("*.state")
    return max(states, key=lambda state: float(state.stem), default=None)


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


@contextmanager
def _quiet() -> Iterator[None]:
    log = logging.getLogger("basicsr")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
