"""torchvision's classifiers from files, and what they see of an image."""

import re

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision.transforms._presets import ImageClassification

from rcan_plugin.recognition.classifier import MEAN, STD, View, classify, load
from tests.recognition import scene


@pytest.mark.parametrize("size", [(40, 55), (31, 24), (24, 24)], ids=str)
def test_a_view_is_what_torchvision_evaluates(tmp_path, size):
    pixels = scene.texture(0, 1, *size)
    cv2.imwrite(str(tmp_path / "a.jpg"), pixels)
    preset = ImageClassification(crop_size=24, resize_size=28)
    assert (preset.mean, preset.std) == (list(MEAN), list(STD))
    expected = preset(Image.open(tmp_path / "a.jpg"))
    seen = View(28, 24).of((tmp_path / "a.jpg").read_bytes())
    assert seen.shape == (24, 24, 3) and seen.dtype == np.uint8
    ours = (torch.from_numpy(seen).permute(2, 0, 1) / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
        :, None, None
    ]
    assert torch.allclose(ours, expected, atol=1e-6)


def test_gray_images_are_seen_in_three_channels():
    content = cv2.imencode(".png", np.full((9, 12), 77, np.uint8))[1].tobytes()
    assert (View(8, 8).of(content) == 77).all()


def test_a_damaged_image_is_refused():
    content = cv2.imencode(".jpg", scene.texture(0, 1))[1].tobytes()
    with pytest.raises(ValueError, match=r"^is damaged, or not an image"):
        View().of(content[: len(content) // 2])


def test_the_file_tells_the_number_of_classes(classifier):
    net = load(scene.CLASSIFIER, classifier)
    assert net.classes == 3 and not net.training
    weights = torch.load(classifier)
    assert all(torch.equal(weights[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("name", ["squeezenet1_1", "mnasnet0_5"])  # the last layer is a convolution; a linear one
def test_other_classifiers(tmp_path, name):
    own = models.get_model(name, weights=None, num_classes=7).state_dict()
    weights = {key: tensor for key, tensor in own.items() if not key.endswith("num_batches_tracked")}  # as old files
    torch.save({"model": {f"module.{key}": tensor for key, tensor in weights.items()}}, tmp_path / "w.pth")
    net = load(name, tmp_path / "w.pth")
    assert net.classes == 7
    best = classify(net, np.zeros((2, 32, 32, 3), np.uint8), torch.device("cpu"))
    assert [len(set(classes)) for classes in best] == [5, 5] and best[0] == best[1]


def test_classes_are_in_the_order_of_their_scores():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1] = 255
    scores = torch.tensor([1.0, 3.0, 2.0])

    def net(batch):
        return torch.stack([scores * sign for sign in batch.mean([1, 2, 3]).sign()])

    assert classify(net, images, torch.device("cpu"), 2) == [[0, 2], [1, 2]]


def test_weights_that_do_not_fit(classifier, tmp_path):
    with pytest.raises(ValueError, match=r"^--classifier is 'resnet5'; expected a classifier of torchvision.*resnet50"):
        load("resnet5", classifier)
    with pytest.raises(ValueError, match=r"^--classifier-weights: .*it does not fit squeezenet1_1: .*choose"):
        load("squeezenet1_1", classifier)
    with pytest.raises(ValueError, match=rf"^--classifier-weights: {re.escape(str(tmp_path))}/a: is empty\.$"):
        (tmp_path / "a").touch()
        load("resnet18", tmp_path / "a")
    weights = torch.load(classifier)
    weights["fc.bias"][1] = torch.nan
    torch.save(weights, tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"b\.pth: 1 of its 122 tensors hold NaN or infinity, first fc\.bias\.$"):
        load(scene.CLASSIFIER, tmp_path / "b.pth")


def test_no_code_of_the_file_is_run(tmp_path):
    torch.save(models.get_model("squeezenet1_1", weights=None, num_classes=2), tmp_path / "whole.pth")
    with pytest.raises(ValueError, match="which only code can rebuild"):
        load("squeezenet1_1", tmp_path / "whole.pth")
