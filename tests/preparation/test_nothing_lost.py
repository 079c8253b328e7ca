"""However a run ends, what stands under a final name is whole, and the next run takes up the work."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

from rcan_plugin.cli import _lmdb
from rcan_plugin.degradations import degrade
from rcan_plugin.images.sources import find_images
from rcan_plugin.preparation import convert, writer
from rcan_plugin.preparation import prepare as preparation
from rcan_plugin.preparation.encode import EncodedImage
from rcan_plugin.preparation.prepare import Job, prepare
from tests.conftest import ROOT
from tests.data.tiny import picture, write

DRIVER = """
import collections, contextlib, errno, io, json, os, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import lmdb

from rcan_plugin.degradations.record import Recipe
from rcan_plugin.degradations import Degradation
from rcan_plugin.preparation import prepare as preparation, verify, writer
from rcan_plugin.images.sources import find_images

sys.dont_write_bytecode = True
verify.ProcessPoolExecutor = lambda *_, **__: ThreadPoolExecutor(1)  # for each order has a process of its own
steps, order, opened = 0, {}, collections.Counter()

def step(kind):
    # Before each change on disk: an LMDB's commit, and a file or folder made, renamed or removed.
    global steps
    if not order.get("counted") or order.get("only", kind) != kind:
        return
    steps += 1
    how = order.get("how")
    if how == "full" and steps >= order["at"] and kind in ("made", "commit"):
        raise OSError(errno.ENOSPC, "No space left on device") if kind == "made" else lmdb.Error("No space left")
    if steps == order.get("at"):
        if how == "interrupted":
            raise KeyboardInterrupt
        if how in ("killed", "stopped"):
            os.kill(os.getpid(), {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}[how])

def audit(event, arguments):
    if event == "open" and str(arguments[0]).startswith(order["hr"]):
        opened[Path(arguments[0]).name] += 1
    elif event == "os.mkdir" or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        step("made")
    elif event in ("os.rename", "os.remove", "os.rmdir"):
        step("other")

class Environment:
    def __init__(self, *arguments, **more):
        self.real = lmdb.open(*arguments, **more)
    def __getattr__(self, name):
        return getattr(self.real, name)
    def begin(self, **more):
        return Transaction(self.real.begin(**more))

class Transaction:
    def __init__(self, real):
        self.real = real
    def __getattr__(self, name):
        return getattr(self.real, name)
    def commit(self):
        step("commit")
        self.real.commit()

def run():
    writer.lmdb = SimpleNamespace(open=Environment, Error=lmdb.Error)
    writer.COMMIT_BYTES = order["commit_bytes"]
    recipes = [Recipe(Degradation(kind)) for kind in order["kinds"]]
    job = preparation.Job(Path(order["out"]), recipes, order["scales"], skip_bad=True)
    hr, lr = find_images(order["hr"]), {int(scale): find_images(place) for scale, place in order["lr"].items()}
    error, began, order["counted"] = None, time.monotonic(), True
    sys.addaudithook(audit)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            preparation.prepare(job, hr, lr)
        except BaseException as raised:
            error = [type(raised).__name__, str(raised)]
    order["counted"] = False
    took = time.monotonic() - began
    return {"steps": steps, "opened": opened, "error": error, "said": said.getvalue(), "took": took}

result = Path(sys.argv[1])
sys.stderr = open(os.devnull, "w")
for line in sys.stdin:
    order = json.loads(line)
    pid = order.get("continue") or os.fork()
    if not pid:
        done = {path: verify.verify(path) for path in order["verify"]} if "verify" in order else run()
        result.write_text(json.dumps(done))
        os._exit(0)
    if "continue" in order:
        os.kill(pid, signal.SIGCONT)
    if "after" in order:
        time.sleep(order["after"])
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, os.WUNTRACED)
    # One that was killed as it said so may have left half of it.
    said = json.loads(result.read_text()) if result.exists() and not os.WIFSIGNALED(status) else {}
    result.unlink(missing_ok=True)
    print(json.dumps({**said, "pid": pid, "killed": os.WIFSIGNALED(status)}), flush=True)
