"""Classifies images upscaled by several networks, and counts the errors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from rcan_plugin._files import require_file, require_writable
from rcan_plugin.compare import cache, costs
from rcan_plugin.degradations import degrade, imresize
from rcan_plugin.inference.precision import choose_device
from rcan_plugin.inference.upscaler import Upscaler
from rcan_plugin.preparation.checksums import digest
from rcan_plugin.recognition import labels as lists
from rcan_plugin.recognition.classifier import View, classify, load
from rcan_plugin.recognition.labels import Labelled
from rcan_plugin.recognition.paired import Difference, compare
from rcan_plugin.recognition.predictions import Predictions
from rcan_plugin.upscaling import network as networks

BATCH = 32
"""Images that are classified and written at once; a stopped run loses at most this many predictions per method."""
BICUBIC, HR = "Bicubic", "HR"


@dataclass(frozen=True)
class Task:
    """What to classify, with which classifier and networks.

    Attributes:
        images: folder of the images.
        labels: list of images and classes, see `labels.read`.
        classifier: name of a classifier of torchvision.
        classifier_weights: its weights.
        weights: files of networks' weights by the name of the method.
        out: folder of the results, and of the predictions that are kept.
        scale: scale of the degradation (BI) and the networks.
        first: use only the first lines of the list.
        device: device of torch; None: a GPU if there is one.
    """

    images: Path
    labels: Path
    classifier: str
    classifier_weights: Path
    weights: dict[str, Path]
    out: Path
    view: View = field(default_factory=View)
    scale: int = 4
    first: int | None = None
    device: str | None = None


@dataclass(frozen=True)
class Method:
    """A way to make the classifier's images, and its predictions.

    Attributes:
        upscale: maps H x W x 3, R, G, B, uint8, to scale times the size; None: the HR image itself.
    """

    name: str
    upscale: Callable[[np.ndarray], np.ndarray] | None
    kept: Predictions
    weights: Path | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Row:
    """Errors of a method, from 0 to 1, and their differences from bicubic's (None for bicubic itself)."""

    method: Method
    top1: float
    top5: float
    top1_difference: Difference | None
    top5_difference: Difference | None


@dataclass(frozen=True)
class Results:
    """Rows in the order of the table: bicubic, the networks, HR.

    Attributes:
        classifier_sha256: SHA-256 of the classifier's weights.
        remarks: warnings about the figures.
    """

    task: Task
    rows: tuple[Row, ...]
    images: int
    classes: int
    classifier_sha256: str
    device: str
    remarks: tuple[str, ...]


def run(task: Task, say: Callable[[str], object] = print) -> Results:
    """Classify all images by all methods. Predictions of an earlier run are reused.

    Args:
        task: what to do.
        say: called with lines about what was assumed.

    Raises:
        FileNotFoundError, ValueError: something is wrong or missing. Everything is checked before the first image is
            upscaled, except for damaged images.
    """
    _check(task)
    images = lists.read(task.labels, task.images, task.first)
    device = choose_device(task.device)
    classifier = load(task.classifier, task.classifier_weights)
    classes = int(classifier.classes)  # type: ignore[arg-type]
    lists.check_classes(images, classes, task.labels)
    sha256 = digest(task.classifier_weights)
    methods = _methods(task, [task.classifier, sha256, str(device)], say)
    keys = _classify_all(task, images, methods, classifier.to(device), device)
    wrong = {method.name: _wrong(images, keys, method) for method in methods}
    rows = tuple(_row(method, wrong) for method in methods)
    remarks = _remarks(1 - rows[-1].top1, len(images), classes)
    return Results(task, rows, len(images), classes, sha256, costs.describe_device(str(device)), remarks)


def _check(task: Task) -> None:
    if task.view.crop % task.scale or task.view.crop > task.view.resize:
        raise ValueError(
            f"--crop is {task.view.crop}; expected a multiple of the scale, {task.scale}, of at most --resize, "
            f"{task.view.resize}."
        )
    require_file("--classifier-weights", task.classifier_weights)
    for path in task.weights.values():
        require_file("--weights", path)
    if taken := [name for name in task.weights if name.lower() in (BICUBIC.lower(), HR.lower())]:
        raise ValueError(f"--weights: {taken[0]} is the name of another row of the table: choose another NAME=FILE.")
    require_writable("--out", task.out)


