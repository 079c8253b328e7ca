"""Output folders that BasicSR could not rename, make or write to are refused before it tries."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from rcan_plugin.options.outputs import check_outputs
from tests.rights import forbidden

DENIED = "permission denied: change its permissions"


@pytest.fixture
def opt(tmp_path, monkeypatch):
    """The options of a run whose earlier output exists, as BasicSR's `parse_options` makes them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o.yml").touch()
    (tmp_path / "tb_logger/run").mkdir(parents=True)
    root = tmp_path / "experiments/run"
    path = {"experiments_root": str(root), "pretrain_network_g": None}
    for name in ("models", "training_states", "visualization"):
        (root / name).mkdir(parents=True)
        path[name] = str(root / name)
    logger = {"use_tb_logger": True}
    return {"name": "run", "is_train": True, "rank": 0, "path": path, "datasets": {}, "logger": logger}


def refusal(opt, resuming: bool = False, option_file: str = "o.yml") -> str:
    """What is said; nothing may have changed."""
    before = sorted(Path().rglob("*"))
    with pytest.raises((OSError, ValueError)) as raised:
        check_outputs(opt, option_file, resuming)
    assert sorted(Path().rglob("*")) == before
    return str(raised.value)


def test_what_can_be_written_to_passes(opt, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    check_outputs(opt, "o.yml", resuming=False)
    check_outputs(opt, "o.yml", resuming=True)
    check_outputs({**opt, "name": "a/b", "path": {"experiments_root": "experiments/a/b"}}, "o.yml", resuming=False)
    shutil.rmtree("tb_logger")
    check_outputs({**opt, "rank": 1, "path": {}}, "o.yml", resuming=False)
    assert sorted(tmp_path.rglob("*")) == [path for path in before if "tb_logger" not in path.parts]


@pytest.mark.parametrize("folder", ["experiments", "tb_logger"])
def test_a_new_run(opt, folder, tmp_path):
    with forbidden(folder, mode=0o500):
        assert refusal(opt).startswith(f"output folder {tmp_path / folder} cannot be written to: {DENIED}")
    shutil.rmtree(folder)
    with forbidden(tmp_path, mode=0o500):
        assert refusal(opt).startswith("output folder ") and DENIED in refusal(opt)
    Path(folder).touch()
    assert refusal(opt).startswith(f"output folder {tmp_path / folder} cannot be made: {tmp_path / folder} is a file")
    opt["logger"] = {}
    if folder == "tb_logger":
        check_outputs(opt, "o.yml", resuming=False)  # it is not used


def test_a_test(opt, tmp_path):
    opt |= {"is_train": False, "path": {"results_root": str(tmp_path / "results/run")}}
    check_outputs(opt, "o.yml", resuming=False)
    Path("results").touch()
    assert "results is a file; expected a folder: move it away" in refusal(opt)


def test_a_folder_that_cannot_be_renamed(opt, monkeypatch):
    Path("experiments").chmod(stat.S_ISVTX | 0o777)
    check_outputs(opt, "o.yml", resuming=False)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert refusal(opt).endswith("experiments/run belongs to another user and cannot be renamed: change name.")
    monkeypatch.undo()
    monkeypatch.chdir(Path(opt["path"]["experiments_root"]).parents[1])
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "run")
    assert refusal(opt).endswith("experiments/run is a mount point and cannot be renamed: change name.")
    shutil.rmtree("experiments/run")
    Path("experiments/run").symlink_to("gone")
    assert refusal(opt).endswith("experiments/run is a broken link: remove it.")


def test_what_is_read_would_be_moved_away(opt, tmp_path):
    moved = ", the output of an earlier run, which BasicSR renames before it is read: change name, or copy it"
    assert refusal(opt, option_file="experiments/run/o.yml").startswith(
        f"option file: experiments/run/o.yml is in {tmp_path}/experiments/run{moved}"
    )
    opt["path"]["pretrain_network_g"] = f"{tmp_path}/experiments/run/models/net_g_latest.pth"
    assert refusal(opt).startswith(
        f"path: pretrain_network_g: {tmp_path}/experiments/run/models/net_g_latest.pth is in"
    )
    check_outputs(opt, "o.yml", resuming=True)
    opt["path"]["pretrain_network_g"] = "experiments/other/net_g_latest.pth"
    opt["datasets"] = {"train": {"name": "mine", "dataroot_gt": "link/models"}}
    Path("link").symlink_to("experiments/run")
    assert refusal(opt).startswith("data set mine: dataroot_gt: link/models is in ")


def test_a_resumed_run(opt, tmp_path):
    root = "experiments/run"
    for folder in (root, f"{root}/models", f"{root}/training_states", f"{root}/visualization", "tb_logger/run"):
        with forbidden(folder, mode=0o500):
            assert refusal(opt, resuming=True).startswith(
                f"output folder {tmp_path / folder} cannot be written to: {DENIED}"
            )
    Path(root, "o.yml").touch()
    with forbidden(f"{root}/o.yml", mode=0o400):
        assert "experiments/run/o.yml" in refusal(opt, resuming=True)
    assert "o.yml is what BasicSR overwrites when it resumes" in refusal(opt, True, f"{root}/o.yml")
    shutil.rmtree(root)
    assert refusal(opt, resuming=True).startswith(f"folder of the run to resume: {tmp_path / root} does not exist")


def test_states_that_may_not_be_listed_are_no_reason_for_a_new_run(opt):
    with forbidden("experiments/run/training_states"):
        check_outputs(opt, "o.yml", resuming=False)  # as asked for
        assert DENIED in refusal({**opt, "auto_resume": True})
