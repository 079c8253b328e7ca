"""A full or read-only disk, too little memory and Ctrl-C end a run with a message, and the next run resumes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rcan_plugin.cli import _lmdb, create_lmdb, prepare_div2k
from rcan_plugin.images.sources import find_images
from rcan_plugin.preparation import convert, writer
from rcan_plugin.preparation import prepare as preparation
from rcan_plugin.preparation.encode import EncodedImage
from rcan_plugin.preparation.prepare import Job, prepare
from tests.data.tiny import picture, write
from tests.preparation.stopped_runs import CREATE, content, done_in, half_made
from tests.rights import forbidden

MIB = 1 << 20


WITH = """
import resource, runpy, shutil, sys, time
from rcan_plugin.preparation import prepare as preparation, writer

def believe_in_space():
    shutil.disk_usage = lambda _: shutil._ntuple_diskusage(1 << 40, 0, 1 << 40)

{}
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A script that finds the world a little different."""


SMALL_COMMITS = "writer.COMMIT_BYTES = 500_000"


NO_CHECK = f"{SMALL_COMMITS}; believe_in_space()"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four images of 0.7 MB each, raw."""
    for i in range(4):
        write(tmp_path / f"HR/{i}.png", picture(480, 512, seed=i))
    return tmp_path / "HR"


class Disk:
    """A small file system of memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.mounted = self._mount("size=2M", "tmpfs")

    def _mount(self, options: str, *more: str) -> bool:
        command = ["mount", *(["-t", "tmpfs"] if more else []), "-o", options, *more, str(self.folder)]
        return bool(shutil.which("mount")) and not subprocess.run(command, capture_output=True, check=False).returncode

    def grow(self) -> None:
        assert self._mount("remount,size=16M")

    def seal(self) -> None:
        assert self._mount("remount,ro")

    def fill(self) -> Path:
        with (self.folder / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        return self.folder / "filling"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    if not made.mounted:
        pytest.skip("to mount a file system is not permitted here")
    yield made
    subprocess.run(["umount", "-l", made.folder], check=True)


def assert_same(found: Path, expected: Path) -> None:
    assert content(found / "HR.lmdb") == content(expected / "HR.lmdb")


def test_too_little_space_is_reported_before_anything_is_written(disk, pictures, tmp_path, run):
    out = disk.folder / "set"
    said = run(CREATE, pictures, "--out", out, code=2).stderr
    expected = rf"{half_made(out)} needs 0.00297 GB more and has 0.00\d+ GB free: free some space or choose another"
    assert re.search(expected, said) and "Traceback" not in said
    assert not list(disk.folder.rglob("*.lmdb"))
    disk.grow()
    run(CREATE, pictures, "--out", out)
    run(CREATE, pictures, "--out", tmp_path / "elsewhere")
    assert_same(out, tmp_path / "elsewhere")


def assert_stopped(out: Path, said: str, why: str) -> None:
    assert f"writing stopped: {why}" in said and f"What is written is kept in {half_made(out)}" in said
    assert "run the same command again" in said and "Traceback" not in said
    assert not list(out.glob("*.lmdb"))


def assert_refused(out: Path, text: str, why: str) -> None:
    """Refused before any image was read."""
    assert text.startswith(f"folder of the LMDBs {out} cannot be made") and why in text and text.count("\n") == 1


def test_a_disk_that_fills_up_stops_the_run_and_with_room_made_it_continues(disk, pictures, tmp_path, run):
    out = disk.folder / "set"
    said = run("-c", WITH.format(NO_CHECK), CREATE, pictures, "--out", out, code=2).stderr
    assert_stopped(out, said, "mdb_txn_commit")
    assert_refused(out, run(CREATE, pictures, "--out", out, code=2).stderr, "no space left on device: free some space")
    disk.grow()
    said = run("-c", WITH.format(SMALL_COMMITS), CREATE, pictures, "--out", out).stdout
    assert "resuming a stopped run: 2 images of 4 are written" in said
    run(CREATE, pictures, "--out", tmp_path / "elsewhere")
    assert_same(out, tmp_path / "elsewhere")


def test_a_disk_that_is_full_to_the_last_byte_is_an_error_like_others(disk, pictures, run):
    out = disk.folder / "set"
    run(CREATE, pictures, "--out", out, code=2)
    filling = disk.fill()
    assert_refused(out, run(CREATE, pictures, "--out", out, code=2).stderr, "no space left on device: free some space")
    filling.unlink()
    disk.grow()
    run(CREATE, pictures, "--out", out)


def test_a_file_that_may_not_grow_further_stops_the_run(pictures, tmp_path, run):
    limit = f"{SMALL_COMMITS}; resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))"
    out = tmp_path / "out/set"
    assert_stopped(out, run("-c", WITH.format(limit), CREATE, pictures, "--out", out, code=2).stderr, "mdb_txn_commit")
    said = run(CREATE, pictures, "--out", out).stdout
    assert "resuming a stopped run: 2 images of 4 are written" in said
    run(CREATE, pictures, "--out", tmp_path / "elsewhere")
    assert_same(out, tmp_path / "elsewhere")


def test_a_map_that_is_too_small_stops_the_run(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "COMMIT_BYTES", 500_000)
    out = tmp_path / "out/set"
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "_map_size", lambda _: 2 * MIB)
        with pytest.raises(OSError, match=rf"writing stopped: .*MDB_MAP_FULL.* is kept in {half_made(out)}"):
            prepare(Job(out), find_images(pictures))
    assert not list(out.glob("*.lmdb")) and len(done_in(out)) == 2
    prepare(Job(out), find_images(pictures))
    prepare(Job(tmp_path / "elsewhere"), find_images(pictures))
    assert_same(out, tmp_path / "elsewhere")


@pytest.mark.parametrize("place", ["file/set", "file", "/proc/set", "sealed/set"])
def test_a_place_that_cannot_be_written_to_is_reported(pictures, tmp_path, place, capsys):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "sealed").mkdir()
    with forbidden(tmp_path / "sealed", mode=0o500):
        assert create_lmdb.main([str(pictures), "--out", str(tmp_path / place)]) == 2
    said = capsys.readouterr().err
    assert_refused(tmp_path / place, said, "choose another place")
    assert (tmp_path / "file").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"HR", "file", "sealed"}


def test_a_folder_that_exists_and_may_not_be_written_to_is_reported_first(pictures, tmp_path, capsys):
    """The work folder beside it could be filled, and the LMDBs not moved into it."""
    out = tmp_path / "out/train"
    out.mkdir(parents=True)
    text = f"folder of the LMDBs {out} cannot be written to: permission denied: change its permissions"
    with forbidden(out, mode=0o500):
        assert create_lmdb.main([str(pictures), "--out", str(out)]) == 2
        assert capsys.readouterr().err.startswith(text)
        arguments = ["--root", str(tmp_path / "out"), "--source", str(tmp_path), "--splits", "valid", "train"]
        assert prepare_div2k.main(arguments) == 2
        assert capsys.readouterr().err.startswith(text)
    assert [path.name for path in tmp_path.rglob("*") if path.parent != pictures] == ["HR", "out", "train"]


def test_a_disk_that_may_only_be_read_is_reported(disk, pictures, run):
    disk.seal()
    said = run(CREATE, pictures, "--out", disk.folder / "set", code=2).stderr
    assert_refused(disk.folder / "set", said, "read-only file system: choose another disk")


def test_a_disk_or_a_link_to_another_is_as_good_a_place_as_others(disk, pictures, tmp_path, run):
    disk.grow()
    run(CREATE, pictures, "--out", disk.folder)
    (disk.folder / "other").mkdir()
    (tmp_path / "link").symlink_to(disk.folder / "other")
    run(CREATE, pictures, "--out", tmp_path / "link")
    run(CREATE, pictures, "--out", tmp_path / "elsewhere")
    assert_same(disk.folder, tmp_path / "elsewhere")
    assert_same(disk.folder / "other", tmp_path / "elsewhere")


def test_what_is_not_ours_stays(pictures, tmp_path, run):
    write(tmp_path / "set.part/mine.png", picture(8, 8, seed=0))
    write(tmp_path / "set/mine.png", picture(8, 8, seed=0))
    said = run(CREATE, pictures, "--out", tmp_path / "set", code=2).stderr
    assert "mine.png" in said and "choose another folder" in said and "Traceback" not in said
    assert (tmp_path / "set.part/mine.png").exists() and (tmp_path / "set/mine.png").exists()


def test_a_killed_worker_ends_the_run_and_the_next_continues(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "COMMIT_BYTES", 500_000)
    out = tmp_path / "out/set"

    def encode(key: str, *more: Any) -> EncodedImage:
        if key == "3":
            raise MemoryError
        return real(key, *more)

    real = convert.encode
    with monkeypatch.context() as patch:
        patch.setattr(convert, "encode", encode)
        with pytest.raises(MemoryError):
            prepare(Job(out), find_images(pictures))
    assert not list(out.glob("*.lmdb")) and done_in(out) == ["0", "1", "2"]
    prepare(Job(out), find_images(pictures))
    prepare(Job(tmp_path / "elsewhere"), find_images(pictures))
    assert_same(out, tmp_path / "elsewhere")


def test_memory_that_runs_out_is_reported_in_words(capsys):
    def action() -> None:
        raise MemoryError

    assert _lmdb.run(action) == 2
    assert capsys.readouterr().err == (
        "There is not enough memory: close other programs. Run the same command again to resume.\n"
    )


SLOW = f"""{SMALL_COMMITS}
put = writer.Writer.put
def slow(self, item, *more):
    put(self, item, *more)
    if item == "2":
        print("now", flush=True)
        time.sleep(900)
