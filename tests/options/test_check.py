"""What the check of an option file refuses, what it changes, and which option files it leaves alone."""

import os
from argparse import Namespace

import pytest

from rcan_plugin.options.check import check, checked
from tests.conftest import read_options
from tests.rights import forbidden


def test_a_test_set_that_is_missing_is_named_with_what_makes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opt = read_options("test_RCAN_x4")
    for data in opt["datasets"].values():
        data |= {"phase": "test", "scale": 4}
    with pytest.raises(
        FileNotFoundError, match=r"Set5: dataroot_gt: .*scripts/prepare_benchmarks.py FOLDER_OR_ARCHIVE`"
    ):
        check(opt)


def test_option_files_of_others_pass_untouched(tmp_path):
    opt = {"datasets": {"val": {"type": "PairedImageDataset", "dataroot_gt": "nowhere"}}, "path": {}}
    opt["network_g"] = {"type": "EDSR"}
    parse = checked(lambda: (opt, None))
    assert parse() == (opt, None)
    for other in ({"network_sr": {"type": "EDSR"}}, {"network_g": None, "datasets": {}}):
        assert checked(lambda other=other: (other, None))() == (other, None)
    opt["network_g"]["type"] = "RCANArch"
    with pytest.raises(AttributeError):  # it now looks, and wants the option file's name
        parse()


def small_check(**changes):
    """Check options without data sets, with these at the top level."""
    opt = {"name": "run", "datasets": {}, "path": {}, **changes}
    check(opt)
    return opt


def test_what_is_missing_is_named_with_its_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"path: pretrain_network_g: gone\.pth does not exist .*set it to ~"):
        small_check(path={"pretrain_network_g": "gone.pth"})
    theirs = {"name": "Set5", "type": "PairedImageDataset", "dataroot_gt": str(tmp_path), "dataroot_lq": "nowhere"}
    with pytest.raises(FileNotFoundError, match=r"data set Set5: dataroot_lq: nowhere does not exist"):
        small_check(datasets={"val": theirs})
    same = {"pretrain_network_g": None, "resume_state": None}
    assert small_check(path=dict(same))["path"] == same


def test_a_refusal_ends_the_program_with_the_option_file_and_the_error(tmp_path):
    opt = {"name": "run", "is_train": True, "path": {"experiments_root": str(tmp_path / "experiments/run")}}
    opt |= {"network_g": None, "datasets": {"train": {"type": "DegradationPairedDataset"}}}
    with pytest.raises(SystemExit) as ended:
        checked(lambda: (opt, Namespace(opt="some.yml")))()
    assert str(ended.value).startswith("\nsome.yml: data set ?: option phase is missing")
    assert str(ended.value).endswith("Nothing was built, moved or written.")


def test_an_option_file_that_cannot_be_read_is_named_before_basicsr_reads_it(tmp_path, monkeypatch):
    def parse_options():
        raise AssertionError("BasicSR would read it, or wait for ever")

    path = tmp_path / "o.yml"
    monkeypatch.setattr("sys.argv", ["train", "--launcher", "pytorch", "-opt", str(path), "--auto_resume"])
    for make, text in (
        (lambda: None, f"option file: {path} does not exist (looked for from "),
        (lambda: os.mkfifo(path), f"option file: {path} is a FIFO (named pipe); expected a file"),
        (lambda: (path.unlink(), path.mkdir()), f"option file: {path} is a folder; expected a file"),
        (lambda: (path.rmdir(), path.touch()), f"option file: {path}: permission denied"),
    ):
        make()
        with forbidden(*[path] * path.is_file()), pytest.raises(SystemExit) as ended:
            checked(parse_options)()
        assert str(ended.value).startswith(f"\n{text}")


def test_what_may_not_be_read_ends_the_program_before_anything_is_moved(tiny, monkeypatch):
    monkeypatch.chdir(tiny)
    monkeypatch.setattr("sys.excepthook", None)
    monkeypatch.setattr("logging.raiseExceptions", True)
    opt = options_for(tiny, pretrain_network_g="w.pth", experiments_root="experiments/run")
    opt |= {"is_train": True}
    (tiny / "w.pth").touch()
    for path in ("HR", "HR/1.png", "w.pth"):
        with forbidden(tiny / path), pytest.raises(SystemExit) as ended:
            checked(lambda: (opt, Namespace(opt="some.yml")))()
        assert f"{path}: permission denied: change its permissions" in str(ended.value)
        assert str(ended.value).endswith("Nothing was built, moved or written.")
    assert sorted(path.name for path in tiny.iterdir()) == ["HR", "w.pth"]


def test_wrapping_twice_checks_once():
    def parse_options():
        return {}, None

    assert checked(checked(parse_options)).__wrapped__ is parse_options
