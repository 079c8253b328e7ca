"""Whatever changes in an LMDB after it was made is found, and named."""

import json
import shutil
import struct
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

from rcan_plugin.images.environments import close_environments
from rcan_plugin.preparation import verify as verification
from rcan_plugin.preparation.checksums import digest, read_checksums, write_checksums
from rcan_plugin.preparation.verify import verify
from tests.conftest import ROOT
from tests.data.tiny import picture
from tests.preparation.scenes import BI, encoded, make, put, scene, values, write_all

IMAGES = {"a": scene(60, 70, seed=1), "b.1": scene(62, 68, seed=2), "c": scene(40, 44, seed=3, channels=1)}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    put(folder / "HR/d.png", b"")
    make(folder / "out", write_all(folder / "HR", IMAGES), recipes=[BI], scales=[2], skip_bad=True)
    return folder / "out"


@pytest.fixture
def ours(made, tmp_path) -> Path:
    """An LMDB with all that may lie beside the data, to be spoilt."""
    copy = shutil.copytree(made / "LRBI_x2.lmdb", tmp_path / "ours.lmdb")
    beside = {"degradation.json", "meta_info.txt", "renamed.txt", "skipped.txt"}
    assert {path.name for path in copy.iterdir()} == {"data.mdb", "checksums.json", *beside}
    return copy


@pytest.fixture(scope="module")
def by_their_tool(tmp_path_factory) -> Path:
    folder = write_all(tmp_path_factory.mktemp("theirs") / "HR", IMAGES | {"b": picture(5, 6, seed=1, channels=4)})
    (folder / "b.1.png").unlink()
    names = sorted(path.name for path in folder.iterdir())
    keys = [name[:-4] for name in names]
    make_lmdb_from_imgs(str(folder), str(folder.parent / "theirs.lmdb"), names, keys, map_size=1 << 24)
    return folder.parent / "theirs.lmdb"


@pytest.fixture
def theirs(by_their_tool, tmp_path) -> Path:
    return shutil.copytree(by_their_tool, tmp_path / "theirs.lmdb")


@pytest.fixture
def here(monkeypatch) -> None:
    """Without a process of its own for each LMDB: for those whose tree is sound."""
    monkeypatch.setattr(verification, "call_in_own_process", lambda function, *arguments: function(*arguments))


def faults(path: Path) -> list[str]:
    close_environments()  # lmdb would refuse a second one
    return verify(path)


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def change(path: Path, put: dict[str, bytes | None]) -> None:
    """Change values of an LMDB; None takes one out."""
    close_environments()
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in put.items():
            assert transaction.delete(key.encode()) if value is None else transaction.put(key.encode(), value)


def sign_anew(path: Path) -> None:
    """Make the checksums of the files right, as if they had been so from the first."""
    known = read_checksums(path)
    assert known is not None
    write_checksums(path, known["made_of"], {name: digest(path / name) for name in known["files"]}, known["images"])


def no_checksums(path: Path) -> str:
    return (
        f"{path}/checksums.json is missing: changes of images that can still be decoded cannot be detected "
        "(create-lmdb writes checksums)."
    )


def changed(path: Path) -> str:
    return f"{path} has changed since it was made: its checksum differs."


def test_what_was_made_is_well(made, ours):
    assert verify(made / "HR.lmdb") == verify(str(ours)) == []
    put(ours / "lock.mdb", b"")  # which readers that lock put there
    assert verify(ours) == []


def test_any_flipped_bit_is_found(ours, monkeypatch):
    # The tree and all images are sound.
    monkeypatch.setattr(verification, "call_in_own_process", lambda *_: [])
    assert verify(ours) == []
    random = np.random.default_rng(0)
    whole = {path: path.read_bytes() for path in sorted(ours.iterdir())}
    assert len(whole) == 6
    for path, content in whole.items():
        for at in {0, len(content) - 1, *random.integers(len(content), size=13).tolist()}:
            flip(path, at, int(random.integers(8)))
            (said,) = verify(ours)
            expected = {"checksums.json": f"{path} is damaged: ", "meta_info.txt": f"{path} "}
            assert said.startswith(expected.get(path.name, changed(path))), (path, at)
            path.write_bytes(content)
    assert verify(ours) == []


