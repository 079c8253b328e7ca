"""`rcan options`: option files copied; the reference and the schema, printed or written."""

import json
from pathlib import Path

import pytest

from rcan_plugin import cli
from rcan_plugin.options import export
from tests.conftest import ROOT
from tests.disks import files_up_to


def test_the_schema_is_written_whole_or_not_at_all(tmp_path, capsys):
    out = tmp_path / "schema.json"
    assert cli.main(["options", "schema", "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == json.loads(json.dumps(export.json_schema()))
    assert [path.name for path in tmp_path.iterdir()] == ["schema.json"]
    full = tmp_path / "full.json"
    with files_up_to(1000):
        assert cli.main(["options", "schema", "--out", str(full)]) == 2
    assert capsys.readouterr().err == f"{full}: file too large.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["schema.json"]
    assert cli.main(["options", "schema", "--out", str(tmp_path / "none/schema.json")]) == 2
    assert "expected a file in a folder that exists" in capsys.readouterr().err


def test_the_reference_goes_to_standard_output(capsys):
    assert cli.main(["options", "reference"]) == 0
    assert capsys.readouterr().out == export.reference()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_option_files_are_copied_with_their_folders(tmp_path, capsys):
    out = tmp_path / "new/options"
    assert cli.main(["options", "copy", str(out)]) == 0
    expected = contents(ROOT / "options")
    assert contents(out) == expected
    assert {"train_RCAN_x4.yml", "others/train_EDSR_x2.yml", "compare/BI.yml"} < expected.keys()
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines == [str(path) for path in sorted(out.rglob("*.yml"))]
    assert last == f"{len(expected)} files written."


def test_equal_files_stay_and_missing_ones_are_added(tmp_path, capsys):
    cli.main(["options", "copy", str(tmp_path)])
    (tmp_path / "compare/BI.yml").unlink()
    (tmp_path / "mine.yml").write_text("name: mine\n")
    capsys.readouterr()
    assert cli.main(["options", "copy", str(tmp_path)]) == 0
    assert contents(tmp_path) == contents(ROOT / "options") | {"mine.yml": b"name: mine\n"}
    count = len(contents(ROOT / "options"))
    written = f"{tmp_path / 'compare/BI.yml'}\n1 files written, {count - 1} were there already.\n"
    assert capsys.readouterr().out == written


def test_nothing_is_written_if_anything_is_in_the_way(tmp_path, capsys):
    (tmp_path / "train_RCAN_x4.yml").write_text("name: mine\n")
    (tmp_path / "test_RCAN_x4.yml").mkdir()
    (tmp_path / "train_RCAN_x2.yml").symlink_to("gone")
    (tmp_path / "others").write_text("notes")
    assert cli.main(["options", "copy", str(tmp_path)]) == 2
    assert contents(tmp_path) == {"train_RCAN_x4.yml": b"name: mine\n", "others": b"notes"}
    error = capsys.readouterr().err
    for line in (
        f"  {tmp_path / 'train_RCAN_x4.yml'}: a file with other content",
        f"  {tmp_path / 'test_RCAN_x4.yml'}: a folder; expected a file",
        f"  {tmp_path / 'train_RCAN_x2.yml'}: a broken link; expected a file",
        f"  {tmp_path / 'others'}: a file; expected a folder",
        "Move them away, or choose another folder.",
    ):
        assert line in error.splitlines()


@pytest.mark.parametrize("wrong", (["copy"], ["copy", "a", "--out", "b"], ["schema", "a"], ["nothing"]))
def test_arguments_that_do_not_fit_the_action_are_refused(wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(["options", *wrong])
    assert ended.value.code == 2 and not list(tmp_path.iterdir())


def test_an_empty_text_is_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["options", "copy", ""])
    assert "argument DIR: it is an empty text; expected a folder, . for the current one" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
