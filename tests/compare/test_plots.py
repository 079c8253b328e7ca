"""Plots of a comparison: which are drawn, their labels, and what is kept."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from rcan_plugin.compare import plots
from tests.compare import example


def small() -> dict:
    """Results of one set at one scale."""
    content = example.results()
    content["sets"] = content["sets"][:1]
    content["rows"] = content["rows"][:3]
    for row in content["rows"]:
        row["protocol"]["ensemble"] = False
    return content


def test_four_plots_for_a_set_with_the_names_of_the_methods(tmp_path: Path):
    paths = plots.write(example.write(tmp_path, small(), pictures=False))
    assert [path.name for path in paths] == [f"{name}_Set2_BI_x2.svg" for name in plots.NAMES]
    texts = [[text.text for text in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")] for path in paths]
    for names in texts[:3]:
        assert {"bicubic", "RCAN", "RCAN+"} <= set(names)
    assert {"bear", "a tree & #1"} <= set(texts[2]) & set(texts[3])
    assert "RCAN+ − RCAN: Set2, BI ×2" in texts[3]
    assert any(text and text.startswith("Mean +1.750 dB, 95 % confidence interval ") for text in texts[3])


def test_unchanged_plots_are_kept_and_changed_ones_drawn_again(tmp_path: Path):
    content = small()
    example.write(tmp_path, content, pictures=False)
    before = {path: path.stat().st_mtime_ns for path in plots.write(tmp_path)}
    (tmp_path / "plots/images_Gone_BI_x2.svg").write_text("<svg/>")
    assert {path: path.stat().st_mtime_ns for path in plots.write(tmp_path)} == before
    assert not (tmp_path / "plots/images_Gone_BI_x2.svg").exists()
    content["rows"][1]["images"]["bear"]["psnr"] += 0.5
    example.write(tmp_path, content, pictures=False)
    assert all(path.stat().st_mtime_ns > before[path] for path in plots.write(tmp_path))


def test_without_matplotlib_one_line_says_so(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    assert plots.write(example.write(tmp_path, small(), pictures=False)) == []
    assert capsys.readouterr().out == f"{plots.MISSING}\n"
    assert not (tmp_path / "plots").exists()


def test_the_interval_is_that_of_students_t():
    mean, low, high = plots.interval([0.1, 0.2, 0.3, 0.6])
    half = 3.182446305284263 * np.std([0.1, 0.2, 0.3, 0.6], ddof=1) / 2  # t(0.975, 3), from a table
    assert mean == pytest.approx(0.3) and (low, high) == pytest.approx((0.3 - half, 0.3 + half), rel=1e-12)
    assert plots.interval([0.1]) == (0.1, -math.inf, math.inf)


def test_labels_do_not_overlap_and_are_inside():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from rcan_plugin.compare import labels

    figure, axes = plots._axes("many points")
    random = np.random.default_rng(0)
    points = [(f"network {i}", float(x), float(y), 60.0) for i, (x, y) in enumerate(random.uniform(0, 1, (14, 2)))]
    for _, x, y, area in points:
        axes.scatter(x, y, s=area)
    axes.set_xscale("log")
    labels.place(figure, axes, points)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == 14
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(axes.bbox.containsx(x) and axes.bbox.containsy(y) for box in boxes for x, y in box.corners())
