"""Folders and LMDBs that an image store refuses when it is opened, before anything is read from them."""

import os
import shutil
import socket
from pathlib import Path

import lmdb
import pytest

from rcan_plugin.images.environments import close_environments, environment
from rcan_plugin.images.store import ImageStore
from tests.data.tiny import picture, write, write_lmdb
from tests.rights import forbidden


@pytest.fixture
def made(tmp_path) -> Path:
    write_lmdb(tmp_path / "set.lmdb", {"a": picture(60, 80, seed=1), "b": picture(60, 80, seed=2)})
    return tmp_path / "set.lmdb"


def test_an_lmdb_whose_data_are_cut_is_refused_with_its_sizes(made):
    whole = (made / "data.mdb").read_bytes()
    assert ImageStore(made).names == ["a", "b"]
    for size in (5000, 8192, len(whole) // 2, len(whole) - 1):
        (made / "data.mdb").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"set.lmdb/data.mdb is cut short: it has {size} bytes of {len(whole)}: "):
            ImageStore(made)
    (made / "data.mdb").write_bytes(whole + b"0")
    assert ImageStore(made).read("a").shape == (60, 80, 3)
    close_environments()


def test_the_size_is_checked_again_where_it_is_opened(made):
    store = ImageStore(made)  # as in a worker, which gets the store from the main process
    os.truncate(made / "data.mdb", 16384)
    with pytest.raises(ValueError, match="is cut short: it has 16384 bytes of "):
        store.read("a")
    with pytest.raises(ValueError, match="is cut short"):
        environment(str(made))


@pytest.mark.parametrize("content", [b"", b"rubbish", bytes(10_000)])
def test_data_that_are_none(made, content):
    (made / "data.mdb").write_bytes(content)
    with pytest.raises(ValueError, match=rf"data.mdb \({len(content)} bytes\) is not an LMDB: fetch"):
        ImageStore(made)


def test_a_list_that_names_what_is_not_there(made):
    ImageStore(made).check_keys()
    with (made / "meta_info.txt").open("a") as lines:
        lines.write("c.png (60,80,3) 1\nd.png (60,80,3) 1\n")
    with pytest.raises(ValueError, match=r"set.lmdb: meta_info.txt names 2 images that data.mdb .*, such as 'c'"):
        ImageStore(made).check_keys()
    (made / "meta_info.txt").write_text("b.png (60,80,3) 1\n")  # fewer: those of the list are used
    ImageStore(made).check_keys()
    ImageStore(made.parent / "set.lmdb").read("b")
    ImageStore(made).check_keys()  # while it is open
    close_environments()


def test_an_lmdb_without_lock_file_in_a_folder_that_may_not_be_written_to(made):
    (made / "lock.mdb").unlink(missing_ok=True)
    expected = ImageStore(made).read("a")
    close_environments()
    with forbidden(made, mode=0o500):
        assert (ImageStore(made).read("a") == expected).all()
    close_environments()
    assert not (made / "lock.mdb").exists()


def test_what_may_not_be_read_is_an_error_of_the_system(made, tmp_path):
    for file in (made / "data.mdb", made / "meta_info.txt"):
        with forbidden(file), pytest.raises(PermissionError) as raised:
            ImageStore(made)
        assert raised.value.filename == str(file)
    write(tmp_path / "HR/a.png", picture(8, 8, seed=1))
    with forbidden(tmp_path / "HR"), pytest.raises(PermissionError, match="HR"):
        ImageStore(tmp_path / "HR")


def test_names_of_images_that_are_no_files(tmp_path):
    folder = tmp_path / "HR"
    write(folder / "a.png", picture(8, 8, seed=1))
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "fifo.txt")
    os.mkfifo(folder / ".b.png")
    (folder / "link.png").symlink_to(folder / "a.png")
    assert ImageStore(folder).names == ["a.png", "link.png"]
    makers = {
        "a FIFO (named pipe)": os.mkfifo,
        "a device": lambda path: path.symlink_to("/dev/zero"),
        "a broken link": lambda path: path.symlink_to("gone"),
        "a socket": lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
    }
    for kind, make in makers.items():
        make(folder / "b.png")
        with pytest.raises(ValueError) as raised:
            ImageStore(folder)
        assert str(raised.value) == f"{folder / 'b.png'} is {kind}; expected an image: remove it."
        (folder / "b.png").unlink()
    shutil.rmtree(folder)


def test_damage_in_the_structure_is_an_error_that_names_the_image(made, monkeypatch):
    store = ImageStore(made)

    class Damaged:
        def begin(self, **_):
            raise lmdb.CorruptedError("MDB_CORRUPTED")

    monkeypatch.setattr("rcan_plugin.images.store.environment", lambda _: Damaged())
    with pytest.raises(ValueError, match=r"image a of LMDB .* cannot be read \(MDB_CORRUPTED\): make the LMDB again"):
        store.read("a")
