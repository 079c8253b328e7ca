"""torchvision's classifiers with weights from a file, and the crops of images that they classify."""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms import functional

from rcan_plugin.images.header import open_image
from rcan_plugin.weights import files, fit, state_dicts

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of R, G, B in ImageNet, range 0 to 1, by which classifiers normalise their input."""
_LAST = ("classifier.", "fc.", "head.", "heads.")
_GOOGLES = ("googlenet", "inception_v3")
"""Trained with auxiliary classifiers and with another mean, to which these models can convert their input."""


def load(name: str, path: str | os.PathLike[str]) -> nn.Module:
    """Build a classifier of torchvision with weights from a file. Nothing is downloaded; no code in the file is run.

    Args:
        name: name in torchvision, such as `resnet50`.
        path: a state dict, flat or under a key; its last layer determines the number of classes.

    Returns:
        The classifier, on the CPU, for inference. Its attribute `classes` is the number of classes.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: torchvision has no such classifier, or the weights are those of another one.
    """
    known = models.list_models(module=models)
    if name not in known:
        nearest = difflib.get_close_matches(name, known, 3, 0.4)
        raise ValueError(
            f"--classifier is {name!r}; expected a classifier of torchvision, such as "
            f"{', '.join(nearest or ['resnet50'])}."
        )
    try:
        _, weights = state_dicts.choose(files.read(path), None, any_layout=True)
        classes = _classes(weights)
        with torch.random.fork_rng(devices=[]):
            net: nn.Module = models.get_model(name, weights=None, num_classes=classes, **_options(name, weights))
        _load(net, name, weights)
    except ValueError as error:
        text = str(error).removeprefix(str(path)).lstrip(": ").rstrip(".")
        raise ValueError(f"--classifier-weights: {path}: {text}.") from None
    net.classes = classes  # type: ignore[assignment]
    return net.eval().requires_grad_(False)


def _classes(weights: Mapping[str, Any]) -> int:
    """The number of classes: the outputs of the last layer, which is found by torchvision's names for it."""
    last = [key for key, tensor in weights.items() if key.startswith(_LAST) and isinstance(tensor, Tensor)]
    if not last or not weights[last[-1]].ndim:
        raise ValueError(f"it has no last layer ({', '.join(_LAST)}): it is not a classifier of torchvision")
    return len(weights[last[-1]])


def _options(name: str, weights: Mapping[str, Any]) -> dict[str, Any]:
    if name not in _GOOGLES:
        return {}
    auxiliary = any(key.lower().startswith("aux") for key in weights)
    return {"aux_logits": auxiliary, "init_weights": False, "transform_input": True}


def _load(net: nn.Module, name: str, weights: dict[str, Tensor]) -> None:
    own = net.state_dict()
    # The oldest files lack BatchNorm's `num_batches_tracked`, which inference does not use.
    given = {key: tensor for key, tensor in weights.items() if isinstance(tensor, Tensor)}
    given |= {key: tensor for key, tensor in own.items() if key.endswith("num_batches_tracked") and key not in given}
    compared = fit.Comparison.of(own, given)
    if not compared.equal:
        raise ValueError(
            f"it does not fit {name}: {fit.difference(compared, own, given)}; choose the --classifier that it is of, "
            f"or save torchvision's: torch.save(torchvision.models.{name}(weights='DEFAULT').state_dict(), FILE)"
        )
    if names := state_dicts.not_finite(given):
        raise ValueError(f"{len(names)} of its {len(given)} tensors hold NaN or infinity, first {names[0]}")
    own.update(given)  # keeps the modules' version numbers, which some modules need
    net.load_state_dict(own)


@dataclass(frozen=True)
class View:
    """The part of an image that a classifier sees, as in torchvision's evaluation (`transforms.ImageClassification`).

    The image is resized so that its shorter side has `resize` pixels (Pillow, bilinear with antialiasing), and cropped
    to its center. 256 and 224 are the values of RCAN's paper, whose images are 224x224, and of torchvision's first
    weights of each classifier (`IMAGENET1K_V1`); its second weights of ResNet-50 were evaluated with 232.

    Attributes:
        resize: shorter side of the resized image in pixels.
        crop: side of the crop in pixels.
    """

    resize: int = 256
    crop: int = 224

    def of(self, content: bytes) -> np.ndarray:
        """Decode an image as torchvision's data sets do (RGB, no rotation by EXIF), resize and crop it.

        Returns:
            crop x crop x 3, R, G, B, uint8.

        Raises:
            ValueError: it cannot be decoded; the message does not name the image.
        """
        try:
            with open_image(io.BytesIO(content)) as opened:
                image = opened.convert("RGB")
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises almost any exception for a damaged image
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"is damaged, or not an image ({reason})") from None
        resized = functional.resize(image, [self.resize], antialias=True)
        return np.array(functional.center_crop(resized, [self.crop]))

    def __str__(self) -> str:
        return f"shorter side {self.resize}, center {self.crop}x{self.crop}"


def classify(net: nn.Module, images: np.ndarray, device: torch.device, count: int = 5) -> list[list[int]]:
    """The most probable classes of each image, the most probable first.

    Args:
        net: what `load` returns.
        images: N x H x W x 3, R, G, B, uint8.
        device: where it runs.
        count: number of classes; fewer if the classifier has fewer.
    """
    batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device).float() / 255
    with torch.no_grad():
        scores: Tensor = net(functional.normalize(batch, MEAN, STD))
    best: list[list[int]] = scores.topk(min(count, scores.shape[1])).indices.tolist()
    return best
