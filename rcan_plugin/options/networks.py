"""Builds the network of an option file without values, and compares the shape of its output with the data."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rcan_plugin.losses import LOSSES
from rcan_plugin.options import keys as tables
from rcan_plugin.options.mistakes import Mistake
from rcan_plugin.weights.networks import build, build_for_shapes, one_line, out_of_range

TEST_SIDE = 48
"""Side of the LR image with which a network is tried if no crop is given: a multiple of SwinIR's usual window, 8."""


@contextmanager
def without_side_effects() -> Iterator[None]:
    """In this context, building networks writes nothing to the log and does not change the run's random numbers.

    BasicSR's logger writes to a file only if the training pipeline is the first to create it.
    """
    from basicsr.utils.logger import initialized_logger

    log, initialized = logging.getLogger("basicsr"), dict(initialized_logger)
    disabled, log.disabled = log.disabled, True
    initialized_logger["basicsr"] = True
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        log.disabled = disabled
        initialized_logger.clear()
        initialized_logger.update(initialized)


def check_network(options: Mapping[str, Any], is_train: bool) -> Iterator[Mistake]:
    """Build `network_g` and try it with an image in the form that each data set provides.

    Args:
        options: an option file's content, whose keys have been checked.
        is_train: whether it is for training.
    """
    option = options["network_g"]
    if mistake := _out_of_range(option, "network_g"):
        yield mistake
        return
    try:
        network = build_for_shapes(option)
    except Exception as error:
        yield Mistake(("network_g",), f"{option['type']} cannot be built: {one_line(error)}")
        return
    size = sum(parameter.nbytes for parameter in network.parameters())
    if size > (memory := os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")):
        text = f"{option['type']} has {size / 1e9:.0f} GB of weights; this machine has {memory / 1e9:.0f} GB of memory."
        yield Mistake(("network_g",), text)
        return
    tried = set()
    for phase, data in options["datasets"].items():
        if data.get("type") not in (*tables.OUR_DATA, "PairedImageDataset"):
            continue
        for trial in _trials(options, phase, data):
            # Another data set with the same image would give the same result.
            if (same := (trial.channels, trial.scale, trial.factor)) in tried:
                continue
            tried.add(same)
            mistake = _try(network.train(is_train), trial, options)
            if mistake is not None:
                yield mistake
                return


def check_discriminator(options: Mapping[str, Any]) -> Iterator[Mistake]:
    """Build `network_d` and try it with a batch of HR crops.

    Args:
        options: an option file's content, whose keys have been checked.
    """
    option, data = options["network_d"], options["datasets"].get("train") or {}
    if mistake := _out_of_range(option, "network_d"):
        yield mistake
        return
    channels, size = (1 if data.get("color") == "y" else data.get("channels", 3)), data.get("gt_size")
    try:
        network = build_for_shapes(option)
    except Exception as error:
        yield Mistake(("network_d",), f"{option['type']} cannot be built: {one_line(error)}")
        return
    try:
        if size:
            with torch.no_grad():
                network.train()(torch.zeros(2, channels, size, size, device="meta"))
    except Exception as error:
        text = f"{option['type']} fails for an HR crop of {channels} x {size} x {size} (datasets: train: gt_size)"
        yield Mistake(("network_d",), f"{text}: {one_line(error)}")


def _out_of_range(option: Mapping[str, Any], section: str) -> Mistake | None:
    found = out_of_range(option)
    return Mistake((section, found[0]), found[1]) if found else None


@dataclass(frozen=True)
class _Trial:
    """An LR image in the form that a data set provides: `channels` x `side` x `side`, to be upscaled by `factor`."""

    phase: str
    channels: int
    side: int
    scale: int
    factor: int


def _trials(options: Mapping[str, Any], phase: str, data: Mapping[str, Any]) -> Iterator[_Trial]:
    channels = 1 if data.get("color") == "y" else data.get("channels", 3)
    for scale in data.get("scales") or [options.get("scale") or data.get("scale")]:
        factor = 1 if data.get("pre_upsample") else scale
        side = (data.get("lq_size") or data["gt_size"] // factor) if phase == "train" else TEST_SIDE
        yield _Trial(phase, channels, side, scale, factor)


def _try(network: nn.Module, trial: _Trial, options: Mapping[str, Any]) -> Mistake | None:
    """Run the network on the meta device, or if that fails on the CPU, and compare the output's shape."""
    option = options["network_g"]
    name = option["type"]
    image = f"{trial.channels} x {trial.side} x {trial.side}"
    where = f"LR image of {image} (datasets: {trial.phase})"
    try:
        try:
            output = _run(network, trial, "meta", options)
        except Exception:  # it may need tensors with values
            output = _run(build(option).train(network.training), trial, "cpu", options)
    except Exception as error:
        if trial.phase != "train" and "window_size" in option:
            return None  # BasicSR's model pads images to multiples of the window
        return Mistake(("network_g",), f"{name} fails for an {where}: {one_line(error)}")
    if network.training and not isinstance(output, Tensor) and options["model_type"] == "SRModel":
        text = f"is SRModel, and {name} returns several outputs in training: write model_type: AcceleratedSRModel."
        return Mistake(("model_type",), text)
    last = output if isinstance(output, Tensor) else output[-1]
    expected = (trial.channels, trial.side * trial.factor, trial.side * trial.factor)
    if not isinstance(last, Tensor) or last.dim() != 4:
        return None
    if tuple(last.shape[1:]) == expected:
        return _try_loss(output, options) if trial.phase == "train" else None
    text = f"{name} makes {_shape(last.shape[1:])} of an {where}, and its HR image is {_shape(expected)}"
    return Mistake(("network_g",), f"{text}: {_cause(tuple(last.shape[1:]), expected, trial, options)}")


def _try_loss(output: Tensor | Sequence[Tensor], options: Mapping[str, Any]) -> Mistake | None:
    """Call a loss of this plugin with the network's training outputs: RecursiveLoss needs several."""
    option = options.get("pixel_opt") or {}
    loss = next((loss for loss in LOSSES if loss.__name__ == option.get("type")), None)
    if loss is None:
        return None
    images = [torch.zeros(image.shape) for image in ([output] if isinstance(output, Tensor) else output)]
    try:
        loss()(images, images[-1])
    except ValueError as error:
        return Mistake(("train", "pixel_opt", "type"), f"does not fit network_g: {one_line(error)}")
    return None


def _run(network: nn.Module, trial: _Trial, device: str, options: Mapping[str, Any]) -> Any:
    with torch.no_grad(), torch.device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run repeats them
        scale = (trial.scale,) if hasattr(network, "scales") and options["model_type"] in tables.OUR_MODELS else ()
        return network(torch.zeros(1, trial.channels, trial.side, trial.side), *scale)


def _cause(shape: tuple[int, ...], expected: tuple[int, ...], trial: _Trial, options: Mapping[str, Any]) -> str:
    if shape[0] != expected[0]:
        return "correct the network's channels, or the data's (channels, color)."
    option = options["network_g"]
    key = next((key for key in ("upscale", "scale") if key in option), None)
    network = f"network_g: {key} {option[key]}" if key else "the network's scale"
    if trial.factor != trial.scale:
        return f"pre_upsample is true, so that the network must keep the size, and that disagrees with {network}."
    if key and option[key] == trial.scale:
        others = ", ".join(name for name in option if name not in ("type", key)) or "none are given"
        return f"{key} agrees with scale {trial.scale}: correct the other arguments ({others})."
    return f"scale is {trial.scale} and disagrees with {network}."


def _shape(shape: Any) -> str:
    return " x ".join(map(str, shape))
