"""`rcan check FILE...`: what it prints, and its exit code."""

from rcan_plugin import cli
from tests.conftest import ROOT

ESPCN = ROOT / "options/others/train_ESPCN_x2.yml"


def test_a_file_that_is_understood_and_one_that_is_not(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(ESPCN.read_text().replace("total_iter:", "total_itre:").replace("use_rot: true", "use_rot: yess"))
    assert cli.main(["check", str(wrong), str(ESPCN)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{wrong}: ") and lines[0].endswith(" mistakes")
    assert any("use_rot: is yess; expected true or false" in line for line in lines)
    assert any("total_itre" in line and "Did you mean total_iter?" in line for line in lines)
    rest = lines[lines.index(f"{ESPCN}: understood") + 1 :]
    assert len(rest) == 2 and all(line.startswith("  not here: line ") for line in rest)
    assert cli.main(["check", str(ESPCN)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.yml"]


def test_notes_and_changes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "rgb.yml"
    file.write_text("\n".join(line for line in ESPCN.read_text().splitlines() if "test_y_channel" not in line))
    assert cli.main(["check", str(file), "--force_yml", "name=other"]) == 0
    assert "  note: val: metrics: psnr: without test_y_channel: true it is of RGB." in capsys.readouterr().out
    assert cli.main(["check", str(file), "--force_yml", "trian:x=1"]) == 1
    assert "Did you mean train?" in capsys.readouterr().out


def test_an_option_file_of_a_comparison(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = ROOT / "options/compare/quickstart.yml"
    assert cli.main(["check", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file}: understood"
    assert any(line.startswith("  not here: line 13: sets: ") and "held_out/HR.lmdb" in line for line in lines), lines
    assert cli.main(["check", str(file), "--force_yml", "scalse=[2]"]) == 1
    assert "Did you mean scales?" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_a_wrong_argument(tmp_path, capsys):
    assert cli.main(["check", str(ESPCN), str(tmp_path / "gone.yml")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and f"option file: {tmp_path / 'gone.yml'} does not exist" in err
