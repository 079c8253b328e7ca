"""What the quickstart keeps, runs and shows. CI runs all of it (`make quickstart`)."""

import shutil
from types import SimpleNamespace

import pytest

from rcan_plugin.cli import quickstart
from rcan_plugin.degradations.record import Record
from rcan_plugin.preparation.survey import survey
from rcan_plugin.preparation.verify import verify
from tests.conftest import ROOT


@pytest.fixture
def root(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "options", tmp_path / "options")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_data_is_exact_and_built_once(root, capsys):
    quickstart.build_data()
    for split, images in (("train", 9), ("held_out", 3)):
        folder = root / "datasets/quickstart" / split
        (group,) = survey(folder / "HR.lmdb", folder / "LRBI_x2.lmdb")
        assert (str(group), len(group.pairs)) == ("x2 BI, replicate border, exactly", images)
        assert str(Record.read(folder / "LRBI_x2.lmdb")) == f"x2 BI (replicate), {images} images"
        assert verify(folder / "HR.lmdb") == verify(folder / "LRBI_x2.lmdb") == []
    assert set(quickstart.PHOTOGRAPHS["train"]).isdisjoint(quickstart.PHOTOGRAPHS["held_out"])
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*.mdb")}
    assert len(times) == 4
    capsys.readouterr()
    quickstart.build_data()
    assert capsys.readouterr().out.count("already: kept") == 4
    assert times == {path: path.stat().st_mtime_ns for path in root.rglob("*.mdb")}

    (root / "datasets/quickstart/held_out/HR.lmdb/checksums.json").unlink()
    with pytest.raises(SystemExit, match=r"HR\.lmdb .* made of other images"):
        quickstart.build_data()


def commands(monkeypatch) -> list[str]:
    """The commands that `quickstart.train` would run."""
    recorded: list[str] = []

    def record(command, **_):
        recorded.append(" ".join(command))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(quickstart.subprocess, "run", record)
    quickstart.train()
    return recorded


def test_help_and_other_folders_write_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for argv, code in ((["--help"], 0), (["--fast"], 2)):
        with pytest.raises(SystemExit) as caught:
            quickstart.main(argv)
        assert caught.value.code == code
    output = capsys.readouterr()
    assert "usage: " in output.out and "unrecognized arguments: --fast" in output.err
    with pytest.raises(SystemExit, match="run `make quickstart` in the project's root"):
        quickstart.main([])
    assert list(tmp_path.iterdir()) == []


def test_training_is_the_literal_command_then_resumed_then_kept(root, monkeypatch, capsys):
    literal = "python basicsr/train.py -opt options/quickstart_RCAN_x2.yml"
    assert commands(monkeypatch) == [literal]
    folder = root / "experiments/quickstart_RCAN_x2"
    (folder / "models").mkdir(parents=True)
    (folder / "training_states").mkdir()
    header = "# GENERATE TIME: today\n# CMD:\n# x\n\n"  # which BasicSR writes before its copy of the options
    options = (root / "options/quickstart_RCAN_x2.yml").read_text()
    (folder / "quickstart_RCAN_x2.yml").write_text(header + options)
    assert commands(monkeypatch) == [literal]
    assert "BasicSR renames it" in capsys.readouterr().out

    (folder / "training_states/400.state").touch()
    assert commands(monkeypatch) == [
        "python -m rcan_plugin.train -opt options/quickstart_RCAN_x2.yml --auto_resume"
    ]  # fmt: skip
    (folder / "models/net_g_latest.pth").touch()
    assert commands(monkeypatch) == []
    assert "trained already: kept" in capsys.readouterr().out

    (folder / "quickstart_RCAN_x2.yml").write_text(header + options.replace("num_feat: 32", "num_feat: 16"))
    assert commands(monkeypatch) == [literal]
