"""`benchmarks/training/runs.py`: the commands of its folders, and the logs that it keeps."""

import itertools
import shlex
from argparse import Namespace

import pytest
import torch

from benchmarks.training import local_pooling, runs
from rcan_plugin.compare.runs import PSNR, read
from rcan_plugin.options.examine import examine
from tests.conftest import ROOT

FOLDERS = sorted(path.parent.name for path in (ROOT / "benchmarks/training").glob("*/runs.yml"))
LOG = """\
2026-01-02 03:04:05,006 INFO: Version Information: secret
2026-01-02 03:04:05,106 INFO: Start training from epoch: 0, iter: 0
2026-01-02 03:04:15,106 INFO: [light..][epoch:  0, iter:   1,000, lr:(1.000e-03,)] [eta: 0:00:10] l_pix: 3.0e-02 
2026-01-02 03:05:05,106 INFO: Validation Set5
\t # psnr: {psnr:.4f}	Best: 31.0000 @ 1000 iter

"""  # noqa: W291, as BasicSR writes it


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_run_is_understood(folder):
    for name, command in runs.commands(ROOT / "benchmarks/training" / folder).items():
        assert command[:4] == ["python", "-m", "rcan_plugin.train", "-opt"]
        assert command[6] == f"name={folder}_{name}"
        if name.endswith(("_seed1", "_seed2")):
            continue  # as seed 0
        assert examine(ROOT / command[4], command[6:]).mistakes == [], name


def test_changes_and_seeds_are_those_of_the_folder():
    commands = runs.commands(ROOT / "benchmarks/training/ablation", only=["CA_seed2"], changes=["train:total_iter=3"])
    assert {name: shlex.join(command[4:]) for name, command in commands.items()} == {
        "CA_seed2": "benchmarks/training/ablation/base.yml --force_yml name=ablation_CA_seed2 "
        "network_g:long_skip=false network_g:short_skip=false manual_seed=2 train:total_iter=3"
    }
    assert list(runs.commands(ROOT / "benchmarks/training/ablation", only=["RIR", "CA_seed1"])) == [
        "CA_seed1", "RIR_seed0", "RIR_seed1", "RIR_seed2",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="ablation has no runs CB; it has none_seed0, none_seed1"):
        runs.commands(ROOT / "benchmarks/training/ablation", only=["CB"])


def test_logs_are_kept_without_the_machine_and_make_the_table(tmp_path, capsys):
    for seed, psnr in enumerate((30.5, 30.75, 31.0)):
        run = tmp_path / f"run{seed}"
        run.mkdir()
        (run / "train_x_1.log").write_text(LOG.format(psnr=psnr))
        runs.keep_log(run, tmp_path / f"folder/logs/CA_seed{seed}.log")
    assert (tmp_path / "folder/logs/CA_seed0.log").read_text().splitlines() == LOG.format(psnr=30.5).splitlines()[1:-1]
    assert runs.table(tmp_path / "folder") == 0
    # The sample deviation of 30.5, 30.75 and 31 is 0.25.
    assert capsys.readouterr().out.splitlines()[2] == "| CA | 30.75 ± 0.25 | 1 |"
    assert (tmp_path / "folder/curves.png").stat().st_size > 10_000


def test_a_run_killed_in_its_last_validation_goes_on(tmp_path, monkeypatch):
    """Its last weights are written before that validation."""
    folder, run = tmp_path / "small", tmp_path / "experiments/small_a"
    folder.mkdir()
    (folder / "runs.yml").write_text("options: base.yml\nruns: {a: {}}")
    for name in ("models/net_g_latest.pth", "training_states/2.state", "train_a_1.log"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(LOG.format(psnr=31))
    codes, started = [-9, 0], []
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.setattr(
        runs.subprocess, "run", lambda command, **_: started.append(command) or Namespace(returncode=codes.pop(0))
    )
    args = Namespace(commands=False, only=None, force_yml=[])
    assert [runs.train(folder, args) for _ in range(3)] == [-9, 0, 0]
    assert len(started) == 2 and started[1][-1] == "--auto_resume"
    assert (folder / "logs/a.log").exists()


def test_of_a_resumed_run_no_validation_is_lost(tmp_path):
    """One that the resumed run makes up for is logged before the line that it resumes."""
    resumed = """\
2026-01-02 04:00:05,106 INFO: The validation at iteration 2000 is not in the training state: validating now.
2026-01-02 04:00:06,106 INFO: Validation Set5
\t # psnr: 30.0000\tBest: 31.0000 @ 1000 iter
2026-01-02 04:00:07,106 INFO: Resuming training from epoch: 0, iter: 2000.
"""
    (tmp_path / "train_x_1.log").write_text(LOG.format(psnr=31))
    (tmp_path / "train_x_2.log").write_text(resumed)
    runs.keep_log(tmp_path, tmp_path / "kept.log")
    psnr = read(tmp_path / "kept.log").series[PSNR, "Set5"]
    assert (psnr.iterations, psnr.values) == ([1000, 2000], [31.0, 30.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "--only", "CA"], "--table shows all runs as they were logged"),
        (["--force_yml", "train:total_iter=3", "name=mine"], "--force_yml name: names are FOLDER_RUN"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["runs.py", "ablation", *arguments])
    with pytest.raises(SystemExit, match="2"):
        runs.main()
    assert message in capsys.readouterr().err


def test_a_folder_without_logs_has_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="logs has no logs: train the runs first"):
        runs.table(tmp_path)


def test_folders_are_named_by_paths_too_and_others_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["runs.py", "benchmarks/training/ablation/", "--only", "RIR_CA_seed0", "--commands"]
    )
    assert runs.main() == 0
    assert "name=ablation_RIR_CA_seed0 manual_seed=0" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["runs.py", "classic"])
    with pytest.raises(SystemExit):
        runs.main()
    assert "argument FOLDER: invalid choice: 'classic' (choose from" in capsys.readouterr().err


@pytest.mark.parametrize("size", [1, 4, 5, 8, 20])
def test_local_means_are_those_of_windows_within_the_image(size):
    x = torch.rand(1, 2, 7, 9, dtype=torch.float64)
    rows, columns = min(size, 7), min(size, 9)
    expected = torch.empty_like(x)
    for y, z in itertools.product(range(7), range(9)):
        top = min(max(y - (rows - 1) // 2, 0), 7 - rows)
        left = min(max(z - (columns - 1) // 2, 0), 9 - columns)
        expected[..., y, z] = x[..., top : top + rows, left : left + columns].mean((2, 3))
    torch.testing.assert_close(local_pooling.LocalMean(size)(x), expected, rtol=0, atol=1e-14)
