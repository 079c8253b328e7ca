"""Contradictions in the training options of a file: schedule, optimizers, losses, logger."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch

from rcan_plugin.losses import LOSSES
from rcan_plugin.options.mistakes import KeyPath, Mistake
from rcan_plugin.options.signatures import is_or_extends, registered
from rcan_plugin.options.values import as_yaml
from rcan_plugin.options.view import View
from rcan_plugin.training import optimizers
from rcan_plugin.training.compiling import repeated_blocks
from rcan_plugin.training.freezing import Freeze
from rcan_plugin.weights.networks import build_for_shapes

BETWEEN_IMAGES = ("L1Loss", "MSELoss", "CharbonnierLoss", *(loss.__name__ for loss in LOSSES))
LOSSES_OF = {
    "pixel_opt": BETWEEN_IMAGES,
    "ldl_opt": BETWEEN_IMAGES,
    "perceptual_opt": ("PerceptualLoss",),
    "gan_opt": ("GANLoss", "MultiScaleGANLoss"),
}
"""The losses of BasicSR and this project that a model can call, by the key that names them."""
KNOWN_LOSSES = {"WeightedTVLoss", *(name for names in LOSSES_OF.values() for name in names)}


def schedule(view: View) -> Iterator[Mistake]:
    """Check the scheduler and the warm-up against the length of the run and the rate."""
    total, warmup = view.get("train", "total_iter"), view.get("train", "warmup_iter", default=-1)
    if total is not None and warmup > total:
        text = f"is {warmup}, more than total_iter {total}; expected less, or -1 for none."
        yield Mistake(("train", "warmup_iter"), text)
    option, path = view.get("train", "scheduler"), ("train", "scheduler")
    if option is None or view.model is None:
        return
    kind = option["type"]
    if kind == "WarmupCosineLR" and not view.is_ours:
        model = view.get("model_type")
        text = f"is {kind}, and {model} does not have it: write model_type: AcceleratedSRModel, or another scheduler."
        yield Mistake((*path, "type"), text)
        return
    arguments = {key: value for key, value in option.items() if key != "type"}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    try:
        registered("schedulers")[kind](optimizer, **deepcopy(arguments))
    except Exception as error:
        yield view.locate(error, path)
        return
    yield from _lowest_rate(view, arguments)
    if total is not None:
        yield from _durations(arguments, total, path)
    if kind == "WarmupCosineLR" and arguments.get("warmup") and warmup > 0:
        text = f"is {arguments['warmup']}, and warmup_iter {warmup} is a second warm-up: remove one."
        yield Mistake((*path, "warmup"), text)


def _lowest_rate(view: View, arguments: Mapping[str, Any]) -> Iterator[Mistake]:
    lowest, rate = arguments.get("eta_min", 0), view.get("train", "optim_g", "lr")
    if rate is not None and lowest > rate:
        text = f"is {as_yaml(lowest)}, above the rate {as_yaml(rate)} (optim_g: lr), and the rate falls to it."
        yield Mistake(("train", "scheduler", "eta_min"), text)


def _durations(arguments: Mapping[str, Any], total: int, path: KeyPath) -> Iterator[Mistake]:
    """Check milestones and periods against the length of the run."""
    for name in ("milestones", "restarts"):
        if any(iteration > total for iteration in arguments.get(name, ())):
            text = f"is {as_yaml(arguments[name])}, and total_iter is {total}: correct one of the two."
            yield Mistake((*path, name), text)
    if (periods := arguments.get("periods")) and sum(periods) < total:
        text = f"is {as_yaml(periods)}, together {sum(periods)}; expected total_iter {total} or more."
        yield Mistake((*path, "periods"), text)
    if (end := arguments.get("total", total)) < total:
        text = f"is {end}, less than total_iter {total}: {total - end} iterations would have the rate eta_min."
        yield Mistake((*path, "total"), text)


def check_optimizers(view: View) -> Iterator[Mistake]:
    """Build each optimizer, that of `network_g` with its parameters."""
    train = view.options.get("train")
    for name in train if isinstance(train, Mapping) else ():
        option = view.get("train", name) if name.startswith("optim_") else None
        if not isinstance(option, Mapping) or view.model is None:
            continue
        kind, path = option["type"], ("train", name)
        arguments = {key: value for key, value in option.items() if key not in ("type", "layer_rates")}
        small = torch.nn.Parameter(torch.zeros(2, 2))
        try:
            if view.is_ours:
                optimizers.check(option)
                parameters = _parameters(view)
                optimizers.build(parameters, option if parameters.keys() != {""} else {"type": kind, **arguments})
                optimizer = optimizers.build({"": small}, {"type": kind, **arguments})
            else:
                optimizer = view.model.get_optimizer(None, kind, [small], **deepcopy(arguments))
            optimizers.try_step(optimizer)
        except NotImplementedError:
            text = f"is {kind}, which {view.get('model_type')} does not have: write Adam, or another model_type."
            yield Mistake((*path, "type"), text)
        except Exception as error:
            if "CUDA" not in str(error):  # an option for GPUs, and none here
                yield view.locate(error, path)


def compiled_blocks(view: View) -> Iterator[Mistake]:
    """Check that a network whose repeated blocks are to be compiled has some."""
    if not view.is_ours or view.get("network_g") is None:
        return
    for section in ("train", "val"):
        if view.get(section, "compile") == "blocks":
            try:
                repeated_blocks(build_for_shapes(view.get("network_g")))
            except ValueError as error:
                yield view.locate(ValueError(str(error).removeprefix("compile: blocks: ")), (section, "compile"))


def discriminator(view: View) -> Iterator[Mistake]:
    """Check when the discriminator lets the network be trained, and what LDL needs."""
    total = view.get("train", "total_iter")
    for key, most in () if total is None else (("net_d_init_iters", total - 1), ("net_d_iters", total)):
        value = view.get("train", key, default=0)
        if value > most:
            text = (
                f"is {value}, and total_iter is {total}, so that network_g is never trained; expected {most} at most."
            )
            yield Mistake(("train", key), text)
    if view.get("train", "ldl_opt") is None or view.model is None:
        return
    uses_it = is_or_extends(view.model, ("RealESRGANModel",))
    if uses_it and not view.get("train", "ema_decay"):
        text = "compares with the averaged weights, and there are none: set ema_decay, such as 0.999, or remove it."
        yield Mistake(("train", "ldl_opt"), text)
    elif not uses_it and view.model.__module__.startswith("basicsr."):
        text = f"is built by {view.get('model_type')} and not used: remove it, or write model_type: RealESRGANModel."
        yield Mistake(("train", "ldl_opt"), text)


def freeze(view: View) -> Iterator[Mistake]:
    """Check the names in `train: freeze` against the network's parameters, and its end against the run's length."""
    option, total = view.get("train", "freeze"), view.get("train", "total_iter")
    if not isinstance(option, Mapping) or not view.is_ours:
        return
    if total is not None and option["until"] >= total:
        text = f"is {option['until']}, and total_iter is {total}: expected less, so that these parts are trained too."
        yield Mistake(("train", "freeze", "until"), text)
    parameters = _parameters(view)
    try:
        if parameters.keys() != {""}:
            Freeze(tuple(option["parts"]), option["until"]).names(parameters)
    except ValueError as error:
        yield view.locate(error, ("train", "freeze"))


def _parameters(view: View) -> dict[str, torch.nn.Parameter]:
    """The trained parameters of `network_g`, on the meta device; a single dummy if it cannot be built there."""
    try:
        network = build_for_shapes(view.get("network_g"))
    except Exception:
        return {"": torch.nn.Parameter(torch.zeros(1))}
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def losses(view: View) -> Iterator[Mistake]:
    """Build each loss; check that there is one, and that each fits its key."""
    train = view.options.get("train")
    for name in train if isinstance(train, Mapping) else ():
        option = view.get("train", name) if name.endswith("_opt") else None
        if not isinstance(option, Mapping) or "type" not in option:
            continue
        arguments = {key: value for key, value in option.items() if key != "type"}
        fitting = LOSSES_OF.get(name, ())
        if fitting and option["type"] not in fitting and option["type"] in KNOWN_LOSSES:
            yield Mistake(("train", name, "type"), f"is {option['type']}; expected {', '.join(fitting)}.")
        elif option["type"] == "PerceptualLoss":  # building it would download VGG's weights
            yield from _perceptual(arguments, ("train", name))
        else:
            try:
                registered("losses")[option["type"]](**deepcopy(arguments))
            except Exception as error:
                yield view.locate(error, ("train", name))
    needed = (
        view.model is not None
        and is_or_extends(view.model, ("SRModel",))
        and not is_or_extends(view.model, ("SRGANModel",))
    )
    if needed and isinstance(train, Mapping) and not (train.get("pixel_opt") or train.get("perceptual_opt")):
        text = "the key is missing, and there is no perceptual_opt: the run has no loss."
        yield Mistake(("train", "pixel_opt"), text)


def _perceptual(arguments: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    from basicsr.archs.vgg_arch import NAMES, insert_bn

    kinds = NAMES | {f"{kind}_bn": insert_bn(names) for kind, names in NAMES.items()}
    kind, criterion = arguments.get("vgg_type", "vgg19"), arguments.get("criterion", "l1")
    if kind not in kinds:
        yield Mistake((*path, "vgg_type"), f"is {as_yaml(kind)}; expected one of {', '.join(kinds)}.")
        return
    layers = arguments["layer_weights"]
    if not isinstance(layers, Mapping) or not layers:
        yield Mistake(
            (*path, "layer_weights"), f"is {as_yaml(layers)}; expected weights by layer, such as {{conv5_4: 1}}."
        )
        return
    for layer, weight in layers.items():
        if layer not in kinds[kind]:
            yield Mistake(
                (*path, "layer_weights", layer), f"{kind} has no such layer; known are {', '.join(kinds[kind])}."
            )
        elif isinstance(weight, bool) or not isinstance(weight, (int, float)):
            yield Mistake((*path, "layer_weights", layer), f"is {as_yaml(weight)}; expected a number.")
    if criterion not in ("l1", "l2", "fro"):
        yield Mistake((*path, "criterion"), f"is {as_yaml(criterion)}; expected l1, l2 or fro.")


def logger(view: View) -> Iterator[Mistake]:
    """Check what wandb.ai needs."""
    if view.get("logger", "wandb", "project") is None:
        if view.get("logger", "wandb", "resume_id") is not None:
            text = "is read only with wandb: project: write it, or resume_id: ~."
            yield Mistake(("logger", "wandb", "resume_id"), text)
        return
    if not view.get("logger", "use_tb_logger"):
        yield Mistake(("logger", "use_tb_logger"), "is false; wandb: project needs it: write true, or project: ~.")
    if importlib.util.find_spec("wandb") is None:
        yield Mistake(
            ("logger", "wandb", "project"), "needs the package wandb: `pip install wandb`, or write project: ~."
        )
