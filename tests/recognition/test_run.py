"""A whole run: errors counted apart from it, what is kept, what is refused."""

import csv
import dataclasses
import io
import json

import cv2
import numpy as np
import pytest
import torch

from rcan_plugin.degradations import degrade, imresize
from rcan_plugin.inference import Upscaler
from rcan_plugin.recognition import run as module
from rcan_plugin.recognition import table
from rcan_plugin.recognition.classifier import MEAN, STD, load
from rcan_plugin.recognition.run import run
from tests.recognition import scene


def scores(net: torch.nn.Module, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(((image / 255 - MEAN) / STD).transpose(2, 0, 1)[None]).float())[0].numpy()


@pytest.fixture
def batches(monkeypatch):
    """The images of each call of the classifier."""
    images_of_calls = []
    classify = module.classify

    def keeping(net, images, device):
        images_of_calls.append(images)
        return classify(net, images, device)

    monkeypatch.setattr(module, "classify", keeping)
    return images_of_calls


def sizes(batches: list[np.ndarray]) -> list[int]:
    """Numbers of images in the calls since the last time."""
    counts = list(map(len, batches))
    batches.clear()
    return counts


def test_errors_of_all_methods(task, batches):
    results = run(task)
    net, upscaler = load(task.classifier, task.classifier_weights), Upscaler(task.weights["RCAN"], device="cpu")
    wrong = {"Bicubic": 0, "RCAN": 0, "HR": 0}
    for number, line in enumerate(task.labels.read_text().splitlines()):
        name, label = line.split()
        hr = cv2.imread(str(task.images / name))[..., ::-1]
        lr = degrade(hr, 4, "BI")
        assert lr.shape == (8, 8, 3)
        seen = {"Bicubic": imresize(lr, 4), "RCAN": upscaler(lr), "HR": hr}
        for (method, image), batch in zip(seen.items(), batches, strict=True):
            np.testing.assert_array_equal(batch[number], image)
            wrong[method] += int(scores(net, image).argmax()) != int(label)
    assert {row.method.name: round(12 * row.top1) for row in results.rows} == wrong
    assert wrong["HR"] == 0 and wrong["Bicubic"] >= 6  # the stripes are gone
    assert all(row.top5 == 0 for row in results.rows)
    floor, _, ceiling = results.rows
    assert floor.top1_difference is None and ceiling.top1_difference.value == -wrong["Bicubic"] / 12
    assert ceiling.top1_difference.high < 0 and ceiling.top1_difference.p == pytest.approx(2 ** (1 - wrong["Bicubic"]))
    assert results.remarks == ("The top-5 error of 3 classes is zero by definition.",)


def test_what_is_kept_is_not_computed_again(task, batches):
    first = run(task)
    assert sizes(batches) == [12, 12, 12]
    assert [row.top1 for row in run(task).rows] == [row.top1 for row in first.rows] and not batches
    cv2.imwrite(str(task.images / "val_003.png"), scene.texture(1, 5))  # another image of the same name
    task.weights["other"] = task.weights["RCAN"].with_name("other.safetensors")
    content = task.weights["RCAN"].read_bytes()
    task.weights["other"].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    run(task)
    assert sizes(batches) == [1, 1, 12, 1]  # the other network has seen none
    task.weights.clear()
    run(dataclasses.replace(task, view=module.View(scene.SIDE + 4, scene.SIDE)))
    assert sizes(batches) == [12, 12]


def test_labels_are_not_kept(task, batches):
    task.weights.clear()
    run(task)
    batches.clear()
    task.labels.write_text("".join(f"{line[:-1]}0\n" for line in task.labels.read_text().splitlines()))
    assert run(task).rows[-1].top1 == pytest.approx(8 / 12) and not batches


def test_a_stopped_run_continues(task, batches, monkeypatch):
    task.weights.clear()
    monkeypatch.setattr(module, "BATCH", 5)
    damaged = task.images / "val_007.png"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:200])
    with pytest.raises(
        ValueError, match=r"val_007\.png is damaged, or not an image .*remove it and its line in the list"
    ):
        run(task)
    assert sizes(batches) == [5, 5]
    damaged.write_bytes(content)
    assert run(task).images == 12 and sizes(batches) == [5, 5, 2, 2]


def test_another_order_of_classes_is_remarked(task):
    task.labels.write_text(
        "".join(f"{line[:-1]}{(int(line[-1]) + 1) % 3}\n" for line in task.labels.read_text().splitlines())
    )
    results = run(task)
    assert results.rows[-1].top1 == 1 and "no better than chance" in results.remarks[0]
    assert results.remarks[0] in table.plain(results) and results.remarks[0] in table.markdown(results)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"view": module.View(40, 30)}, r"--crop is 30; expected a multiple of the scale, 4, of at most --resize, 40"),
        ({"view": module.View(32, 36)}, r"--crop is 36; .* of at most --resize, 32"),
        ({"scale": 2}, r"RCANArch has scale 4; --scale is 2"),
        ({"classifier": "squeezenet1_1"}, r"it does not fit squeezenet1_1"),
    ],
    ids=["crop", "resize", "scale", "classifier"],
)
def test_what_does_not_fit_is_refused_before_the_work(task, batches, change, message):
    with pytest.raises(ValueError, match=message):
        run(dataclasses.replace(task, **change))
    assert not batches and not task.out.exists()


def test_names_of_other_rows_are_refused(task):
    with pytest.raises(ValueError, match=r"--weights: hr is the name of another row of the table"):
        run(dataclasses.replace(task, weights={"hr": task.weights["RCAN"]}))


def test_the_table_in_three_forms(task):
    results = run(dataclasses.replace(task, weights={"a_b|c": task.weights["RCAN"]}))
    paths = table.write(results)
    assert [path.name for path in paths] == ["recognition.md", "recognition.csv", "recognition.json"]
    bicubic, rcan, hr = results.rows
    markdown = paths[0].read_text()
    difference = hr.top1_difference
    assert f"| Bicubic | {100 * bicubic.top1:.2f} |  |  | 0.00 |  |  |" in markdown
    assert f"| a\\_b\\|c | {100 * rcan.top1:.2f} |" in markdown
    assert (
        f"| HR | 0.00 | {100 * difference.value:+.2f} ({100 * difference.low:+.2f} to {100 * difference.high:+.2f}) | "
        f"{difference.p:.2g} | 0.00 |" in markdown
    )
    assert "12 images, shorter side 32, center 32x32, to 8x8 by BI x4, enlarged to 8 bits; resnet18" in markdown
    rows = list(csv.DictReader(io.StringIO(paths[1].read_text())))
    assert [row["method"] for row in rows] == ["Bicubic", "a_b|c", "HR"]
    assert float(rows[0]["top1_error"]) == bicubic.top1 and rows[0]["top1_value"] == ""
    assert float(rows[2]["top1_low"]) == difference.low and rows[2]["top1_only_second"] == str(difference.only_second)
    content = json.loads(paths[2].read_text())
    assert content["classifier"]["classes"] == 3 and len(content["classifier"]["sha256"]) == 64
    assert content["protocol"] == {"resize": 32, "crop": 32, "degradation": "BI", "scale": 4}
    assert content["methods"][1]["sha256"] == rcan.method.sha256 and content["methods"][2]["sha256"] is None
    assert content["methods"][2]["top1_minus_bicubic"] == dataclasses.asdict(difference)
