"""Reading the logs of training runs, and drawing them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from rcan_plugin.compare import curves, runs

HEAD = """2026-11-27 08:00:00,100 INFO:
  name: tiny
  datasets:
      batch_size_per_gpu: 4
  world_size: 2
"""


def log(start: str, iterations: range, first_loss: float = 0.5) -> str:
    """A log as BasicSR writes it: ten iterations a minute, a validation each twenty."""
    hour, minute = map(int, start.split(":"))
    lines = [f"{HEAD}2026-11-27 {start}:00,200 INFO: Start training from epoch: 0, iter: {iterations[0] - 10}"]
    for number, iteration in enumerate(iterations, 1):
        time = f"2026-11-27 {hour:02}:{minute + number:02}:00,300 INFO: "
        lines.append(
            f"{time}[tiny..][epoch:  0, iter:{iteration:8,d}, lr:(2.000e-04,1.000e-04,)] [eta: 1 day, 0:00:57, "
            f"time (data): 0.250 (0.007)] l_pix: {first_loss / number:.4e} l_total: 1.0000e+00 "
        )
        if iteration % 20 == 0:
            lines.append(
                f"{time}Validation Set5\n\t # psnr: {30 + iteration / 100:.4f}\tBest: 31.0 @ 20 iter\n\t # ssim: 0.9\n"
            )
    return "\n".join(lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that stopped after iteration 1040 and was resumed from 1020."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/train_tiny_20261127_080000.log").write_text(log("08:00", range(1010, 1050, 10)))
    (tmp_path / "tiny/train_tiny_20261127_100000.log").write_text(log("10:00", range(1030, 1070, 10), 0.1))
    return tmp_path / "tiny"


def test_text_logs_of_a_run_that_was_resumed(folder: Path):
    run = runs.read(folder)
    assert run.name == "tiny"
    assert run.series.keys() == {
        (runs.RATE, ""),
        (runs.SPEED, ""),
        (runs.LOSS, "l_pix"),
        (runs.LOSS, "l_total"),
        (runs.PSNR, "Set5"),
    }
    loss = run.series[runs.LOSS, "l_pix"]
    assert loss.iterations == [1010, 1020, 1030, 1040, 1050, 1060]
    assert loss.values == pytest.approx([0.5, 0.25, 0.1, 0.05, 0.1 / 3, 0.025], rel=1e-4)
    assert [round(60 * hours) for hours in loss.hours] == [1, 2, 5, 6, 7, 8]  # the second log starts at 4 minutes
    psnr = run.series[runs.PSNR, "Set5"]
    assert (psnr.iterations, psnr.values) == ([1020, 1040, 1060], [40.2, 40.4, 40.6])
    assert run.series[runs.RATE, ""].values == [2e-4] * 6
    assert run.series[runs.SPEED, ""].values == [4 * 2 / 0.25] * 6


def test_iterations_of_validations(tmp_path: Path):
    """New best values are logged with their iterations; the validation at the end with one that is beyond the end."""
    lines = [
        "2026-11-27 08:00:00,200 INFO: Start training from epoch: 0, iter: 0",
        "2026-11-27 08:01:00,300 INFO: [a..][epoch:  0, iter:     200, lr:(2.000e-04,)] [eta: 0, ] l_pix: 1.0e-02",
        "2026-11-27 08:02:00,300 INFO: Validation Set5\n\t # psnr: 30.1000\tBest: 30.1000 @ 250 iter",
        "2026-11-27 08:03:00,300 INFO: [a..][epoch:  0, iter:     400, lr:(2.000e-04,)] [eta: 0, ] l_pix: 1.0e-02",
        "2026-11-27 08:04:00,300 INFO: Validation Set5\n\t # psnr: 30.0000\tBest: 30.1000 @ 250 iter",
        "2026-11-27 08:05:00,300 INFO: [a..][epoch:  0, iter:     600, lr:(2.000e-04,)] [eta: 0, ] l_pix: 1.0e-02",
        "2026-11-27 08:06:00,300 INFO: Validation Set5\n\t # psnr: 30.2000\tBest: 30.2000 @ 700 iter",
        "2026-11-27 08:07:00,300 INFO: End of training. Time consumed: 0:07:00",
        "2026-11-27 08:08:00,300 INFO: Validation Set5\n\t # psnr: 30.2000\tBest: 30.2000 @ 702 iter",
    ]
    (tmp_path / "a.log").write_text("\n".join(lines))
    psnr = runs.read(tmp_path / "a.log").series[runs.PSNR, "Set5"]
    assert (psnr.iterations, psnr.values) == ([250, 400, 700], [30.1, 30.0, 30.2])


def test_a_validation_before_the_first_losses_of_a_resumed_run(tmp_path: Path):
    """One that was made up for, and one before losses are printed, whose iteration is not logged."""
    time = "2026-11-27 0{}:00,200 INFO: "
    losses = "[a..][epoch:  0, iter:   {:5,d}, lr:(2.000e-04,)] [eta: 0, ] l_pix: 1.0e-02"
    best = "\n\t # psnr: {:.4f}\tBest: 30.3000 @ 1000 iter"
    first = [losses.format(1000), "Validation Set5" + best.format(30.3)]
    second = [
        "The validation at iteration 1500 is not in the training state: validating now.",
        "Validation Set5" + best.format(30.2),
        "Resuming training from epoch: 3, iter: 1500.",
        "Start training from epoch: 3, iter: 1500",
        losses.format(2000),
        "Validation Set5" + best.format(30.1),
    ]
    for hour, lines in enumerate((first, second), 8):
        text = "\n".join(time.format(f"{hour}:0{minute}") + line for minute, line in enumerate(lines))
        (tmp_path / f"train_a_20261127_0{hour}0000.log").write_text(text)
    psnr = runs.read(tmp_path).series[runs.PSNR, "Set5"]
    assert (psnr.iterations, psnr.values) == ([1000, 1500, 2000], [30.3, 30.2, 30.1])


def test_the_logs_of_a_resumed_run_in_one_file(folder: Path):
    """Its validations and hours are those of the logs in two files."""
    logs = sorted(folder.iterdir())
    texts = [path.read_text() for path in logs]
    resumed = "2026-11-27 09:59:00,200 INFO: Resuming training from epoch: 0, iter: 1020."
    (folder.parent / "both.log").write_text("\n".join([texts[0], "End of training", resumed, texts[1]]))
    both, apart = runs.read(folder.parent / "both.log").series, runs.read(folder).series
    assert both.keys() == apart.keys()
    for kind, series in both.items():
        assert (series.iterations, series.values) == (apart[kind].iterations, apart[kind].values)
        assert series.hours == pytest.approx(apart[kind].hours)


def test_one_log(folder: Path):
    run = runs.read(folder / "train_tiny_20261127_080000.log")
    assert run.name == "train_tiny_20261127_080000"
    assert run.series[runs.PSNR, "Set5"].iterations == [1020, 1040]


def test_tensorboard(tmp_path: Path):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path / "run"))
    for step, tag, value in ((10, "losses/l_pix", 0.5), (20, "losses/l_pix", 0.25), (20, "metrics/Set5/psnr", 31.5)):
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(wall_time=1000.0 + 180 * step, step=step, summary=summary))
    writer.close()
    run = runs.read(tmp_path / "run")
    assert run.series == {
        (runs.LOSS, "l_pix"): runs.Series([10, 20], [0.0, 0.5], [0.5, 0.25]),
        (runs.PSNR, "Set5"): runs.Series([20], [0.5], [31.5]),
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [("gone", "gone is nothing; expected a folder"), ("", "has neither train_"), ("train_a.log", "has no values yet")],
)
def test_what_is_no_log_is_refused(tmp_path: Path, name, message):
    if name.endswith(".log"):
        (tmp_path / name).write_text("2026-11-27 08:00:00,100 INFO: nothing\n")
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        runs.read(tmp_path / name)


@pytest.mark.parametrize(("over", "label"), [("iterations", "iterations"), ("hours", "minutes")])
def test_the_figure_has_a_panel_for_each_kind(folder: Path, tmp_path: Path, monkeypatch, over, label):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    curves.draw([runs.read(folder)], tmp_path / "a.svg", over)
    texts = [node.text for node in ElementTree.parse(tmp_path / "a.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"loss", "PSNR, dB, Set5", "learning rate", "images a second", "tiny", "l_total"} <= set(texts)
    assert texts.count(label) == 4


def test_seeds_share_colour_and_name(folder: Path, tmp_path: Path, monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    series = runs.read(folder).series
    names = ["a_seed0", "b", "a_seed1", "b", *(f"c{i}" for i in range(6))]
    curves.draw([runs.Run(name, series) for name in names], tmp_path / "a.svg")
    svg = (tmp_path / "a.svg").read_text()
    texts = [node.text for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in {"a (2 seeds)", *names}] == ["a (2 seeds)", "b", "b", *names[4:]]
    lines = {color: svg.count(f"stroke: {color}; stroke-width: 1.5") for color in curves.COLORS}  # of the legend
    assert list(lines.values()) == [1] * 9 + [0] * (len(curves.COLORS) - 9)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_full_while_a_pdf_is_written(tmp_path: Path):
    (tmp_path / "t.pdf.part").symlink_to("/dev/full")
    found = runs.Run("a", {(runs.SPEED, ""): runs.Series([1], [1.0], [1.0])})
    with pytest.raises(OSError, match="No space left") as caught:
        curves.draw([found], tmp_path / "t.pdf")
    assert caught.value.filename == str(tmp_path / "t.pdf")
    assert list(tmp_path.iterdir()) == []


def legend_of_runs(names: list[str]) -> list[str]:
    """The names of runs as matplotlib draws them."""
    found = [runs.Run(name, {(runs.SPEED, ""): runs.Series([1], [1.0], [1.0])}) for name in names]
    figures: list[Figure] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, file, **_: figures.append(figure))
        curves.draw(found, Path("unused.svg"))
    assert inside(figures[0].legends[0], figures[0])
    return [text.get_text() for text in figures[0].legends[0].get_texts()]


def inside(legend: Legend, figure: Figure) -> bool:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    box = legend.get_window_extent()
    return box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x_seed0", "x", "y_seed1"], ["x_seed0", "x", "y_seed1"]),
        (["x_seed0", "x_seed0", "x_seed1"], ["x_seed0", "x_seed0", "x_seed1"]),  # of two folders
        (["_a", "b$\\frac$", "c$"], ["_a", "b\\$\\frac\\$", "c\\$"]),
        ([f"a rather long name of a run {number}" for number in range(7)],) * 2,
        (["a" * 40 + "b" * 60 + "c" * 40], ["a" * 30 + "…" + "c" * 30]),
    ],
)  # fmt: skip
def test_names_of_runs(names, expected, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert legend_of_runs(names) == expected


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["Set5", "Set14"], 0),
        (["Set5", "Set14", "BSD100", "Urban100", "Manga109"], 1),
        (["a long name of a validated set", "another long name of a set", "set"], 3),
        (["S" * 90, "Set5"], 2),
    ],
)  # fmt: skip
def test_the_legend_of_sets_does_not_cover_the_title(names, rows):
    figure = Figure((5.4, 3.4), layout="constrained")
    axes = figure.subplots()
    series = {(runs.PSNR, name): runs.Series([1, 2], [1.0, 2.0], [30.0, 31.0]) for name in names}
    curves._panel(axes, runs.PSNR, [runs.Run("a", series)], ["#000000"], "iterations")
    assert axes.get_title("left") == "PSNR, dB" + "\n" * rows and inside(axes.get_legend(), figure)
    assert len({line.get_linestyle() for line in axes.lines}) == min(len(names), 4)  # others are dashed in other ways
    title = axes._left_title.get_window_extent()
    legend = axes.get_legend().get_window_extent()
    assert legend.x0 > title.x1 or legend.y1 < title.y1 - 10


def test_other_formats_are_refused(folder: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected a name that ends in \.svg, \.png, \.pdf"):
        curves.draw([runs.read(folder)], tmp_path / "a.jpg")


def test_the_command(folder: Path, tmp_path: Path, capsys):
    from rcan_plugin.cli import plot_training

    out = tmp_path / "figure.png"
    assert plot_training.main([str(folder), str(folder), "--over", "hours", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"{out}: tiny, tiny\n"
    assert plot_training.main([str(tmp_path / "gone")]) == 2
    assert "expected a folder experiments/NAME" in capsys.readouterr().err
