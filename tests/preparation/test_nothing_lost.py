"""However a run ends, what stands under a final name is whole, and the next run takes up the work."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rcan_plugin.degradations import degrade
from tests.conftest import ROOT
from tests.data.tiny import picture, write
from tests.preparation.stopped_runs import CREATE, content, done_in, half_made, journal_of

DRIVER = Path(__file__).with_name("run_by_orders.py")


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


HALF: dict[str, Any] = {"how": "killed", "only": "commit", "at": 7}
"""Of three LMDBs: two commits, of two images each, and the end in the first LMDB's third."""


@pytest.fixture(scope="module")
def images() -> Iterator[Set]:
    shared = "/dev/shm"  # where the hundreds of runs need not wait for a disk
    with (
        tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder,
        subprocess.Popen(
            [sys.executable, DRIVER, Path(folder, "result")],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
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
            assert error[0] == "OSError" and str(out) in error[1] and "o space left" in error[1], error
            remedies = ("run the same command again", "choose another folder", "choose another disk")
            assert any(remedy in error[1] for remedy in remedies), error
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


@pytest.mark.parametrize("left", [b"", b"\0", 100, 4095, 4096, 8191, 8192, bytes(4096), bytes(12288), b"rubbish" * 99])
@pytest.mark.parametrize("images_written", [0, 4])
def test_an_lmdb_whose_first_pages_are_incomplete_is_made_anew(images, images_written, left):
    # LMDB writes its first two pages in one call, which a kill can cut short.
    out = images.new()
    images.run(out, **({"how": "killed", "only": "commit", "at": 1} if not images_written else HALF))
    data = half_made(out) / "LRDN_x2.lmdb/data.mdb"
    data.write_bytes(data.read_bytes()[:left] if isinstance(left, int) else left)
    assert len(done_in(out)) == images_written
    assert images.ends_well(out)


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
