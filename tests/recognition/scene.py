"""Tiny images of three classes that differ in fine texture, and a classifier trained on them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torchvision import models
from torchvision.transforms import functional

from rcan_plugin.recognition.classifier import MEAN, STD

SIDE = 32
CLASSES = ("rows", "columns", "plain")
CLASSIFIER = "resnet18"
RIDGE = 0.01


def texture(label: int, seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """An image of a class, uint8: stripes of three pixels, which x4 removes, or none, on smooth colours."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.uniform(110, 140, (3, 3, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    wave = 90 * np.cos(2 * np.pi * (np.arange(max(height, width)) / 3 + rng.random()))
    if label == 0:
        smooth += wave[:height, None, None]
    elif label == 1:
        smooth += wave[None, :width, None]
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).round().astype(np.uint8)


def write_images(folder: Path, count: int, first_seed: int = 1000) -> list[tuple[str, int]]:
    """Write images of all classes in turn. Returns names and classes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        label = number % len(CLASSES)
        rows.append((f"val_{number:03}.png", label))
        cv2.imwrite(str(folder / rows[-1][0]), texture(label, first_seed + number))
    return rows


def train(path: Path) -> nn.Module:
    """Train the last layer of a small classifier on the textures, on features of random layers; save its weights."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        net = models.get_model(CLASSIFIER, weights=None, num_classes=len(CLASSES))
        labels = torch.arange(30) % len(CLASSES)
        images = np.stack([texture(int(label), seed)[..., ::-1] for seed, label in enumerate(labels)])
        batch = functional.normalize(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float() / 255, MEAN, STD)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over the batches that follow: one
        net(batch)
        net.eval()
        last, net.fc = net.fc, nn.Identity()
        vectors = net(batch)
        net.fc = last
        center, targets = vectors.mean(0), nn.functional.one_hot(labels).float()
        gram = (vectors - center) @ (vectors - center).T
        ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(labels))
        last.weight.copy_(((vectors - center).T @ torch.linalg.solve(gram + ridge, targets)).T)
        last.bias.copy_(targets.mean(0) - last.weight @ center)
    torch.save(net.state_dict(), path)
    return net
