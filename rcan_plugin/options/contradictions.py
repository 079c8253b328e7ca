"""Checks an option file for values that contradict each other or that the classes they are for refuse."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping, Set
from copy import deepcopy
from typing import Any

import torch

from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.options import keys as tables
from rcan_plugin.options.kinds import as_yaml
from rcan_plugin.options.mistakes import Mistake, Path
from rcan_plugin.options.networks import check_network
from rcan_plugin.options.signatures import registered


def check_contradictions(options: Mapping[str, Any], is_train: bool, wrong: Set[Path]) -> list[Mistake]:
    """Check what goes beyond single keys; touches no file.

    Args:
        options: an option file's content.
        is_train: whether it is for training; else for testing.
        wrong: keys with a mistake already: what depends on them is not checked.
    """
    view = _View(options, wrong)
    checks = [_datasets, _network, _model_options, _metrics]
    if is_train:
        checks += [_schedule, _optimizers, _losses, _loader, _logger]
    mistakes: list[Mistake] = []
    for check in checks:
        try:
            mistakes += check(view, is_train)
        except Exception:
            if not wrong:
                raise  # else the values that it needs are wrong in a way that it did not expect
    return mistakes


class _View:
    """The options without what is wrong already."""

    def __init__(self, options: Mapping[str, Any], wrong: Set[Path]) -> None:
        self.options, self.wrong = options, wrong

    def get(self, *path: str, default: Any = None) -> Any:
        """The value at a path; the default where there is none, or where it or a part of it has a mistake."""
        value: Any = self.options
        for key in path:
            if not isinstance(value, Mapping) or value.get(key) is None:
                return default
            value = value[key]
        return default if self.has_mistake(*path) else value

    def has_mistake(self, *path: str) -> bool:
        """Whether the value at a path, or a part of it, has a mistake."""
        return any(mistake[: len(path)] == path for mistake in self.wrong)

    def datasets(self) -> dict[str, Mapping[str, Any]]:
        """The data sets that have no mistake."""
        sections = self.options.get("datasets")
        phases = sections if isinstance(sections, Mapping) else ()
        return {phase: data for phase in phases if (data := self.get("datasets", phase)) is not None}

    @property
    def model(self) -> Any:
        return registered("models").get(self.get("model_type"))

    @property
    def is_ours(self) -> bool:
        return self.model is not None and any(base.__name__ in tables.OURS for base in self.model.__mro__)


def _datasets(view: _View, is_train: bool) -> Iterator[Mistake]:
    names: dict[str, str] = {}
    for phase, data in view.datasets().items():
        path, kind = ("datasets", phase), data["type"]
        if kind in (*tables.OUR_DATA, "PairedImageDataset"):
            yield from _scale(view, data, path)
        if phase != "train" and names.setdefault(data["name"], phase) != phase:
            text = (
                f"is {data['name']}, as that of {names[data['name']]}: their results would go to one place; rename one."
            )
            yield Mistake((*path, "name"), text)
        if kind in tables.OUR_DATA:
            completed = {**data, "phase": phase.partition("_")[0]}
            completed["scale"] = view.get("scale", default=data.get("scale"))
            try:
                DatasetOptions.read({key: value for key, value in completed.items() if value is not None})
            except ValueError as error:
                yield Mistake(path, str(error))
        elif kind == "PairedImageDataset":
            yield from _stock_pairs(view, data, path)
    if not is_train:
        return
    validated = [phase for phase in view.datasets() if phase != "train"]
    if validated and view.options.get("val") is None:
        yield Mistake(
            ("datasets", validated[0]), "is validated only with a section val; add one, or remove the data set."
        )


def _scale(view: _View, data: Mapping[str, Any], path: Path) -> Iterator[Mistake]:
    top, own = view.get("scale"), data.get("scale")
    if top is not None and own is not None and top != own:
        yield Mistake(
            (*path, "scale"), f"is {own}, and the top level's scale {top} replaces it: remove one of the two."
        )
    elif top is not None and data.get("scales") is not None:
        text = f"is {as_yaml(data['scales'])}, and the top level has scale {top}: remove it; each val set has its own."
        yield Mistake((*path, "scales"), text)
    elif top is None and own is None and data.get("scales") is None and not view.has_mistake("scale"):
        yield Mistake(("scale",), "the key is missing; expected a whole number, such as 4.")


def _stock_pairs(view: _View, data: Mapping[str, Any], path: Path) -> Iterator[Mistake]:
    """What BasicSR's `PairedImageDataset` finds out late."""
    scale, size = view.get("scale", default=data.get("scale")), data.get("gt_size")
    if size and scale and size % scale:
        yield Mistake(
            (*path, "gt_size"), f"is {size}; expected a multiple of scale {scale}, such as {size // scale * scale}."
        )
    for key in ("dataroot_gt", "dataroot_lq"):
        is_lmdb = data[key].rstrip("/").endswith(".lmdb")
        if is_lmdb != (data["io_backend"]["type"] == "lmdb"):
            backend = data["io_backend"]["type"]
            text = (
                f"is {data[key]}, and io_backend: type is {backend}: lmdb is for folders named *.lmdb, disk for others."
            )
            yield Mistake((*path, key), text)
    if (data.get("mean") is None) != (data.get("std") is None):
        yield Mistake(
            path, f"mean is {as_yaml(data.get('mean'))} and std is {as_yaml(data.get('std'))}; expected both or none."
        )