def test_the_images_that_a_flipped_bit_hit_are_named(ours):
    value = values(ours)["b_1"]
    flip(ours / "data.mdb", (ours / "data.mdb").read_bytes().index(value) + 1000)
    assert verify(ours) == [
        changed(ours / "data.mdb"),
        "image b_1 has changed since it was made: its checksum differs.",
    ]


@pytest.mark.parametrize("of", ["ours", "theirs"])
def test_a_tree_that_cannot_be_read_is_reported_and_brings_nothing_down(of, request):
    path = request.getfixturevalue(of)
    whole = (path / "data.mdb").read_bytes()
    # LMDB's `mdb.c`, struct MDB_meta: of the pages 0 and 1 the later one says where the root is.
    _, root = max(struct.unpack_from("<QxxxxxxxxQ", whole, at + 128)[::-1] for at in (0, 4096))
    spoilt = {
        "empty": b"",
        "cut in the head": whole[:5000],
        "cut": whole[: len(whole) // 2],
        "rubbish": bytes(reversed(whole)),
        "no root": whole[: 4096 * root] + b"\xff" * 4096 + whole[4096 * (root + 1) :],
    }
    data = path / "data.mdb"
    expected = {
        "empty": f"{data} (0 bytes) is not an LMDB: fetch or make",
        "cut in the head": f"{data} is cut short: it has 5000 bytes of {len(whole)}: fetch or make",
        "cut": f"{data} is cut short: it has {len(whole) // 2} bytes of {len(whole)}: fetch or make",
        "rubbish": f"{data} ({len(whole)} bytes) is not an LMDB: fetch or make",
        "no root": f"{data} is damaged in its structure: ",
    }
    for name, content in spoilt.items():
        data.write_bytes(content)
        found = verify(path)
        if name == "no root":
            assert found.pop(0 if of == "ours" else -1) == (changed(data) if of == "ours" else no_checksums(path))
        (fault,) = found
        assert fault.startswith(expected[name]), name


def test_files_that_are_missing_or_too_many(ours, here):
    (ours / "degradation.json").unlink()
    put(ours / "data.mdb.part", b"")
    missing, surplus = f"{ours / 'degradation.json'} is missing.", f"{ours / 'data.mdb.part'} does not belong here."
    assert faults(ours) == [missing, surplus]


def test_keys_that_are_missing_or_too_many(ours, here):
    value = values(ours)["a"]
    change(ours, {"b_1": None, "x": value, "y": value})
    (ours / "lock.mdb").unlink()
    wrong = [
        "image b_1 is named in meta_info.txt but missing in data.mdb.",
        "image x is in data.mdb but not named in meta_info.txt.",
        "image y is in data.mdb but not named in meta_info.txt.",
    ]
    assert faults(ours) == [changed(ours / "data.mdb"), *wrong]
    sign_anew(ours)
    assert faults(ours) == wrong


def test_a_list_that_disagrees(ours, here):
    meta = ours / "meta_info.txt"
    meta.write_text(
        meta.read_text().replace("c.pgm (20,22,1)", "c.pgm (22,20,1)").replace("a.ppm (30,35,3)", "a.ppm (30,35,1)")
    )
    assert faults(ours) == [
        changed(meta),
        "image a has the shape (30, 35, 3), which differs from meta_info.txt.",
        "image c has the shape (20, 22), which differs from meta_info.txt.",
    ]
    meta.write_text("a.ppm (30,35,3) 0\nc.pgm (20,22,1) 0\n")
    sign_anew(ours)
    assert faults(ours) == [
        "image b_1 is in data.mdb but not named in meta_info.txt.",
        "checksums.json and meta_info.txt differ in 1 images, such as b_1.",
    ]
    for content in (b"\xff\xfe\n", b""):
        meta.write_bytes(content)
        (said,) = faults(ours)
        assert said.startswith(f"{meta} is damaged: ")


def test_checksums_that_were_edited(ours, here):
    path = ours / "checksums.json"
    text, content = path.read_text(), json.loads(path.read_text())
    damaged = f"{path} is damaged: its own checksum does not match."
    for edited in (
        json.dumps({**content, "made_of": "0"}),
        json.dumps({**content, "images": {}}),
        json.dumps({key: value for key, value in content.items() if key != "sha256"}),
        text[:-20],
        "[]",
        "",
    ):
        path.write_text(edited)
        assert faults(ours) == [damaged], edited
    path.write_text(text + "\n")
    assert faults(ours) == [f"{path} is damaged: it has changed since it was written."]
    path.unlink()
    assert faults(ours) == [no_checksums(ours)]  # as one of BasicSR's tools: every image can be decoded


def test_an_lmdb_of_basicsrs_tool(theirs, here):
    assert faults(theirs) == [no_checksums(theirs)]
    whole = values(theirs)
    value = bytearray(whole["a"])
    value[len(value) // 2] ^= 1
    change(theirs, {"a": bytes(value), "c": whole["c"][:-30], "b": b""})
    said = faults(theirs)
    assert said.pop() == no_checksums(theirs)
    assert len(said) == 3 and said[0].startswith("image a is damaged or cut short (broken PNG file ")
    assert said[1].startswith("image b cannot be read (image b of LMDB ") and "is empty (0 bytes)" in said[1]
    assert said[2].startswith("image c is damaged or cut short (")
    change(theirs, {**whole, "a": encoded(IMAGES["a"], "JPEG")[:-200], "x.y": b"0"})
    (theirs / "meta_info.txt").write_text("a.png (60,70,3) 1\nb.png (5,6,4) 1\nc.png (40,44,3) 1\na.png (60,70,3) 1\n")
    said = faults(theirs)
    assert said.pop() == no_checksums(theirs)
    assert said[:2] == [
        "image x.y is in data.mdb but not named in meta_info.txt.",
        "meta_info.txt names 1 images twice.",
    ]
    assert said[2].startswith("image a is damaged or cut short (image file is truncated")
    assert said[3:] == ["image c has the shape (40, 44), which differs from meta_info.txt."]


def test_what_is_no_lmdb(ours, tmp_path):
    for name in ("data.mdb", "meta_info.txt"):
        copy = shutil.copytree(ours, tmp_path / f"without {name}.lmdb")
        (copy / name).unlink()
        with pytest.raises(
            FileNotFoundError, match=rf"without {name}.lmdb has no {name}: it is incomplete, make it again"
        ):
            verify(copy)
    with pytest.raises(FileNotFoundError, match=r"nowhere.lmdb does not exist \(looked for from "):
        verify(tmp_path / "nowhere.lmdb")
    assert cv2.imwrite(str(tmp_path / "a.png"), IMAGES["a"])
    with pytest.raises(ValueError, match=rf"^{tmp_path} is not an LMDB: expected a folder \*\.lmdb\.$"):
        verify(tmp_path)


def test_exit_codes_of_the_script(ours, theirs, run):
    script = ROOT / "scripts/verify_lmdb.py"
    assert run(script, ours).stdout == f"{ours}: no faults\n"
    unknown = f"{theirs}: 1 fault\n  {no_checksums(theirs)}\n"
    flip(ours / "renamed.txt", 0)
    done = run(script, theirs, ours, code=1)
    assert done.stdout == f"{unknown}{ours}: 1 fault\n  {changed(ours / 'renamed.txt')}\n"
    done = run(script, "nowhere.lmdb", theirs, code=2)
    assert done.stdout == unknown and done.stderr.startswith("folder nowhere.lmdb does not exist")
