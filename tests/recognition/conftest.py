"""A trained classifier, images with a list, and weights of a network, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rcan_plugin import weights
from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.recognition.classifier import View
from rcan_plugin.recognition.run import Task
from tests.archs.small import SMALL
from tests.recognition import scene


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of `scene.CLASSIFIER` for the classes of `scene`."""
    path = tmp_path_factory.mktemp("classifier") / "classifier.pth"
    scene.train(path)
    return path


@pytest.fixture
def task(classifier: Path, tmp_path: Path) -> Task:
    """Twelve images of three classes; RCAN with random weights."""
    rows = scene.write_images(tmp_path / "images", 12)
    (tmp_path / "val.txt").write_text("".join(f"{name} {label}\n" for name, label in rows))
    arguments = {**SMALL["RCANArch"], "upscale": 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights.save(tmp_path / "RCAN.safetensors", RCANArch(**arguments), **arguments)
    return Task(
        images=tmp_path / "images",
        labels=tmp_path / "val.txt",
        classifier=scene.CLASSIFIER,
        classifier_weights=classifier,
        weights={"RCAN": tmp_path / "RCAN.safetensors"},
        out=tmp_path / "out",
        view=View(scene.SIDE, scene.SIDE),
        device="cpu",
    )
