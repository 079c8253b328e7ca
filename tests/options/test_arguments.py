"""BasicSR's arguments, read before BasicSR reads them."""

import pytest

from rcan_plugin.options.arguments import check_launcher, parse_arguments, without_changes


def test_arguments_for_basicsr():
    given = ["-opt", "a.yml", "--launcher", "pytorch", "--local-rank", "1", "--auto_resume", "--force_yml", "name=b"]
    arguments = parse_arguments(given)
    assert arguments.force_yml == ["name=b"]
    assert without_changes(arguments) == [
        "-opt", "a.yml", "--launcher", "pytorch", "--local_rank", "1", "--auto_resume",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["-opt", "a", "--resume"], "unrecognized arguments: --resume"),
        (["-opt"], "argument -opt: expected one argument"),
        (["-opt", "a", "--launcher", "mpi"], "argument --launcher: invalid choice: 'mpi'"),
        (["-opt", "a", "--local_rank", "x"], "argument --local_rank/--local-rank: invalid int value: 'x'"),
        (["-opt", "a", "--force_yml"], "argument --force_yml: expected at least one argument"),
        ([], "the following arguments are required: -opt"),
    ],
)
def test_wrong_arguments(wrong, said, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(wrong)
    assert said in capsys.readouterr().err


def test_launchers_need_their_environment(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    assert check_launcher("none") == check_launcher("pytorch") == []
    monkeypatch.delenv("LOCAL_RANK")
    (mistake,) = check_launcher("pytorch")
    assert str(mistake).startswith(
        "--launcher: is pytorch, and LOCAL_RANK is not in the environment: start with torchrun"
    )
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    assert "start with srun" in check_launcher("slurm")[0].text
