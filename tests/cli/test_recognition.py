"""`rcan recognition`: what it prints, its exit codes, names of methods."""

from pathlib import Path

import pytest

from rcan_plugin.cli import recognition
from rcan_plugin.recognition import run
from tests.conftest import ROOT
from tests.recognition import scene


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    """Weights of a classifier that recognises the images."""
    path = tmp_path_factory.mktemp("classifier") / "classifier.pth"
    scene.train(path)
    return path


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> None:
    """A working folder with images, their list, and what is taken for weights."""
    monkeypatch.chdir(tmp_path)
    rows = scene.write_images(tmp_path / "images", 6)
    Path("val.txt").write_text("".join(f"{name} {label}\n" for name, label in rows))
    Path("c.pth").write_bytes(b"weights")


def call(*arguments: str) -> int:
    given = ["--images", "images", "--labels", "val.txt", "--classifier", scene.CLASSIFIER]
    return recognition.main([*given, "--classifier-weights", "c.pth", *arguments])


def test_the_table_is_printed_and_written(classifier, capsys):
    Path("c.pth").unlink()
    Path("c.pth").symlink_to(classifier)
    size = ("--resize", str(scene.SIDE), "--crop", str(scene.SIDE), "--device", "cpu")
    assert call(*size, "--out", "o") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["top-1", "-", "bicubic", "p", "top-5", "-", "bicubic", "p"]
    assert lines[1].split()[:2] == ["Bicubic", "66.67"] and lines[2].split()[:3] == ["HR", "0.00", "-66.67"]
    assert lines[3].startswith("6 images, shorter side 32, center 32x32, to 8x8 by BI x4")
    assert lines[-1] == "o/recognition.md, o/recognition.csv, o/recognition.json"
    assert "| HR | 0.00 | -66.67 (" in Path("o/recognition.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "none.pth"], r"--weights: none.pth does not exist"),
        (["--weights", "a=c.pth", "a=d.pth"], "--weights: c.pth and d.pth are both a: name them, NAME=FILE.\n"),
        (["--weights", "=c.pth"], "--weights: '=c.pth' has no name; expected NAME=FILE.\n"),
        (["--weights", "a="], "--weights: 'a=' has no file; expected NAME=FILE.\n"),
        (["--crop", "30"], "--crop is 30; expected a multiple of the scale, 4, of at most --resize, 256.\n"),
        (["--classifier", "ResNet50"], "--classifier is 'ResNet50'; expected a classifier of torchvision, such as "),
        ([], "--classifier-weights: c.pth: is not a file of weights"),
        (["--images", "val.txt"], "--images: val.txt is a file; expected a folder"),
        (["--out", "val.txt/o"], "--out val.txt/o cannot be made: "),
        (["--device", "gpu"], "gpu"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_end_with_a_line(capsys, arguments, message):
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_numbers_are_checked(capsys):
    with pytest.raises(SystemExit, match="2"):
        call("--first", "0")
    assert "argument --first: '0'; expected a whole number of 1 or more" in capsys.readouterr().err


def test_ctrl_c_tells_that_predictions_are_kept(monkeypatch, capsys):
    def stop(task):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", stop)
    assert call() == 130
    assert capsys.readouterr().err == "\nStopped. Predictions are kept; run the same command again to resume.\n"


def test_a_name_with_an_equals_sign_may_be_a_file():
    Path("a=b.pth").touch()
    assert recognition.named(["a=b.pth", "x=a=b.pth"]) == {"a=b": Path("a=b.pth"), "x": Path("a=b.pth")}


def test_the_script_is_the_command():
    assert 'run("recognition")' in (ROOT / "scripts/recognition.py").read_text()
