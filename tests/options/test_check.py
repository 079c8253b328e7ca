"""How the check wraps BasicSR's `parse_options`: what it gives to BasicSR, what it leaves alone, how it refuses."""

import inspect
import sys
from pathlib import Path

import pytest
from basicsr.utils.options import parse_options

from rcan_plugin.options.arguments import parse_arguments, without_changes
from rcan_plugin.options.check import checked
from tests.conftest import write_options
from tests.options.wrong import changed, stock, training
from tests.rights import forbidden


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An option file, named by the arguments of this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train", "-opt", "o.yml"])
    monkeypatch.setattr("sys.excepthook", None)
    return write_options(tmp_path / "o.yml", training())


def never(*_, **__):
    raise AssertionError("BasicSR would read it")


def test_basicsr_gets_what_was_read(path, monkeypatch):
    given = {}

    def parse(root_path, is_train):
        given["argv"] = list(sys.argv)
        given["opt"], _ = inspect.unwrap(parse_options)(root_path, is_train=is_train)
        raise InterruptedError

    arguments = ["-opt", "o.yml", "--force_yml", "name=other", "train:total_iter=2", "val:val_freq=1e3", "--debug"]
    monkeypatch.setattr("sys.argv", ["train", *arguments])
    with pytest.raises(InterruptedError):
        checked(parse)("root")
    assert given["argv"] == ["train", "-opt", "o.yml", "--launcher", "none", "--local_rank", "0", "--debug"]
    opt = given["opt"]
    assert (opt["name"], opt["train"]["total_iter"], opt["val"]["val_freq"]) == ("debug_other", 2, 8)
    assert opt["path"]["models"] == "root/experiments/debug_other/models"
    assert sys.argv == ["train", *arguments]


def test_option_files_of_others_are_left_alone(path, monkeypatch):
    write_options(path, changed(stock(), scal=2))
    left = checked(lambda root_path, is_train: ("untouched", None))
    assert left("root", is_train=True) == ("untouched", None)
    for change in ({"network_g": {"type": "RCANArch"}}, {"model_type": "AcceleratedSRModel"}):
        write_options(path, changed(stock(), scal=2, **change))
        with pytest.raises(SystemExit, match="Did you mean scale"):
            checked(never)("root")
    write_options(path, changed(stock(), scal=2))
    with pytest.raises(SystemExit, match="Did you mean scale"):
        checked(never, only_ours=False)("root")


def test_a_refusal_has_all_mistakes_and_nothing_is_read_by_basicsr(path):
    write_options(path, changed(training(), train__total_iter=0, name="../x"))
    with pytest.raises(SystemExit) as ended:
        checked(never)("root")
    first, name, total, last = str(ended.value).strip().splitlines()
    assert first == "o.yml: 2 mistakes" and last == "Nothing was built, moved or written."
    assert name == "  line 1: name: is ../x; expected a name without `/` of at most 200 bytes."
    assert total.endswith("train: total_iter: is 0; expected a whole number from 1 to 1000000000.")


def test_of_several_processes_one_prints(path, monkeypatch):
    write_options(path, changed(training(), scal=2))
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as ended:
        checked(never)("root")
    assert ended.value.code == 1


@pytest.mark.parametrize("launcher", ["none", "pytorch"])
def test_option_files_that_cannot_be_read(launcher, path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr("sys.argv", ["train", "--launcher", launcher, "-opt", "o.yml", "--auto_resume"])
    for make, text in (
        (lambda: path.unlink(), "No such file or directory"),
        (lambda: path.mkdir(), "Is a directory"),
        (lambda: (path.rmdir(), path.touch()), "Permission denied"),
    ):
        make()
        with forbidden(*[path] * path.is_file()), pytest.raises(SystemExit) as ended:
            checked(never)("root")
        assert f"the option file cannot be read: {text}: check the path." in str(ended.value)


def test_code_in_an_option_file_does_not_run(path, monkeypatch):
    path.write_text(path.read_text() + "x: !!python/object/apply:os.mkdir [ran]\n")
    with pytest.raises(SystemExit, match=r"!!python/object/apply:os\.mkdir would run code: write a plain value"):
        checked(never)("root")
    assert not Path("ran").exists()


def test_arguments():
    arguments = parse_arguments(["-opt", "a.yml", "--launcher", "pytorch", "--local-rank", "1", "--auto_resume"])
    assert without_changes(arguments) == [
        "-opt", "a.yml", "--launcher", "pytorch", "--local_rank", "1", "--auto_resume",
    ]  # fmt: skip
    for wrong in (["--resume"], ["-opt"], ["-opt", "a", "--launcher", "mpi"], ["-opt", "a", "--local_rank", "x"], []):
        with pytest.raises(SystemExit):
            parse_arguments(wrong)


def test_wrapping_twice_checks_once():
    def parse(root_path, is_train=True):
        return {}, None

    assert checked(checked(parse)).__wrapped__ is parse