writer.Writer.put = slow"""


def test_ctrl_c_ends_the_script_and_the_next_continues(pictures, tmp_path, run):
    out = tmp_path / "set"
    arguments = [sys.executable, "-c", WITH.format(SLOW), CREATE, pictures, "--out", out]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and "now\n" in iter(process.stdout.readline, "")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 130 and said.endswith("\nStopped. Run the same command again to resume.\n")
    assert "Traceback" not in said and not list(out.glob("*.lmdb"))
    assert "resuming a stopped run: 3 images of 4" in run(CREATE, pictures, "--out", out).stdout
    run(CREATE, pictures, "--out", tmp_path / "elsewhere")
    assert_same(out, tmp_path / "elsewhere")


PEAK = """writer.COMMIT_BYTES = 16 << 20
import atexit
from pathlib import Path
atexit.register(lambda: print(Path("/proc/self/status").read_text()))"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to tell the most memory held")
def test_the_memory_held_does_not_grow_with_the_set(tmp_path, run):
    peaks = []
    for count in (40, 160):
        folder = tmp_path / str(count)
        for i in range(4):
            write(folder / f"{i}.png", picture(452, 680, seed=i))
        for i in range(4, count):
            os.link(folder / f"{i % 4}.png", folder / f"{i}.png")
        arguments = ["--out", folder / "out", "--scales", "2", "--degradations", "BI"]
        said = run("-c", WITH.format(PEAK), CREATE, folder, *arguments, fresh=True).stdout
        peaks.append(int(re.search(r"VmHWM:\s+(\d+) kB", said)[1]) // 1024)
    assert peaks[1] < 600 and peaks[1] - peaks[0] < 50, f"{peaks} MB; raw, the second set takes 180 MB"
