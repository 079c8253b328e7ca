"""What the check of an option file refuses, what it changes, and which option files it leaves alone."""

from argparse import Namespace

import pytest

from rcan_plugin.options.check import check, checked
from tests.conftest import read_options


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
    with pytest.raises(AttributeError):  # it now looks, and wants the option file's name for its message
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


def test_a_refusal_ends_the_program_with_the_option_file_and_the_error():
    opt = {"name": "run", "path": {}, "network_g": None, "datasets": {"train": {"type": "DegradationPairedDataset"}}}
    with pytest.raises(SystemExit) as ended:
        checked(lambda: (opt, Namespace(opt="some.yml")))()
    assert str(ended.value).startswith("\nsome.yml: data set ?: option phase is missing")
    assert str(ended.value).endswith("Nothing was built, moved or written.")


def test_wrapping_twice_checks_once():
    def parse_options():
        return {}, None

    assert checked(checked(parse_options)).__wrapped__ is parse_options
