"""Checks an option file for values that contradict each other, or that the named classes refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from copy import deepcopy
from typing import Any

import numpy as np

from rcan_plugin.options.data_contradictions import datasets, model_and_data
from rcan_plugin.options.mistakes import KeyPath, Mistake
from rcan_plugin.options.networks import check_discriminator, check_network
from rcan_plugin.options.signatures import registered
from rcan_plugin.options.train_contradictions import (
    check_optimizers,
    compiled_blocks,
    discriminator,
    freeze,
    logger,
    losses,
    schedule,
)
from rcan_plugin.options.view import View

TRIAL_SIDE = 194
"""Side in pixels of the images with which metrics are tried: two blocks of 96 pixels, for NIQE, and a border of 1."""


def check_contradictions(options: Mapping[str, Any], is_train: bool, wrong: Set[KeyPath]) -> list[Mistake]:
    """Check values against each other, without reading any file.

    Args:
        options: an option file's content.
        is_train: true for training, false for testing.
        wrong: keys for which a mistake was found already; what depends on them is not checked.
    """
    view = View(options, wrong)
    checks: list[tuple[str, Callable[[], Iterator[Mistake]]]] = [
        ("datasets", lambda: datasets(view, is_train)),
        ("datasets", lambda: model_and_data(view, is_train)),
        *([("train", lambda: losses(view))] if is_train else []),  # the networks' outputs are tried with them
        ("network_g", lambda: _networks(view, is_train)),
        ("val", lambda: _metrics(view)),
        ("model_type", lambda: _settings(view)),
        ("network_g", lambda: compiled_blocks(view)),
    ]
    if is_train:
        checks += [
            ("train", lambda: schedule(view)),
            ("train", lambda: check_optimizers(view)),
            ("train", lambda: discriminator(view)),
            ("train", lambda: freeze(view)),
            ("logger", lambda: logger(view)),
            ("path", lambda: _ignored_networks(view)),
        ]
    mistakes: list[Mistake] = []
    for section, check in checks:
        found: list[Mistake] = []
        try:
            found += check()
        except Exception as error:  # a class of another package may raise anything
            if not view.wrong:
                found.append(Mistake((section,), f"cannot be checked: {type(error).__name__}: {error}."))
        mistakes += found
        view.wrong |= {mistake.path for mistake in found}
    return [mistake for mistake in mistakes if mistake.text]


def _networks(view: View, is_train: bool) -> Iterator[Mistake]:
    if view.get("network_g") is None or view.get("model_type") is None:
        return
    known = {key: view.get(key) for key in ("scale", "model_type", "network_g", "network_d")}
    known["pixel_opt"] = view.get("train", "pixel_opt")
    options = {key: value for key, value in known.items() if value is not None} | {"datasets": view.datasets()}
    yield from check_network(options, is_train)
    if is_train and "network_d" in options:
        yield from check_discriminator(options)


def _settings(view: View) -> Iterator[Mistake]:
    """Mistakes in the options that `AcceleratedSRModel` checks itself."""
    sections = [name for name in ("train", "val", "logger") if view.options.get(name) is not None]
    if not view.is_ours or any(view.get(name) is None for name in (*sections, "datasets")):
        return
    from rcan_plugin.models.settings import Settings  # needs BasicSR, which imports this module

    try:
        Settings.read(view.options)
    except ValueError as error:
        yield view.locate(error, ())


def _metrics(view: View) -> Iterator[Mistake]:
    """Try BasicSR's metrics with two images. Metrics of other packages may be slow or load weights."""
    metrics = view.get("val", "metrics") or {}
    for name, option in metrics.items():
        metric = registered("metrics")[option["type"]]
        if not metric.__module__.startswith("basicsr."):
            continue
        arguments = {key: value for key, value in option.items() if key not in ("type", "better")}
        if "crop_border" in arguments:
            arguments["crop_border"] = 1
        size = (TRIAL_SIDE, TRIAL_SIDE, 3)
        images = [np.random.default_rng(seed).integers(0, 256, size, np.uint8) for seed in (0, 1)]
        try:
            metric(img=images[0], img2=images[1], **deepcopy(arguments))
        except Exception as error:
            reason = " ".join(str(error).split())
            text = f"{option['type']} refuses these arguments, or BasicSR's images: {reason}"
            yield Mistake(("val", "metrics", name), f"{text.rstrip('.')}.")


def _ignored_networks(view: View) -> Iterator[Mistake]:
    for name in view.get("path", "ignore_resume_networks") or ():
        if name not in view.options:
            yield Mistake(("path", "ignore_resume_networks"), f"names {name}, which this file does not have.")
