"""Reading the logs of training runs, and drawing them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

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