"""

FILES = ["meta_info.txt", "degradation.json", "skipped.txt", "renamed.txt"]
IMAGES = 6


class Set:
    """A set of images, and runs that make LMDBs of it, each in a process of its own and ended in the way asked for."""

    def __init__(self, folder: Path, talk: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.talk = talk
        self.numbers = itertools.count()
        self.folder = folder
        for i in range(IMAGES):
            write(folder / f"HR/a.{i}.png", picture(30 + i, 42 - i, seed=i))
            write(folder / f"LR/a.{i}.png", degrade(picture(30 + i, 42 - i, seed=i), 3, "BD"))
        write(folder / "HR/cut.png", picture(30, 42, seed=9))
        write(folder / "LR/cut.png", picture(10, 14, seed=9))
        (folder / "HR/cut.png").write_bytes((folder / "HR/cut.png").read_bytes()[:-100])
        out = self.new()
        self.usual = self.run(out)
        assert self.usual["error"] is None and self.usual["said"].count("left out: ") == 1
        self.whole = {path.name: content(path) for path in out.iterdir()}
        assert sorted(self.whole) == ["HR.lmdb", "LRBD_x3.lmdb", "LRDN_x2.lmdb"]
        assert [len(one["values"]) for one in self.whole.values()] == [IMAGES] * 3
        assert self.faults(out) == []

    def new(self) -> Path:
        return self.folder / f"out{next(self.numbers)}" / "set"

    def run(self, out: Path, **order: Any) -> dict[str, Any]:
        usual = {"hr": str(self.folder / "HR"), "lr": {3: str(self.folder / "LR")}}
        return self.talk({**usual, "scales": [2], "kinds": ["DN"], "commit_bytes": 9000, "out": str(out), **order})

    def faults(self, out: Path) -> list[str]:
        """What is wrong with the LMDBs that stand in `out`."""
        found = sorted(out.glob("*.lmdb"))
        said = self.talk({"verify": [str(path) for path in found]}) if found else {}
        wrong = [line for path in found for line in said[str(path)]]
        return wrong + [f"{path} is not what it should be" for path in found if content(path) != self.whole[path.name]]

    def ends_well(self, out: Path) -> bool:
        """Run it to its end: is all there then, and nothing beside it?"""
        last = self.run(out)
        assert last["error"] is None, last["error"]
        return (
            self.faults(out) == []
            and {path.name for path in out.iterdir()} == set(self.whole)
            and [path.name for path in out.parent.iterdir()] == [out.name]
        )


def content(folder: Path) -> dict[str, Any]:
    """All that an LMDB holds; of its file's bytes, whose pages may lie in another order, that the checksum is right."""
    with (
        lmdb.open(str(folder), readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        values = {bytes(key): hashlib.sha256(value).hexdigest() for key, value in transaction.cursor()}
    checksums = json.loads((folder / "checksums.json").read_text())
    right = checksums["files"].pop("data.mdb") == hashlib.sha256((folder / "data.mdb").read_bytes()).hexdigest()
    del checksums["sha256"]
    texts = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
    names = sorted(path.name for path in folder.iterdir())
    return {"values": values, "checksums": checksums, "right": right, "texts": texts, "names": names}


HALF: dict[str, Any] = {"how": "killed", "only": "commit", "at": 7}
"""Of three LMDBs: two commits, of two images each, and the end in the first LMDB's third."""


def half_made(out: Path) -> Path:
    """Where the work stands until it is whole."""
    return Path(f"{out}.part")


def journal_of(out: Path) -> Path:
    return half_made(out) / "journal.jsonl"


def done_in(out: Path) -> list[str]:
    """The keys of the images that a run which was stopped has in all its LMDBs."""
    lines = journal_of(out).read_text().splitlines() if journal_of(out).exists() else []
    return [json.loads(line)[0] for line in lines if line]


@pytest.fixture(scope="module")
def images() -> Iterator[Set]:
    shared = "/dev/shm"  # where the hundreds of runs need not wait for a disk
    with (
        tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder,
        subprocess.Popen(
            [sys.executable, "-c", DRIVER, Path(folder, "result")],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdin and process.stdout

        def talk(order: dict[str, Any]) -> dict[str, Any]:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield Set(Path(folder), talk)


def test_killed_at_any_time(images):
    random = np.random.default_rng(0)
    usual = min(images.run(images.new())["took"] for _ in range(5))
    killed = 0
    for i in range(30):
        out = images.new()
        killed += images.run(out, after=(i + random.random()) / 30 * usual)["killed"]
        assert images.faults(out) == [], i
        assert images.ends_well(out), i
    assert killed > 5, "the others had come to their end; on a machine with other work how long it takes varies"


def test_killed_before_each_change_on_disk(images):
    for at in range(1, images.usual["steps"] + 1):
        out = images.new()
        assert images.run(out, how="killed", at=at)["killed"]
        assert images.faults(out) == [], at
        assert images.ends_well(out), at


def test_interrupted_and_out_of_space_at_each_change_on_disk(images):
    steps, said = images.usual["steps"], 0
    for at in range(1, steps + 1):
        out = images.new()
        assert images.run(out, how="interrupted", at=at)["error"] == ["KeyboardInterrupt", ""], at
        assert images.faults(out) == [], at
        error = images.run(out, how="full", at=steps + 1 - at)["error"]
        if error:  # to move and to remove needs no space
            said += 1
            assert error[0] == "OSError" and str(half_made(out)) in error[1] and "o space left" in error[1], error
            assert "run the same command again" in error[1] or "choose another folder" in error[1], error
        assert images.faults(out) == [], at
        assert images.ends_well(out), at
    assert said > 0.7 * steps


def test_a_run_that_is_taken_up_reads_what_is_missing_and_no_more(images):
    out = images.new()
    images.run(out, **HALF)
    done = done_in(out)
    assert len(done) == 4
    again = images.run(out)
    assert f"{half_made(out)}: resuming a stopped run: 4 images of 7 are written" in again["said"]
    less = {name: count - again["opened"][name] for name, count in images.usual["opened"].items()}
    assert less == {name: int(name.replace(".", "_")[:-4] in done) for name in less}


def test_what_another_plan_left_is_not_taken_for_ours_though_clearing_it_away_is_broken_off(images):
    half = images.new()
    images.run(half, **HALF)
    for at in range(1, 20):
        out = images.new()
        shutil.copytree(half.parent, out.parent)
        assert images.run(out, kinds=["BI"], how="killed", at=at)["killed"]
        assert images.ends_well(out), at


def test_lmdbs_removed_between_two_runs_are_made_anew(images):
    moved = 0
    for at in range(images.usual["steps"], 0, -1):
        out = images.new()
        images.run(out, how="killed", at=at)
        if not (out / "HR.lmdb").exists():
            break
        shutil.rmtree(out / "HR.lmdb")
        moved += 1
        assert images.ends_well(out), at
    assert moved > 10, "all that follows the first move"


def test_an_lmdb_that_was_there_before_and_is_removed_then_is_made_anew(images):
    out = images.new()
    images.run(out, kinds=[], scales=[], lr={})
    assert images.run(out, commit_bytes=2000, **{**HALF, "at": 5})["killed"]  # of the two LMDBs of LR images
    assert len(done_in(out)) == 4
    shutil.rmtree(out / "HR.lmdb")
    assert images.ends_well(out)


def test_an_lmdb_that_lost_its_last_commit_with_the_power_is_made_up_for(images):
    early, late = images.new(), images.new()
    images.run(early, **{**HALF, "at": 4})
    images.run(late, **HALF)
    assert (len(done_in(early)), len(done_in(late))) == (2, 4)
    shutil.copy(*(half_made(out) / "LRDN_x2.lmdb/data.mdb" for out in (early, late)))
    assert images.ends_well(late)


@pytest.mark.parametrize("tail", [b"", bytes(9), b"\xff\xfe"])
def test_a_journal_that_is_cut_short_or_ends_in_rubbish_is_read_as_far_as_it_goes(images, tail):
    half = images.new()
    images.run(half, **HALF)
    length = journal_of(half).stat().st_size
    for share in (0, 0.4, 0.9, 0.999, 1):
        out = images.new()
        shutil.copytree(half.parent, out.parent)
        journal_of(out).write_bytes(journal_of(out).read_bytes()[: int(share * length)] + tail)
        assert images.ends_well(out), share


def test_of_two_runs_at_once_the_second_is_refused_and_the_first_ends_well(images, run):
    out = images.new()
    first = images.run(out, **{**HALF, "how": "stopped"})
    before = sorted(path for path in out.parent.rglob("*"))
    second = run(CREATE, images.folder / "HR", "--out", out, "--skip-bad", code=2)
    assert f"another run is writing to {out} ({half_made(out) / 'lock'} is locked): wait for it.\n" in second.stderr
    assert "Traceback" not in second.stderr
    assert sorted(path for path in out.parent.rglob("*")) == before
    assert images.talk({"continue": first["pid"]})["error"] is None
    assert images.faults(out) == []
    assert images.ends_well(out)


CREATE = ROOT / "scripts/create_lmdb.py"
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


def test_too_little_space_is_said_before_anything_is_written(disk, pictures, tmp_path, run):
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


def test_a_disk_that_fills_up_stops_the_run_and_with_room_made_it_goes_on(disk, pictures, tmp_path, run):
    out = disk.folder / "set"
    for _ in range(2):
        said = run("-c", WITH.format(NO_CHECK), CREATE, pictures, "--out", out, code=2).stderr
        assert_stopped(out, said, "mdb_txn_commit")
    disk.grow()
    said = run("-c", WITH.format(SMALL_COMMITS), CREATE, pictures, "--out", out).stdout
    assert "resuming a stopped run: 2 images of 4 are written" in said
    run(CREATE, pictures, "--out", tmp_path / "elsewhere")
    assert_same(out, tmp_path / "elsewhere")


def test_a_disk_that_is_full_to_the_last_byte_is_an_error_like_others(disk, pictures, run):
    out = disk.folder / "set"
    run(CREATE, pictures, "--out", out, code=2)
    filling = disk.fill()
    assert_stopped(out, run("-c", WITH.format(NO_CHECK), CREATE, pictures, "--out", out, code=2).stderr, "")
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
def test_a_place_that_cannot_be_written_to_is_said(pictures, tmp_path, run, place):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "sealed").mkdir(mode=0o500)
    if place == "sealed/set" and os.access(tmp_path / "sealed", os.W_OK):
        pytest.skip("root may write anywhere")
    said = run(CREATE, pictures, "--out", tmp_path / place, code=2).stderr
    assert "Traceback" not in said and str(tmp_path / place) in said
    assert "choose another folder" in said or "name a folder" in said
    assert (tmp_path / "file").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"HR", "file", "sealed"}


def test_a_disk_that_may_only_be_read_is_said(disk, pictures, run):
    disk.seal()
    said = run(CREATE, pictures, "--out", disk.folder / "set", code=2).stderr
    assert f"{half_made(disk.folder / 'set')} cannot be" in said and "Read-only file system" in said
    assert "choose another folder" in said and "Traceback" not in said


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


def test_a_worker_that_dies_ends_the_run_and_the_next_goes_on(pictures, tmp_path, monkeypatch):
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


def test_memory_that_runs_out_is_said_in_words(capsys):
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
        time.sleep(60)
writer.Writer.put = slow"""


def test_ctrl_c_ends_the_script_and_the_next_goes_on(pictures, tmp_path, run):
    out = tmp_path / "set"
    arguments = [sys.executable, "-c", WITH.format(SLOW), CREATE, pictures, "--out", out]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and "now\n" in iter(process.stdout.readline, "")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
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
        said = run("-c", WITH.format(PEAK), CREATE, folder, *arguments).stdout
        peaks.append(int(re.search(r"VmHWM:\s+(\d+) kB", said)[1]) // 1024)
    assert peaks[1] < 600 and peaks[1] - peaks[0] < 50, f"{peaks} MB; raw, the second set takes 180 MB"
