"""Crops and headers of images in folders, PNG LMDBs and raw LMDBs."""

import lmdb
import numpy as np
import pytest

from rcan_plugin.images.sources import find_images
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.prepare import Job, prepare
from tests.data.tiny import KINDS, picture, write, write_lmdb


def stores(folder, image) -> dict[str, ImageStore]:
    """The same image in a folder, as PNG in an LMDB and raw in an LMDB."""
    write(folder / "files/HR/a.png", image)
    write_lmdb(folder / "png.lmdb", {"a": image})
    prepare(Job(folder / "raw"), find_images(folder / "files/HR"))
    roots = {"folder": "files/HR", "png": "png.lmdb", "raw": "raw/HR.lmdb"}
    return {name: ImageStore(folder / root) for name, root in roots.items()}


@pytest.mark.parametrize(("dtype", "depth"), KINDS)
def test_a_crop_is_what_the_whole_image_has_there(dtype, depth, tmp_path):
    found = stores(tmp_path, picture(20, 31, seed=2, dtype=dtype, channels=depth))
    for reading in ({"keep_depth": keep, "channels": channels} for keep in (False, True) for channels in (1, 3)):
        whole = found["folder"].read("a.png", **reading)
        assert whole.dtype == (dtype if reading["keep_depth"] else np.uint8)
        for name, store in found.items():
            for top, left, height, width in ((0, 0, 20, 31), (3, 5, 8, 9), (19, 30, 1, 1), (12, 0, 8, 31)):
                part = store.crop(store.names[0], (top, left, height, width), **reading)
                assert np.array_equal(part, whole[top : top + height, left : left + width]), (name, reading)


def test_sizes_come_only_from_meta_info(tmp_path):
    store = stores(tmp_path, picture(20, 31, seed=2))["raw"]
    (tmp_path / "raw/HR.lmdb/data.mdb").unlink()
    assert store.header("a")[:4] == (20, 31, False, False)
    other = tmp_path / "other.lmdb"
    write_lmdb(other, {"b": picture(8, 9, seed=1)})
    (other / "meta_info.txt").write_text("b.png\n")
    assert ImageStore(other).header("b")[:2] == (8, 9), "without a size there, the value says it"
    (other / "meta_info.txt").write_text("b.png (8,9,4) 1\nc d.x.png (5, 6, 1) 1\n\n")
    store = ImageStore(other)
    assert store.names == ["b", "c d"]
    assert store.header("b").alpha and store.header("c d")[:4] == (5, 6, False, True)


def test_a_meta_info_that_is_wrong_is_reported_when_a_crop_is_not_there(tmp_path):
    store = stores(tmp_path, picture(20, 31, seed=2))["raw"]
    with pytest.raises(ValueError, match=r"image a of LMDB .*raw/HR.lmdb has no window \(16, 0, 8, 8\)"):
        store.crop("a", (16, 0, 8, 8))


def test_a_damaged_value_is_named(tmp_path):
    path = stores(tmp_path, picture(20, 31, seed=2))["raw"].root
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"a", transaction.get(b"a")[:-5])
    with pytest.raises(ValueError, match=r"image a of LMDB .*HR.lmdb is damaged: it has \d+ bytes and its header says"):
        ImageStore(path).crop("a", (0, 0, 8, 8))
