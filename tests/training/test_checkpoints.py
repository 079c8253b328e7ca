"""Checkpoint files: complete or not there, damage detected, the newest first."""

import os
import types
from pathlib import Path

import pytest
import torch

from rcan_plugin.training import checkpoints
from tests.comparison import names_all, same
from tests.disks import failing, names, real_save


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")])
def test_a_disk_that_fails_twice(error, tmp_path, monkeypatch, pauses):
    monkeypatch.setattr(torch, "save", failing(2, error))
    checkpoints.save({"x": torch.ones(3)}, tmp_path / "net.pth")
    assert same(checkpoints.load(tmp_path / "net.pth"), {"x": torch.ones(3)})
    assert names(tmp_path) == ["net.pth"] and pauses == [1.0, 1.0]


def test_a_disk_that_always_fails_leaves_the_old_file(tmp_path, monkeypatch, pauses):
    path = tmp_path / "net.pth"
    checkpoints.save({"x": 1}, path)
    monkeypatch.setattr(torch, "save", failing(9))
    with pytest.raises(OSError) as caught:
        checkpoints.save({"x": 2}, path)
    assert names_all(caught.value, f"{path} could not be written in 3 attempts", "No space left", "--auto_resume")
    assert checkpoints.load(path) == {"x": 1} and names(tmp_path) == ["net.pth"] and len(pauses) == 2


def test_the_old_file_is_whole_until_the_new_one_is(tmp_path, monkeypatch):
    path = tmp_path / "net.pth"
    checkpoints.save({"x": 1}, path)
    seen = []

    def save(content, file):
        real_save(content, file)
        file.flush()
        seen.append((checkpoints.load(path), names(tmp_path)))

    monkeypatch.setattr(torch, "save", save)
    checkpoints.save({"x": 2}, path)
    assert seen == [({"x": 1}, ["net.pth", "net.pth.part"])]
    assert checkpoints.load(path) == {"x": 2} and names(tmp_path) == ["net.pth"]


def test_where_folders_cannot_be_flushed(tmp_path, monkeypatch, pauses):
    """As on Windows, which does not open them."""

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(checkpoints.os, "open", refuse)
    checkpoints.save({"x": 1}, tmp_path / "net.pth")
    assert checkpoints.load(tmp_path / "net.pth") == {"x": 1} and pauses == []


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "another object"])
def test_a_damaged_file_is_reported(damage, tmp_path):
    path = tmp_path / "1.state"
    checkpoints.save({"x": torch.ones(100)}, path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:300], "empty": b"", "text": b"not a checkpoint"}.get(damage, whole))
    if damage == "another object":
        torch.save({"x": types.SimpleNamespace()}, path)
    with pytest.raises(ValueError, match=rf"^{path} cannot be read \(.+\)$"):
        checkpoints.load(path)
    with pytest.raises(FileNotFoundError, match=r"2\.state does not exist\.$"):
        checkpoints.load(tmp_path / "2.state")


def test_the_newest_states_first(tmp_path):
    for number in (9, 100, 20):
        (tmp_path / f"{number}.state").touch()
    (tmp_path / "200.state.part").touch()
    assert [path.stem for path in checkpoints.states(tmp_path)] == ["100", "20", "9"]


@pytest.mark.parametrize("killed_at", [0, 1])
def test_a_run_killed_while_it_deletes_leaves_nothing(killed_at, tmp_path, monkeypatch):
    for iteration in (2, 4):
        (tmp_path / f"net_g_{iteration}.pth").touch()
        (tmp_path / f"{iteration}.state").touch()
        os.utime(tmp_path / f"{iteration}.state", (iteration, iteration))
    unlink, calls = Path.unlink, []

    def killed(path, missing_ok=False):
        calls.append(path)
        if len(calls) > killed_at:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", killed)
        checkpoints.prune(tmp_path, tmp_path, keep=1)
    checkpoints.prune(tmp_path, tmp_path, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["4.state", "net_g_4.pth"]


def test_what_is_no_state_is_distinguished(tmp_path):
    """Copies, hidden files of macOS, folders."""
    odd = ["._20.state", "30 (copy).state", "abc.state", "1e3.state", "-1.state"]
    for name in ["20.state", *odd]:
        (tmp_path / name).touch()
    (tmp_path / "40.state").mkdir()
    assert checkpoints.states(tmp_path) == [tmp_path / "20.state"]
    assert names_of(checkpoints.misnamed_states(tmp_path)) == {*odd, "40.state"}
    assert checkpoints.set_aside(tmp_path / "20.state") == tmp_path / "20.state.rejected"
    assert checkpoints.states(tmp_path) == [] and (tmp_path / "20.state.rejected").is_file()


def names_of(paths) -> set[str]:
    return {path.name for path in paths}


STATE = {"iter": 3, "epoch": 0, "optimizers": [{"state": {0: {"exp_avg": torch.ones(2)}}}], "schedulers": []}
BAD_STATES = {
    "a list": ([1], "it holds a list"),
    "no optimizers": ({key: value for key, value in STATE.items() if key != "optimizers"}, "it has no optimizers"),
    "no number": ({**STATE, "iter": "3"}, "iter is a str"),
    "NaN": (
        {**STATE, "optimizers": [{"state": {0: {"exp_avg": torch.tensor([1, torch.nan])}}}]},
        "values that are NaN or infinite in its optimizers",
    ),
    "inf": ({**STATE, "optimizers": [{"state": {0: [torch.tensor(torch.inf)]}}]}, "values that are NaN or infinite"),
}


@pytest.mark.parametrize("bad", BAD_STATES)
def test_a_file_that_is_no_training_state(bad, tmp_path):
    path = tmp_path / "3.state"
    checkpoints.save(STATE, path)
    assert same(checkpoints.load_state(path), STATE)
    content, reason = BAD_STATES[bad]
    checkpoints.save(content, path)
    with pytest.raises(ValueError) as caught:
        checkpoints.load_state(path)
    assert names_all(caught.value, path, reason)


def test_a_folder_without_states(tmp_path):
    assert checkpoints.states(tmp_path) == checkpoints.states(tmp_path / "missing") == []
