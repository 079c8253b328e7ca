"""Contradictions between the data sets of an option file, the model, and how data is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.options import keys as tables
from rcan_plugin.options.mistakes import KeyPath, Mistake
from rcan_plugin.options.signatures import is_or_extends, registered, words_in_source
from rcan_plugin.options.values import as_yaml
from rcan_plugin.options.view import View

PAIRED = (*tables.OUR_DATA, "PairedImageDataset")
"""Data sets whose images are known: one LR image and one HR image a sample."""


def datasets(view: View, is_train: bool) -> Iterator[Mistake]:
    """Check each data set by itself, their names, and that each is used."""
    names: dict[str, str] = {}
    for phase, data in view.datasets().items():
        path, kind = ("datasets", phase), data["type"]
        yield from _loader(data, path)
        if phase != "train" and names.setdefault(data["name"], phase) != phase:
            other = names[data["name"]]
            text = f"is {data['name']}, as that of {other}: their results would be in one folder; rename one."
            yield Mistake((*path, "name"), text)
        if kind in PAIRED:
            scale = list(_scale(view, data, path))
            yield from scale or _paired(view, data, path)
    if is_train:
        validated = [phase for phase in view.datasets() if phase != "train"]
        if validated and view.options.get("val") is None and not view.has_mistake("val"):
            text = "is validated only with a section val; add one, or remove the data set."
            yield Mistake(("datasets", validated[0]), text)


def model_and_data(view: View, is_train: bool) -> Iterator[Mistake]:
    """Check that each data set provides what the model reads."""
    if view.model is None:
        return
    name, real = view.get("model_type"), is_or_extends(view.model, ("RealESRGANModel", "RealESRNetModel"))
    for phase, data in view.datasets().items():
        words = words_in_source(registered("datasets")[data["type"]])
        path = ("datasets", phase, "type")
        if is_or_extends(view.model, ("VideoBaseModel",)) != ("num_frame" in words or "folder" in words):
            yield Mistake(path, f"is {data['type']}, and {name} is not for the same data: one is for video.")
        elif phase == "train" and real and view.get("high_order_degradation", default=True) and "kernel1" not in words:
            text = f"is {data['type']}, and {name} makes LR images: write RealESRGANDataset, or another model_type."
            yield Mistake(path, text)
        elif not real and "kernel1" in words:
            text = f"is {data['type']}, which makes no LR images, and {name} does not either: write RealESRGANModel."
            yield Mistake(("model_type",), text)
        elif "gt" not in words and (phase == "train" or _has_metrics_that_need_gt(view)):
            yield Mistake(path, f"is {data['type']}, which has no HR images: train and measure with pairs.")


def _has_metrics_that_need_gt(view: View) -> bool:
    metrics = (view.options.get("val") or {}).get("metrics") or {}
    return not view.is_ours and any(metric.get("type") != "calculate_niqe" for metric in metrics.values())


def _paired(view: View, data: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    """Yield mistakes that the class of a paired data set refuses, or reports only during the run."""
    if data["type"] in tables.OUR_DATA:
        completed = {**data, "phase": path[-1].partition("_")[0], "scale": view.get("scale", default=data.get("scale"))}
        try:
            DatasetOptions.read({key: value for key, value in completed.items() if value is not None})
        except ValueError as error:
            yield view.locate(error, path)
            return
        for key in ("filename_tmpl", "gt_filename_tmpl"):
            if data.get(key, "{}") != "{}" and data.get("dataroot_lq") is None:
                text = f"is {data[key]}, and there is no dataroot_lq with LR files to find: remove it."
                yield Mistake((*path, key), text)
    else:
        yield from _stock_pairs(view, data, path)
    channels = 1 if data.get("color") == "y" else data.get("channels", 3)
    for key in ("mean", "std"):
        if data.get(key) is not None and len(data[key]) not in (1, channels):
            yield Mistake((*path, key), f"is {as_yaml(data[key])}; expected {channels} values, one a channel.")
    yield from _templates(data, path)


def _scale(view: View, data: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    top, own = view.get("scale"), data.get("scale")
    if top is not None and own is not None and top != own:
        text = f"is {own}, and the top level's scale {top} replaces it: remove one of the two."
        yield Mistake((*path, "scale"), text)
    elif top is not None and data.get("scales") is not None:
        text = f"is {as_yaml(data['scales'])}, and the top level has scale {top}: remove it; each val set has its own."
        yield Mistake((*path, "scales"), text)
    elif top is None and own is None and data.get("scales") is None:
        if view.has_mistake("scale"):
            yield Mistake((*path, "scale"), "")  # the top level's is reported
        else:
            yield Mistake(("scale",), "the key is missing; expected a whole number, such as 4.")
    elif (top or own) == 1 and data["type"] in tables.OUR_DATA and data.get("dataroot_lq") is None:
        where: KeyPath = ("scale",) if top else (*path, "scale")
        yield Mistake(where, "is 1, and LR images are made by enlarging nothing: write 2 or more, or add dataroot_lq.")


def _stock_pairs(view: View, data: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    """Mistakes that BasicSR's `PairedImageDataset` reports only during the run."""
    scale, size = view.get("scale", default=data.get("scale")), data.get("gt_size")
    if size and size % scale:
        multiple = size // scale * scale or scale
        yield Mistake((*path, "gt_size"), f"is {size}; expected a multiple of scale {scale}, such as {multiple}.")
    backend = data["io_backend"]["type"]
    for key in ("dataroot_gt", "dataroot_lq"):
        if data[key].rstrip("/").endswith(".lmdb") != (backend == "lmdb"):
            text = (
                f"is {data[key]}, and io_backend: type is {backend}: lmdb is for folders named *.lmdb, disk for others."
            )
            yield Mistake((*path, key), text)
    if (data.get("mean") is None) != (data.get("std") is None):
        text = f"mean is {as_yaml(data.get('mean'))} and std is {as_yaml(data.get('std'))}; expected both or none."
        yield Mistake(path, text)


def _templates(data: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    """Check the templates of names; BasicSR and this plugin call `template.format(stem)`."""
    for key in ("filename_tmpl", "gt_filename_tmpl"):
        template = data.get(key)
        try:
            if template is None or template.format("a") != template.format("b"):
                continue
        except (IndexError, KeyError, ValueError, AttributeError):
            pass
        yield Mistake((*path, key), f"is {template}; expected text with one {{}} for the name, such as {{}}x4.")


def _loader(data: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    """Check how images are read and batches are loaded."""
    workers = data.get("num_worker_per_gpu") if path[-1] == "train" else 0  # BasicSR validates without workers
    if data.get("persistent_workers") and not workers:
        remedy = "set num_worker_per_gpu, or remove it" if path[-1] == "train" else "remove it"
        yield Mistake((*path, "persistent_workers"), f"is true, and there are no workers: {remedy}.")
    if data.get("prefetch_mode") == "cuda" and (path[-1] != "train" or not data.get("pin_memory")):
        remedy = "expects pin_memory: true with it" if path[-1] == "train" else "uses it only in training: remove it"
        yield Mistake((*path, "prefetch_mode"), f"is cuda; BasicSR {remedy}.")
    backend = data.get("io_backend")
    if isinstance(backend, Mapping) and backend.get("type") == "disk" and len(backend) > 1:
        other = next(key for key in backend if key != "type")
        yield Mistake((*path, "io_backend", other), "is for type: lmdb; remove it.")
