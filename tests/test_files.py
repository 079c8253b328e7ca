"""Checks of files and folders, and what errors of the operating system say."""

import errno
import logging
import os
import sys
import threading

import pytest

from rcan_plugin._files import (
    describe_error,
    kind_of,
    naming,
    report_uncaught,
    require_file,
    require_folder,
    require_writable,
    written_beside,
)
from tests.disks import files_up_to
from tests.rights import forbidden


def failed(number: int, *more: object) -> OSError:
    return OSError(number, os.strerror(number), *more)


def test_errors_in_words():
    assert describe_error(failed(errno.EACCES, "HR/a.png")) == (
        "HR/a.png: permission denied: change its permissions or owner (chmod, chown), or choose another place."
    )
    assert describe_error(failed(errno.ENOSPC)) == "no space left on device: free some space, or choose another disk."
    assert describe_error(failed(errno.EIO, "a", None, "b")) == "a and b: input/output error."
    assert describe_error(failed(errno.EIO, b"\xff/a")) == "\udcff/a: input/output error."
    for error in (OSError("a text of its own"), ValueError("a value")):
        assert describe_error(error) == str(error)
    assert describe_error(OSError(errno.ENOSPC, "a needs 3 MB")) == "[Errno 28] a needs 3 MB"


def test_kinds(tmp_path):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("gone")
    expected = {"": "a folder", "file": "a file", "fifo": "a FIFO (named pipe)", "link": "a broken link"}
    expected |= {"gone": "nothing", "file/below": "nothing", "/dev/null": "a device"}
    assert {name: kind_of(tmp_path / name) for name in expected} == expected


def test_a_file_that_is_required(tmp_path):
    path = tmp_path / "w.pth"
    for make, error, text in (
        (
            lambda: None,
            FileNotFoundError,
            r"path: pretrain: .*w\.pth does not exist \(looked for from .*\): correct it\.",
        ),
        (lambda: path.symlink_to("gone"), FileNotFoundError, r"w\.pth is a broken link"),
        (lambda: (path.unlink(), path.mkdir()), ValueError, r"w\.pth is a folder; expected a file: correct it\."),
        (lambda: (path.rmdir(), os.mkfifo(path)), ValueError, r"w\.pth is a FIFO \(named pipe\); expected a file"),
    ):
        make()
        with pytest.raises(error, match=text):
            require_file("path: pretrain", path)
    path.unlink()
    path.touch()
    require_file("path: pretrain", path)
    with forbidden(path), pytest.raises(PermissionError, match=rf"^path: pretrain: {path}: permission denied: change "):
        require_file("path: pretrain", path)


def test_a_folder_that_is_required(tmp_path):
    require_folder("data", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^data: .*file is a file; expected a folder: correct it\.$"):
        require_folder("data", tmp_path / "file")
    with pytest.raises(FileNotFoundError, match=r"^data: .*gone does not exist \(looked for from .*\): correct it\.$"):
        require_folder("data", tmp_path / "gone")
    with (
        forbidden(tmp_path, mode=0o300),
        pytest.raises(PermissionError, match=rf"^data: {tmp_path}: permission denied"),
    ):
        require_folder("data", tmp_path)


def test_a_folder_to_write_to(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    require_writable("output", tmp_path)
    require_writable("output", tmp_path / "new/folder")
    monkeypatch.chdir(tmp_path)
    require_writable("output", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for name in ("file", "file/new"):
        with pytest.raises(ValueError, match=rf"^output {name} cannot be made: .*file is a file; expected a folder"):
            require_writable("output", name)
    with forbidden(tmp_path, mode=0o500):
        with pytest.raises(
            PermissionError, match=rf"^output {tmp_path} cannot be written to: permission denied: change"
        ):
            require_writable("output", tmp_path)
        with pytest.raises(PermissionError, match=rf"^output new/a cannot be made in {tmp_path}: permission denied"):
            require_writable("output", "new/a")

    def full(_):
        raise failed(errno.ENOSPC)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"^output new cannot be made in .*: no space left on device: free some space"):
        require_writable("output", "new")


def test_a_disk_that_takes_half_of_a_file_is_said_with_its_name(tmp_path):
    path = tmp_path / "a"
    for before in (None, b"before"):
        if before:
            path.write_bytes(before)
        with files_up_to(1000), pytest.raises(OSError) as error, written_beside(path) as beside:
            beside.write_bytes(bytes(3000))
        assert str(error.value) == f"[Errno {errno.EFBIG}] File too large: '{path}'"
        assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == ([("a", before)] if before else [])
    with pytest.raises(IsADirectoryError) as error, written_beside(tmp_path / "b") as beside:
        beside.touch()
        (tmp_path / "b").mkdir()
    assert str(error.value) == f"[Errno {errno.EISDIR}] Is a directory: '{tmp_path / 'b'}'"


def test_a_name_is_given_to_errors_that_have_none():
    for raised, name in ((failed(errno.EIO), "x"), (failed(errno.EIO, "y"), "y"), (OSError("own text"), None)):
        with pytest.raises(OSError) as error, naming("x"):
            raise raised
        assert error.value.filename == name


def test_an_error_of_the_system_that_ends_a_program_is_a_message_and_in_the_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    log, handler = logging.getLogger("basicsr"), logging.FileHandler(tmp_path / "log")
    monkeypatch.setattr(log, "handlers", [handler])
    report_uncaught()

    def end_with(error: Exception) -> str:
        try:
            raise error
        except Exception:
            sys.excepthook(*sys.exc_info())
        return capsys.readouterr().err

    def end_with_in_thread(error: Exception) -> None:
        raise error

    assert end_with(failed(errno.ENOSPC, "5.state")) == (
        "\n5.state: no space left on device: free some space, or choose another disk.\n"
    )
    thread = threading.Thread(target=end_with_in_thread, args=(failed(errno.ENOSPC, "events"),))
    thread.start()
    thread.join()
    assert capsys.readouterr().err == "\nevents: no space left on device: free some space, or choose another disk.\n"
    handler.close()
    assert "Traceback" in (tmp_path / "log").read_text()
    worker = (
        "Caught OSError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\nOSError: gone"
    )
    assert end_with(OSError(worker)) == "\nOSError: gone\n"
    assert "Traceback" in end_with(ValueError("a fault of the program"))
    assert logging.raiseExceptions is False