def _network(view: _View, is_train: bool) -> Iterator[Mistake]:
    if view.get("network_g") is None or view.get("model_type") is None:
        return
    yield from check_network({**view.options, "datasets": view.datasets()}, is_train)
    if is_train and view.get("network_d") is not None:
        try:
            arguments = dict(view.get("network_d"))
            with torch.device("meta"):
                registered("networks")[arguments.pop("type")](**arguments)
        except Exception as error:
            yield Mistake(("network_d",), f"cannot be built: {error}")


def _model_options(view: _View, is_train: bool) -> Iterator[Mistake]:
    """What `AcceleratedSRModel` itself refuses."""
    sections = [name for name in ("train", "val", "logger") if view.options.get(name) is not None]
    if not view.is_ours or any(view.get(name) is None for name in (*sections, "datasets")):
        return
    from rcan_plugin.models.settings import Settings

    try:
        Settings.read(view.options)
    except ValueError as error:
        section, _, rest = str(error).partition(": ")
        yield Mistake((section,), rest) if section in sections else Mistake((), str(error))


def _metrics(view: _View, is_train: bool) -> Iterator[Mistake]:
    if not is_train and view.get("val") is not None and view.get("val", "metrics") is None:
        return
    for name, metric in (view.get("val", "metrics") or {}).items():
        if metric["type"] == "calculate_niqe" and metric.get("convert_to", "y") not in ("y", "gray"):
            yield Mistake(("val", "metrics", name, "convert_to"), f"is {metric['convert_to']}; expected y or gray.")


def _schedule(view: _View, is_train: bool) -> Iterator[Mistake]:
    total, warmup = view.get("train", "total_iter"), view.get("train", "warmup_iter", default=-1)
    if total is None:
        return
    if warmup > total:
        yield Mistake(
            ("train", "warmup_iter"), f"is {warmup}, more than total_iter {total}; expected less, or -1 for none."
        )
    option = view.get("train", "scheduler")
    if option is None:
        return
    path = ("train", "scheduler")
    kind, model = option["type"], view.get("model_type")
    if kind == "WarmupCosineLR" and not view.is_ours:
        text = f"is {kind}, and {model} does not have it: write model_type: AcceleratedSRModel, or another scheduler."
        yield Mistake((*path, "type"), text)
        return
    arguments = {key: value for key, value in option.items() if key != "type"}
    yield from _durations(arguments, total, path)
    parameter = torch.zeros(1)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    try:
        scheduler = registered("schedulers")[kind](optimizer, **deepcopy(arguments))
        if kind == "WarmupCosineLR" and arguments["total"] < total:
            rest = total - arguments["total"]
            text = (
                f"is {arguments['total']}, less than total_iter {total}: {rest} iterations would have the rate eta_min."
            )
            yield Mistake((*path, "total"), text)
        elif kind == "WarmupCosineLR" and arguments.get("warmup") and warmup > 0:
            yield Mistake(
                (*path, "warmup"),
                f"is {arguments['warmup']}, and warmup_iter {warmup} is a second warm-up: remove one.",
            )
        del scheduler
    except Exception as error:
        yield Mistake(path, f"{kind} cannot be built: {' '.join(str(error).split())}")


def _durations(arguments: Mapping[str, Any], total: int, path: Path) -> Iterator[Mistake]:
    """Milestones and periods against the length of the run."""
    for name in ("milestones", "periods", "restarts", "restart_weights"):
        values = arguments.get(name, [])
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        least = 1 if name in ("milestones", "periods") else 0
        if len(numbers) < len(values) or any(not math.isfinite(value) or value < least for value in numbers):
            yield Mistake((*path, name), f"is {as_yaml(values)}; expected numbers of {least} or more.")
            return
    for milestone in arguments.get("milestones", []):
        if milestone > total:
            text = f"is {as_yaml(arguments['milestones'])}, and total_iter is {total}: correct one of the two."
            yield Mistake((*path, "milestones"), text)
            return
    if (periods := arguments.get("periods")) and sum(periods) < total:
        text = f"is {as_yaml(periods)}, together {sum(periods)}; expected total_iter {total} or more."
        yield Mistake((*path, "periods"), text)


