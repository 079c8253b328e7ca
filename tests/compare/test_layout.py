"""Groups, ranks and footnotes of a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rcan_plugin.compare import layout
from tests.compare import example


def group_of(content, number=0):
    return layout.groups(content)[number]


def ranks(group, set_id, metric="psnr"):
    return {line.name: line.cells[set_id, metric].rank for line in group.lines}


def test_a_group_for_each_degradation_and_scale():
    content = example.results()
    content["sets"].append({**content["sets"][0], "id": "Set2_BD_x3", "degradation": "BD", "scale": 3})
    content["rows"].append({**content["rows"][0], "set": "Set2_BD_x3"})
    assert [group.id for group in layout.groups(content)] == ["BI_x2", "BI_x4", "BD_x3"]
    assert [group.title for group in layout.groups(content)] == ["BI ×2", "BI ×4", "BD ×3"]
    assert [line.name for line in group_of(content, 2).lines] == ["bicubic"]


def test_only_rows_of_one_protocol_are_ranked():
    content = example.results()
    example.row(content, "RCAN+", "Set2_BI_x2")["mean"]["psnr"] = 27.75  # as RCAN's
    group = group_of(content)
    assert ranks(group, "Set2_BI_x2") == {"bicubic": 2, "RCAN": 1, "RCAN+": 0}
    note = group.notes[group.lines[2].notes["Set2_BI_x2"][0]]
    assert note == "Other protocol, not ranked: self-ensemble instead of no self-ensemble"


def test_equal_texts_share_a_rank():
    content = example.results()
    for row in content["rows"]:
        row["protocol"]["ensemble"] = False
    example.row(content, "RCAN", "Set2_BI_x2")["mean"]["psnr"] = 29.496
    example.row(content, "RCAN+", "Set2_BI_x2")["mean"]["psnr"] = 29.504
    assert ranks(group_of(content), "Set2_BI_x2") == {"bicubic": 2, "RCAN": 1, "RCAN+": 1}
    assert ranks(group_of(content), "Other_set_BI_x2") == {"bicubic": 0, "RCAN": 2, "RCAN+": 1}


def test_smaller_is_better_where_the_metric_says_so_and_one_value_is_not_ranked():
    content = example.results()
    content["metrics"]["lpips"] = {"name": "LPIPS", "unit": "", "better": "lower", "digits": 3}
    for row, value in zip(content["rows"], (0.3, 0.1, 0.2), strict=False):
        row["mean"]["lpips"] = value
    example.row(content, "RCAN", "Other_set_BI_x2")["mean"]["lpips"] = 0.5
    group = group_of(content)
    assert ranks(group, "Set2_BI_x2", "lpips") == {"bicubic": 2, "RCAN": 1, "RCAN+": 0}
    assert group.lines[1].cells["Other_set_BI_x2", "lpips"].rank == 0


def test_marks_of_one_row_and_of_all_rows_of_a_set():
    content = example.results()
    for row in content["rows"]:
        if row["set"] == "Other_set_BI_x2":
            row["marks"] = ["LR is not the papers'"]
    group = group_of(content)
    assert [group.notes[letter] for letter in group.set_notes["Other_set_BI_x2"]] == ["LR is not the papers'"]
    assert group.set_notes["Set2_BI_x2"] == ()
    line = group.lines[1]
    assert [group.notes[letter] for letter in line.notes["Set2_BI_x2"]] == [
        "0.75 dB above the published 26.50",
        "with RGB instead of Y: 26.49",
    ]
    assert line.notes["Other_set_BI_x2"] == ()
    assert line.cells["Set2_BI_x2", "psnr"].published == "26.50"


def test_several_protocols_of_one_method_are_several_lines():
    content = example.results()
    row = example.row(content, "RCAN", "Set2_BI_x2")
    content["rows"].append({**row, "protocol": {**row["protocol"], "color": "RGB"}, "mean": {"psnr": 40.0}})
    group = group_of(content)
    assert [line.name for line in group.lines] == ["bicubic", "RCAN", "RCAN", "RCAN+"]
    assert group.lines[2].cells["Set2_BI_x2", "psnr"] == layout.Cell(40.0, "40.00", 0, "26.50")
    assert "on RGB instead of on Y" in group.notes[group.lines[2].notes["Set2_BI_x2"][0]]


def test_how_a_network_was_run_is_not_asked_of_bicubic_and_pictures():
    content = example.results()
    content["methods"][2]["kind"] = "pictures"
    for method, protocol in (("bicubic", {"precision": None}), ("RCAN+", {"inference": "pictures", "precision": None})):
        example.row(content, method, "Set2_BI_x2")["protocol"] |= protocol
    group = group_of(content)
    assert group.protocol["precision"] == "fp32" and group.protocol["inference"] == "whole"
    assert ranks(group, "Set2_BI_x2") == {"bicubic": 0, "RCAN": 2, "RCAN+": 1}
    example.row(content, "RCAN+", "Set2_BI_x2")["protocol"]["border"] = 0
    group = group_of(content)
    assert ranks(group, "Set2_BI_x2") == {"bicubic": 2, "RCAN": 1, "RCAN+": 0}
    assert "border not cut instead of border of 2 pixels cut" in group.notes[group.lines[2].notes["Set2_BI_x2"][0]]


def test_marks_of_a_set():
    content = example.results()
    content["sets"][0]["marks"] = ["LR is not the papers'"]
    group = group_of(content)
    assert [group.notes[letter] for letter in group.set_notes["Set2_BI_x2"]] == ["LR is not the papers'"]


@pytest.mark.parametrize("value", [float("inf"), None])
def test_equal_images_have_an_infinite_psnr(value):
    content = example.results()
    example.row(content, "RCAN", "Set2_BI_x2")["mean"]["psnr"] = value
    cell = group_of(content).lines[1].cells["Set2_BI_x2", "psnr"]
    assert (cell.text, cell.rank) == ("∞", 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "run `rcan compare` first"),
        ("{", "is not JSON"),
        ('{"format": 2}', "format is 2; expected 1"),
        ("[]", "format is None"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, text, message):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        layout.read(tmp_path)


def test_the_example_is_read_back(tmp_path: Path):
    assert layout.read(example.write(tmp_path, pictures=False)) == json.loads(json.dumps(example.results()))
