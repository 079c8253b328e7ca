"""Which pictures the inputs of `rcan upscale` lead to."""

import os
from pathlib import Path

import pytest

from rcan_plugin.upscaling.inputs import find, printable
from tests.rights import forbidden


def is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in (".png", ".jpg")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def below(*inputs: str | Path, output: str | Path = "out", lines=()) -> list[str]:
    """The places of the results below the output folder."""
    return [str(one.below) for one in find([str(path) for path in inputs], Path(output), is_picture, lines).found]


def test_a_folder_is_read_with_its_subfolders_and_a_file_whatever_its_name(tmp_path):
    touch(tmp_path, "in/b.png", "in/a b.JPG", "in/sub/deep/c.d.png", "in/.hidden.png", "in/.git/e.png", "in/notes.txt")
    touch(tmp_path, "in/noname", "in/日本.png", "odd.name", ".own.png")
    inputs = find([str(tmp_path / "in")], tmp_path / "out", is_picture)
    assert [str(one.below) for one in inputs.found] == ["a b.JPG", "b.png", "日本.png", "sub/deep/c.d.png"]
    assert [one.path for one in inputs.found][-1] == tmp_path / "in/sub/deep/c.d.png"
    assert [path.name for path in inputs.ignored] == ["noname", "notes.txt"]
    assert inputs.ignored_in_words() == "1 without suffix, 1 .txt" and not inputs.failures
    assert below(tmp_path / "odd.name", tmp_path / ".own.png", tmp_path / "in/sub") == [
        "odd.name",
        ".own.png",
        "deep/c.d.png",
    ]


def test_the_output_inside_a_folder_is_not_read(tmp_path, monkeypatch):
    touch(tmp_path, "in/a.png", "in/out/a.png", "in/out/sub/b.png", "in/other/c.png")
    (tmp_path / "link").symlink_to("in/out")
    assert below(tmp_path / "in", output=tmp_path / "in/out") == ["a.png", "other/c.png"]
    assert below(tmp_path / "in", output=tmp_path / "link") == ["a.png", "other/c.png"]
    monkeypatch.chdir(tmp_path / "in")
    assert below(".", output="out/") == ["a.png", "other/c.png"]
    assert below(".", output=".") == ["a.png", "other/c.png", "out/a.png", "out/sub/b.png"]


def test_links_are_followed_once(tmp_path):
    touch(tmp_path, "in/sub/a.png", "elsewhere/b.png")
    (tmp_path / "in/sub/up").symlink_to("..")
    (tmp_path / "in/link").symlink_to("../elsewhere")
    (tmp_path / "in/again").symlink_to("../elsewhere")
    (tmp_path / "in/file.png").symlink_to("sub/a.png")
    (tmp_path / "in/gone.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "in/pipe.png")
    inputs = find([str(tmp_path / "in")], tmp_path / "out", is_picture)
    assert [str(one.below) for one in inputs.found] == ["file.png", "again/b.png", "sub/a.png"]
    assert inputs.failures == {
        tmp_path / "in/gone.png": "is a broken link; expected a picture or a folder.",
        tmp_path / "in/pipe.png": "is a FIFO (named pipe); expected a picture or a folder.",
    }


def test_a_list_of_names(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "a b.png", "in/c.png"))
    odd = os.fsdecode(b"caf\xe9.png")
    Path(odd).touch()
    lines = [b"a b.png\n", b"\n", b"gone.png\r\n", b"caf\xe9.png\n", b"in"]
    inputs = find(["-"], tmp_path / "out", is_picture, lines)
    assert [str(one.below) for one in inputs.found] == ["a b.png", odd, "c.png"]
    assert inputs.failures == {Path("gone.png"): "does not exist."}
    assert below("-", "in", lines=[b"a b.png\n"]) == ["a b.png", "c.png"]
    assert printable(odd) == r"caf\xe9.png"
    with pytest.raises(ValueError, match="one a line: there are none"):
        find(["-"], tmp_path, is_picture, [b"\n"])
    with pytest.raises(ValueError, match="is given 2 times"):
        find(["-", "-"], tmp_path, is_picture, lines)


def test_what_is_named_twice_is_read_once(tmp_path):
    folder = touch(tmp_path, "in/a.png", "in/sub/b.png") / "in"
    assert below(folder, folder / "a.png", folder) == ["a.png", "sub/b.png"]
    assert below(folder, folder / "sub/b.png") == ["a.png", "sub/b.png", "b.png"]


def test_inputs_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png does not exist \(looked for from "):
        below(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"/dev/null is a device; expected a picture or a folder\."):
        below("/dev/null")
    with pytest.raises(ValueError, match="An input is an empty text"):
        below("")


def test_folders_that_may_not_be_read(tmp_path):
    touch(tmp_path, "in/a.png", "in/closed/b.png", "in/c.png")
    closed = tmp_path / "in/closed"
    with forbidden(closed):
        inputs = find([str(tmp_path / "in")], tmp_path / "out", is_picture)
        with pytest.raises(PermissionError, match=rf"^input: {closed}: permission denied"):
            below(closed)
    assert [str(one.below) for one in inputs.found] == ["a.png", "c.png"]
    assert list(inputs.failures) == [closed] and "permission denied: change" in inputs.failures[closed]