def _optimizers(view: _View, is_train: bool) -> Iterator[Mistake]:
    for name in view.options.get("train") or {}:
        option = view.get("train", name) if name.startswith("optim_") else None
        if not isinstance(option, Mapping) or view.model is None:
            continue
        arguments = {key: value for key, value in option.items() if key not in ("type", "layer_rates")}
        path = ("train", name)
        try:
            if view.is_ours:
                registered("optimizers")[option["type"]]([torch.zeros(1, requires_grad=True)], **deepcopy(arguments))
                if "layer_rates" in option:
                    from rcan_plugin.training import optimizers

                    optimizers.check(option)
            else:
                parameters = [torch.zeros(1, requires_grad=True)]
                view.model.get_optimizer(None, option["type"], parameters, **deepcopy(arguments))
        except NotImplementedError:
            text = (
                f"is {option['type']}, which {view.get('model_type')} does not have: write Adam, or another model_type."
            )
            yield Mistake((*path, "type"), text)
        except Exception as error:
            if "CUDA" not in str(error):  # an option for GPUs, and none here
                yield Mistake(path, f"{option['type']} refuses its arguments: {' '.join(str(error).split())}")


def _losses(view: _View, is_train: bool) -> Iterator[Mistake]:
    train = view.options.get("train")
    for name in train if isinstance(train, Mapping) else ():
        option = view.get("train", name) if name.endswith("_opt") else None
        if not isinstance(option, Mapping) or "type" not in option:
            continue
        arguments = {key: value for key, value in option.items() if key != "type"}
        if option["type"] == "PerceptualLoss":  # building it would download VGG's weights
            yield from _perceptual(arguments, ("train", name))
            continue
        try:
            registered("losses")[option["type"]](**deepcopy(arguments))
        except Exception as error:
            yield Mistake(("train", name), f"{option['type']} refuses its arguments: {' '.join(str(error).split())}")
    stock = view.model is not None and any(base.__name__ == "SRModel" for base in view.model.__mro__)
    gan = any(base.__name__ == "SRGANModel" for base in view.model.__mro__) if stock else False
    if stock and not gan and isinstance(train, Mapping) and not (train.get("pixel_opt") or train.get("perceptual_opt")):
        yield Mistake(
            ("train", "pixel_opt"), "the key is missing, and there is no perceptual_opt: the run has no loss."
        )


def _perceptual(arguments: Mapping[str, Any], path: Path) -> Iterator[Mistake]:
    from basicsr.archs.vgg_arch import NAMES

    kind, criterion = arguments.get("vgg_type", "vgg19"), arguments.get("criterion", "l1")
    if kind not in NAMES:
        yield Mistake((*path, "vgg_type"), f"is {as_yaml(kind)}; expected one of {', '.join(NAMES)}.")
        return
    layers = arguments["layer_weights"]
    if not isinstance(layers, Mapping) or not layers:
        yield Mistake(
            (*path, "layer_weights"), f"is {as_yaml(layers)}; expected weights by layer, such as {{conv5_4: 1}}."
        )
        return
    for layer, weight in layers.items():
        if layer not in NAMES[kind]:
            yield Mistake(
                (*path, "layer_weights", layer), f"{kind} has no such layer; known are {', '.join(NAMES[kind])}."
            )
        elif isinstance(weight, bool) or not isinstance(weight, (int, float)):
            yield Mistake((*path, "layer_weights", layer), f"is {as_yaml(weight)}; expected a number.")
    if criterion not in ("l1", "l2", "fro"):
        yield Mistake((*path, "criterion"), f"is {as_yaml(criterion)}; expected l1, l2 or fro.")


def _loader(view: _View, is_train: bool) -> Iterator[Mistake]:
    data, path = view.get("datasets", "train"), ("datasets", "train")
    if data is None:
        return
    if data.get("persistent_workers") and not data.get("num_worker_per_gpu"):
        yield Mistake(
            (*path, "persistent_workers"), "is true, and there are no workers: set num_worker_per_gpu, or remove it."
        )
    if data.get("prefetch_mode") == "cuda" and not data.get("pin_memory"):
        yield Mistake((*path, "prefetch_mode"), "is cuda; BasicSR expects pin_memory: true with it.")


def _logger(view: _View, is_train: bool) -> Iterator[Mistake]:
    if view.get("logger", "wandb", "project") is None:
        return
    if not view.get("logger", "use_tb_logger"):
        yield Mistake(("logger", "use_tb_logger"), "is false; wandb: project needs it: write true, or project: ~.")
    if importlib.util.find_spec("wandb") is None:
        yield Mistake(
            ("logger", "wandb", "project"), "needs the package wandb: `pip install wandb`, or write project: ~."
        )
