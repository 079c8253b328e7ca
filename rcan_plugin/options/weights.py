"""Checks the weights that an option file starts from: the files, their keys, whether the networks load them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from rcan_plugin.options.networks import without_side_effects
from rcan_plugin.weights import files, fit
from rcan_plugin.weights.networks import build

PREFIX = "pretrain_network"


def check_weights(opt: Mapping[str, Any]) -> None:
    """Check each file in `path: pretrain_network_*` of a run that is not resumed, as its model will load it.

    Networks are built from BasicSR's registry to check that they load the weights; if a network cannot be built, the
    check of its options reports that. Nothing is logged, and torch's random numbers do not change. For a model of
    another package that loads weights in its own way, only the file is read.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file cannot be read, or is not weights of the network.
    """
    paths = opt.get("path") or {}
    for option, path in paths.items():
        if not (option.startswith(PREFIX) and path):
            continue
        label = option.removeprefix(PREFIX).removeprefix("_")
        averaged = label == "g" and opt.get("is_train") and (opt.get("train") or {}).get("ema_decay")
        try:
            with without_side_effects():
                any_layout = _loads_any_layout(opt.get("model_type"))
                if any_layout is None:
                    files.read(path)
                    continue
                fit.check_weights(
                    path,
                    partial(_build, opt.get(f"network_{label}")),
                    paths.get(f"param_key_{label}", "params"),
                    strict=paths.get(f"strict_load_{label}", True),
                    ema=bool(averaged),
                    label=label,
                    any_layout=any_layout,
                )
        except FileNotFoundError:
            raise FileNotFoundError(
                f"path: {option}: {path} does not exist (looked for from {Path.cwd()}): correct it, or set it to ~ to "
                "start without."
            ) from None
        except ValueError as error:
            raise ValueError(f"path: {option}: {error}") from None


def _loads_any_layout(model_type: Any) -> bool | None:
    """Whether a model loads weights as `AcceleratedSRModel` does or as BasicSR's models; None for another way."""
    from basicsr.models.base_model import BaseModel
    from basicsr.utils.registry import MODEL_REGISTRY

    from rcan_plugin.models.checkpointing import CheckpointingModel

    load = getattr(dict(iter(MODEL_REGISTRY)).get(model_type, BaseModel), "load_network", None)
    known = {BaseModel.load_network: False, CheckpointingModel.load_network: True}
    return known.get(load)


def _build(option: Mapping[str, Any] | None) -> nn.Module | None:
    try:
        return build(option or {})
    except Exception:  # a network of another package may raise anything; its arguments are checked elsewhere
        return None
