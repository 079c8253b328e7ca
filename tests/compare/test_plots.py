"""Plots of a comparison: which are drawn, their labels, and what is kept."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from rcan_plugin.compare import layout, plots
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


def test_plots_that_a_stopped_run_did_not_get_to_are_drawn(tmp_path: Path):
    example.write(tmp_path, small(), pictures=False)
    written = plots.write(tmp_path)
    drawn = {path: path.read_bytes() for path in written}
    for path in written[1:4]:
        path.unlink()
    assert plots.write(tmp_path) == written and {path: path.read_bytes() for path in written} == drawn


def test_without_matplotlib_one_line_reports_it(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    assert plots.write(example.write(tmp_path, small(), pictures=False)) == []
    assert capsys.readouterr().out == f"{plots.MISSING}\n"
    assert not (tmp_path / "plots").exists()


def test_the_interval_is_that_of_students_t():
    mean, low, high = plots.interval([0.1, 0.2, 0.3, 0.6])
    half = 3.182446305284263 * np.std([0.1, 0.2, 0.3, 0.6], ddof=1) / 2  # t(0.975, 3), from a table
    assert mean == pytest.approx(0.3) and (low, high) == pytest.approx((0.3 - half, 0.3 + half), rel=1e-12)
    assert plots.interval([0.1]) == (0.1, -math.inf, math.inf)


def many(count: int) -> list[layout.Line]:
    """Methods with long names, each 0.1 dB better than the one before."""
    return [
        layout.Line(
            {"name": f"RCAN of a long name {number}"},
            {"parameters": 1000 + 100 * number},
            {"Set2": {"images": {"bear": {"psnr": 29 + number / 10}, "tree": {"psnr": 31 + number / 10}}}},
            {("Set2", "psnr"): layout.Cell(30 + number / 10, "")},
        )
        for number in range(count)
    ]


def assert_the_legend_is_below_the_axes_and_inside(figure) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    box = figure.legends[0].get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
    assert box.y1 <= figure.axes[0].get_tightbbox().y0


@pytest.mark.parametrize("count", [plots.NAMED_POINTS, plots.NAMED_POINTS + 1])
def test_many_methods_have_numbers_by_psnr_and_a_legend(count):
    lines = many(count)
    sizes = {line.name: line.facts["parameters"] for line in lines}
    figure = plots._scatter(lines, "Set2", sizes, "many", "parameters", areas=False)
    beside = {text.get_text() for text in figure.axes[0].texts}
    if count == plots.NAMED_POINTS:
        assert beside == {line.name for line in lines} and not figure.legends
        return
    assert beside == {str(number) for number in range(1, count + 1)}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        f"{number}  {line.name}"
        for number, line in enumerate(reversed(lines), 1)  # the last one has the highest PSNR
    ]
    assert_the_legend_is_below_the_axes_and_inside(figure)


def test_the_legend_of_many_methods_by_image_is_inside():
    assert_the_legend_is_below_the_axes_and_inside(plots._by_image(many(15), "Set2", "many"))


def test_names_are_shown_as_they_are(tmp_path: Path):
    """matplotlib takes dollars for formulas, and leaves names out of a legend that begin with an underscore."""
    import matplotlib

    lines = many(2)
    names = ["_a $\\frac$", "b$c$"]
    for line, name in zip(lines, names, strict=True):
        line.method["name"] = name
        line.rows["Set2"]["images"] = {"$x_$": {"psnr": 30.0}, "y": {"psnr": 31.0}}
    with matplotlib.rc_context(plots._SETTINGS):
        plots._save(plots._by_image(lines, "Set2", "$a$"), tmp_path / "a.svg", "a", "")
    texts = [node.text for node in ElementTree.parse(tmp_path / "a.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {*names, "$a$", "$x_$", "y"} <= set(texts)


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
