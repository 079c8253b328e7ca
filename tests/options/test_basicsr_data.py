"""Folders and LMDBs of BasicSR's own data sets that cannot be read are refused by name."""

import os
import shutil

import pytest

from rcan_plugin.options.basicsr_data import check_roots
from tests.data.tiny import picture, write, write_lmdb
from tests.rights import forbidden


def refusal(root, data_type: str = "PairedImageDataset") -> str:
    with pytest.raises((OSError, ValueError)) as raised:
        check_roots({"name": "Set5", "type": data_type, "dataroot_gt": None, "dataroot_lq": str(root)})
    text = str(raised.value)
    assert text.startswith("data set Set5: dataroot_lq: ") and text.count("data set") == 1
    return text


def test_folders(tmp_path):
    root = tmp_path / "LR"
    write(root / "a.png", picture(8, 8, seed=1))
    check_roots({"name": "Set5", "dataroot_lq": str(root), "dataroot_gt": [1]})
    for path in (root, root / "a.png"):
        with forbidden(path):
            assert f"{path}: permission denied: change its permissions" in refusal(root)
    os.mkfifo(root / "b.png")
    assert f"{root / 'b.png'} is a FIFO (named pipe); expected an image: remove it." in refusal(root)
    assert "nowhere does not exist (looked for from " in refusal("nowhere")


def test_lmdbs(tmp_path):
    root = tmp_path / "LR.lmdb"
    write_lmdb(root, {"a": picture(60, 80, seed=1)})
    check_roots({"dataroot_lq": str(root)})
    for name in ("data.mdb", "meta_info.txt"):
        with forbidden(root / name):
            assert f"{root / name}: permission denied" in refusal(root)
    text = (root / "meta_info.txt").read_text()
    (root / "meta_info.txt").write_text(text.replace("a.png", "b.png"))
    assert "meta_info.txt names 1 images that data.mdb does not hold, such as 'b'" in refusal(root)
    os.truncate(root / "data.mdb", 10_000)
    assert "data.mdb is cut short: it has 10000 bytes of " in refusal(root)
    (root / "meta_info.txt").unlink()
    assert f"LMDB {root} has no meta_info.txt: it is incomplete" in refusal(root)
    shutil.rmtree(root)


def test_other_peoples_data_sets_may_read_files(tmp_path):
    (tmp_path / "all.h5").touch()
    check_roots({"type": "MyDataset", "dataroot_lq": str(tmp_path / "all.h5")})
    with forbidden(tmp_path / "all.h5"):
        assert "all.h5: permission denied" in refusal(tmp_path / "all.h5", "MyDataset")
    assert "all.h5 is a file; expected a folder: correct it." in refusal(tmp_path / "all.h5")