def _methods(task: Task, identity: Sequence[Any], say: Callable[[str], object]) -> list[Method]:
    """Bicubic, the networks, HR, each with its kept predictions."""
    code = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    context = [
        *identity,
        *(str(task.view), task.scale, cache.versions(), cache.code_key(), hashlib.sha256(b"".join(code)).hexdigest()),
        *(metadata.version(name) for name in ("torchvision", "Pillow")),
    ]

    def kept(name: str, *what: Any) -> Predictions:
        return Predictions(task.out / "predictions" / f"{name}_{cache.key_of([*context, *what])}.txt")

    methods = [Method(BICUBIC, lambda lr: imresize(lr, task.scale), kept(BICUBIC, BICUBIC))]
    for name, path in task.weights.items():
        net = networks.load(path, task.scale, say)
        upscaler = Upscaler(net, tile=None, precision="fp32", device=task.device, scale=task.scale)
        if upscaler.scale != task.scale:
            raise ValueError(f"--weights: {path} has scale {upscaler.scale}; --scale is {task.scale}.")
        sha256 = digest(path)
        methods.append(Method(name, upscaler, kept("network", sha256), path, sha256))
    return [*methods, Method(HR, None, kept(HR, HR))]


def _classify_all(
    task: Task, images: Sequence[Labelled], methods: Sequence[Method], classifier: nn.Module, device: torch.device
) -> list[str]:
    """Make the predictions that are missing. Returns the key of each image."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        keys = list(pool.map(lambda image: digest(image.path), images))
        todo = [
            (image, key)
            for image, key in zip(images, keys, strict=True)
            if any(key not in method.kept.by_image for method in methods)
        ]
        with tqdm(total=len(images), initial=len(images) - len(todo), unit="image") as progress:
            for start in range(0, len(todo), BATCH):
                batch = todo[start : start + BATCH]
                views = list(pool.map(lambda item: _view(item[0], task.view), batch))
                low = list(pool.map(lambda hr: degrade(hr, task.scale, "BI"), views))
                for method in methods:
                    _classify(method, [key for _, key in batch], views, low, classifier, device)
                progress.update(len(batch))
    return keys


def _classify(
    method: Method,
    keys: Sequence[str],
    views: Sequence[np.ndarray],
    low: Sequence[np.ndarray],
    classifier: nn.Module,
    device: torch.device,
) -> None:
    missing = [number for number, key in enumerate(keys) if key not in method.kept.by_image]
    if not missing:
        return
    try:
        seen = [views[number] if method.upscale is None else method.upscale(low[number]) for number in missing]
    except FloatingPointError as error:
        raise RuntimeError(f"{method.name}: {error}") from None
    best = classify(classifier, np.stack(seen), device)
    method.kept.add({keys[number]: classes for number, classes in zip(missing, best, strict=True)})


def _view(image: Labelled, view: View) -> np.ndarray:
    try:
        return view.of(image.path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{image.path} {error}: fetch it again, or remove it and its line in the list; what is done is kept."
        ) from None


def _wrong(images: Sequence[Labelled], keys: Sequence[str], method: Method) -> tuple[np.ndarray, np.ndarray]:
    """Whether the class of each image is not the most probable, and not among the five most probable."""
    best = [method.kept.by_image[key] for key in keys]
    top1 = [image.label != classes[0] for image, classes in zip(images, best, strict=True)]
    top5 = [image.label not in classes for image, classes in zip(images, best, strict=True)]
    return np.array(top1), np.array(top5)


def _row(method: Method, wrong: dict[str, tuple[np.ndarray, np.ndarray]]) -> Row:
    own, floor = wrong[method.name], wrong[BICUBIC]
    differences = [None if method.name == BICUBIC else compare(a, b) for a, b in zip(own, floor, strict=True)]
    return Row(method, float(own[0].mean()), float(own[1].mean()), *differences)


def _remarks(right: float, count: int, classes: int) -> tuple[str, ...]:
    """Warnings about the figures.

    Args:
        right: fraction of HR images that are recognised.
        count: number of images.
        classes: number of the classifier's classes.
    """
    from scipy.stats import binomtest

    remarks = []
    if classes > 1 and binomtest(round(right * count), count, 1 / classes, alternative="greater").pvalue > 0.05:
        remarks.append(
            "The classifier recognises the HR images no better than chance: are the class numbers in the order of its "
            "classes? ImageNet's are in the order of the WordNet ids, from 0; the ILSVRC development kit has another."
        )
    if classes <= 5:
        remarks.append(f"The top-5 error of {classes} classes is zero by definition.")
    return tuple(remarks)
