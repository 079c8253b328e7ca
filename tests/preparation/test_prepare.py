"""LMDBs of images and pairs: what is in them, what is refused, what a second run does."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.degradations import Degradation, degrade
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.images.environments import close_environments
from rcan_plugin.images.sources import find_images
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.items import UnusableImagesError
from rcan_plugin.preparation.prepare import Job, prepare
from tests.conftest import ROOT
from tests.data.tiny import options, write, write_lmdb
from tests.preparation.scenes import BD, BI, DN, assert_equal, encoded, make, pixels, put, scene, values, write_all
from tests.preparation.sets import (
    COLOUR,
    DEEP,
    DEEP_GRAY,
    GRAY,
    NAMES,
    SETS,
    files,
    lr_renamed,
    record,
    small,
    state,
    unusable_in,
)


@pytest.mark.parametrize("codec", ["raw", "png"])
@pytest.mark.parametrize("kind", SETS)
def test_opencv_decodes_what_was_in_the_source(tmp_path, kind, codec):
    hr = write_all(tmp_path / "HR", SETS[kind])
    make(tmp_path / "out", hr, codec=codec, recipes=[BI], scales=[2])
    lmdb, lr = tmp_path / "out/HR.lmdb", tmp_path / "out/LRBI_x2.lmdb"
    assert_equal(pixels(lmdb), SETS[kind])
    assert_equal(pixels(lr), small(SETS[kind]))
    # As BasicSR reads it, and as our data set does.
    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR):
        for key, value in values(lmdb).items():
            expected = cv2.imread(str(hr / f"{key}.png"), flags)
            np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(value, np.uint8), flags), expected)
    channels = 1 if "gray" in kind else 3
    ending, level = {"raw": ("pgm" if channels == 1 else "ppm", 0), "png": ("png", 1)}[codec]
    lines = [f"{name}.{ending} ({40 + i},{51 - i},{channels}) {level}\n" for i, name in enumerate(NAMES)]
    assert (lmdb / "meta_info.txt").read_text() == "".join(lines)
    store = ImageStore(lmdb)
    for name, image in SETS[kind].items():
        found = store.read(name, keep_depth=True, channels=channels)
        np.testing.assert_array_equal(found.reshape(image.shape), image)
        window = store.crop(name, (3, 5, 7, 11), keep_depth=True, channels=channels)
        np.testing.assert_array_equal(window.reshape(7, 11, -1), image[3:10, 5:16].reshape(7, 11, -1))
    assert files(lmdb) == ["checksums.json", "data.mdb", "meta_info.txt"]
    assert files(lr) == ["checksums.json", "data.mdb", "degradation.json", "meta_info.txt"]
    assert files(tmp_path) == ["HR", "out"] and files(tmp_path / "out") == ["HR.lmdb", "LRBI_x2.lmdb"]


@pytest.mark.parametrize("images", [COLOUR | {"0004": GRAY["0001"]}, DEEP | {"0004": DEEP_GRAY["0001"]}])
def test_png_values_are_those_of_basicsrs_tool(tmp_path, images):
    hr = write_all(tmp_path / "HR", images)
    make(tmp_path / "out", hr, codec="png")
    made = [path.name for path in sorted(hr.iterdir())]
    make_lmdb_from_imgs(str(hr), str(tmp_path / "theirs.lmdb"), made, [name[:-4] for name in made], map_size=1 << 24)
    assert values(tmp_path / "out/HR.lmdb") == values(tmp_path / "theirs.lmdb")
    ours, theirs = (tmp_path / folder / "meta_info.txt" for folder in ("out/HR.lmdb", "theirs.lmdb"))
    assert ours.read_text() == theirs.read_text()


RAW_VALUES = {
    "gray": b"P5\n3 2\n255\n" + bytes(range(6)),
    "colour": b"P6\n1 2\n255\n" + bytes(range(6)),
    "deep": b"P5\n2 1\n65535\n" + bytes([1, 2, 255, 0]),
}


def test_raw_values_are_binary_pnm(tmp_path):
    write(tmp_path / "gray/a.png", np.arange(6, dtype=np.uint8).reshape(2, 3))
    write(tmp_path / "colour/a.png", np.array([[[2, 1, 0]], [[5, 4, 3]]], np.uint8))  # B, G, R
    write(tmp_path / "deep/a.png", np.array([[0x0102, 0xFF00]], np.uint16))
    for name, value in RAW_VALUES.items():
        make(tmp_path / "out" / name, tmp_path / name)
        assert values(tmp_path / f"out/{name}/HR.lmdb") == {"a": value}


def items_of(data_set, opt: dict) -> dict[str, dict]:
    close_environments()  # lmdb would refuse BasicSR an environment that is open
    made = data_set(opt)
    return {item["gt_path"]: item for item in (made[i] for i in range(len(made)))}


@pytest.mark.parametrize("codec", ["raw", "png"])
def test_basicsrs_data_set_and_ours_give_the_same_tensors(tmp_path, codec):
    renamed = {"img.v2": COLOUR["0001"], "Zürich 7": COLOUR["0002"], "{}(1,2,3)": COLOUR["0003"]}
    make(tmp_path / "out", write_all(tmp_path / "HR", renamed), codec=codec, recipes=[BI, DN], scales=[2])
    for folder in ("LRBI_x2.lmdb", "LRDN_x2.lmdb"):
        roots = {"dataroot_gt": str(tmp_path / "out/HR.lmdb"), "dataroot_lq": str(tmp_path / "out" / folder)}
        ours, theirs = (
            items_of(data_set, options(tmp_path, **roots, io_backend={"type": "lmdb"}))
            for data_set in (DegradationPairedDataset, PairedImageDataset)
        )
        assert sorted(ours) == sorted(theirs) == ["Zu00fcrich 7", "img_v2", "{}(1,2,3)"]
        for name, item in ours.items():
            assert torch.equal(item["gt"], theirs[name]["gt"]) and torch.equal(item["lq"], theirs[name]["lq"])
            assert item["lq_path"] == theirs[name]["lq_path"] == name
    beside = (tmp_path / "out/LRBI_x2.lmdb/renamed.txt").read_text(encoding="utf-8")
    assert beside == "Zu00fcrich 7\tZürich 7.png\nimg_v2\timg.v2.png\n"
    assert (tmp_path / "out/HR.lmdb/renamed.txt").read_text(encoding="utf-8") == beside


def test_lr_images_made_are_those_of_the_degradations(tmp_path):
    hr = write_all(tmp_path / "HR", {**COLOUR, "img.v2": GRAY["0001"]})
    targets = make(tmp_path / "out", hr, recipes=[BI, BD, DN], scales=[2, 3])
    names = ["HR", "LRBI_x2", "LRBI_x3", "LRBD_x2", "LRBD_x3", "LRDN_x2", "LRDN_x3"]
    assert [target.name for target in targets] == names
    assert files(tmp_path / "out") == sorted(f"{name}.lmdb" for name in names)
    images = {**COLOUR, "img_v2": GRAY["0001"]}
    for kind in ("BI", "BD", "DN"):
        for scale in (2, 3):
            folder = tmp_path / f"out/LR{kind}_x{scale}.lmdb"
            assert_equal(pixels(folder), small(images, kind, scale))
            assert {key: record(folder)[key] for key in ("kind", "scale", "images", "seed")} == {
                "kind": kind, "scale": scale, "images": 4, "seed": 0
            }  # fmt: skip


def test_training_on_what_was_made_needs_no_more_than_the_paths(tmp_path):
    make(tmp_path / "out", write_all(tmp_path / "HR", COLOUR), recipes=[DN], scales=[2])
    roots = {"dataroot_gt": str(tmp_path / "out/HR.lmdb"), "io_backend": {"type": "lmdb"}}
    on_the_fly = DegradationPairedDataset(options(tmp_path, **roots, dataroot_lq=None, degradation={"type": "DN"}))
    prepared = DegradationPairedDataset(options(tmp_path, **roots, dataroot_lq=str(tmp_path / "out/LRDN_x2.lmdb")))
    for one, other in zip(on_the_fly, prepared, strict=True):
        assert torch.equal(one["lq"], other["lq"]) and torch.equal(one["gt"], other["gt"])


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_photograph_is_stored_as_the_folder_gives_it(tmp_path, orientation):
    from PIL import Image

    tags = Image.Exif()
    tags[0x0112] = orientation
    put(tmp_path / "HR/a.jpg", encoded(COLOUR["0001"], "JPEG", exif=tags))
    make(tmp_path / "out", tmp_path / "HR", recipes=[BI], scales=[2])
    upright = ImageStore(tmp_path / "HR").read("a.jpg")
    assert upright.shape == {3: (40, 51, 3), 6: (51, 40, 3)}[orientation]
    assert_equal(pixels(tmp_path / "out/HR.lmdb"), {"a": upright})
    assert_equal(pixels(tmp_path / "out/LRBI_x2.lmdb"), {"a": degrade(upright, 2, "BI")})


@pytest.mark.parametrize("kind", ["colour", "gray", "deep gray"])
def test_an_lmdb_as_the_source(tmp_path, kind):
    write_lmdb(tmp_path / "theirs.lmdb", SETS[kind])
    make(tmp_path / "raw", tmp_path / "theirs.lmdb")
    assert values(tmp_path / "raw/HR.lmdb")["0001"][:1] == b"P"
    make(tmp_path / "png", tmp_path / "raw/HR.lmdb", codec="png", recipes=[BD], scales=[3])
    assert_equal(pixels(tmp_path / "raw/HR.lmdb"), SETS[kind])
    assert values(tmp_path / "png/HR.lmdb")["0001"][:4] == b"\x89PNG"
    assert_equal(pixels(tmp_path / "png/HR.lmdb"), SETS[kind])
    assert_equal(pixels(tmp_path / "png/LRBD_x3.lmdb"), small(SETS[kind], "BD", 3))


def test_sub_images_show_the_same_place_at_every_scale(tmp_path):
    images = {"a.1": scene(61, 75, seed=1), "b": scene(48, 48, seed=2), "c": scene(36, 60, seed=3, channels=1)}
    given = {2: lr_renamed(tmp_path / "LR", small(images))}
    settings = {"sub_images": (36, 24), "recipes": [BI, BD], "scales": [3]}
    make(tmp_path / "out", write_all(tmp_path / "HR", images), given, **settings)
    starts = {"a_1": ([0, 24], [0, 24, 36]), "b": ([0, 12], [0, 12]), "c": ([0], [0, 24])}
    images = {"a_1": images["a.1"], "b": images["b"], "c": images["c"]}
    for name, scale, lr in [
        ("HR", 1, images), ("LRBI_x2", 2, small(images)), ("LRBI_x3", 3, small(images, scale=3)),
        ("LRBD_x3", 3, small(images, "BD", 3)),
    ]:  # fmt: skip
        expected = {}
        for key, (tops, lefts) in starts.items():
            places = [(top // scale, left // scale) for top in tops for left in lefts]
            for i, (top, left) in enumerate(places, start=1):
                expected[f"{key}_s{i:03}"] = lr[key][top : top + 36 // scale, left : left + 36 // scale]
        assert_equal(pixels(tmp_path / f"out/{name}.lmdb"), expected)
        lines = (tmp_path / f"out/{name}.lmdb/meta_info.txt").read_text().splitlines()
        assert lines[0] == f"a_1_s001.ppm ({36 // scale},{36 // scale},3) 0" and len(lines) == 12
    assert record(tmp_path / "out/LRBI_x3.lmdb")["images"] == 12
    assert (tmp_path / "out/HR.lmdb/renamed.txt").read_text() == "a_1\ta.1.png\n"
    roots = {"dataroot_gt": str(tmp_path / "out/HR.lmdb"), "dataroot_lq": str(tmp_path / "out/LRBI_x2.lmdb")}
    assert len(DegradationPairedDataset(options(tmp_path, **roots, io_backend={"type": "lmdb"}))) == 12


def test_sub_images_that_cannot_be(tmp_path):
    hr = write_all(tmp_path / "HR", {"a": scene(40, 50, seed=1), "b": scene(30, 50, seed=1)})
    with pytest.raises(ValueError, match=r"^sub-images: size is 32; expected a multiple of 6, .*: use 30\.$"):
        make(tmp_path / "out", hr, recipes=[BI], scales=[2, 3], sub_images=(32, 12))
    with pytest.raises(ValueError, match=r"^sub-images: step is 15; expected a multiple of 2, .*: use 16\.$"):
        make(tmp_path / "out", hr, {2: hr}, sub_images=(32, 15))
    with pytest.raises(UnusableImagesError) as raised:
        make(tmp_path / "out", hr, sub_images=(36, 12))
    assert unusable_in(raised) == [(str(hr / "b.png"), "is 30x50, smaller than a sub-image of 36: leave it out")]
    assert files(tmp_path) == ["HR"]


def test_names_that_are_no_text_are_distinguished_and_written_down(tmp_path, capsys):
    import os

    names = [os.fsdecode(name) for name in (b"Z\xfcrich.png", b"G\xf6rlitz.png")]
    hr = write_all(tmp_path / "HR", {"a": COLOUR["0001"]})
    try:
        (hr / "a.png").rename(hr / names[0])
    except OSError:
        pytest.skip("this file system takes text alone")
    put(hr / names[1], b"")
    make(tmp_path / "out", hr, skip_bad=True)
    assert list(values(tmp_path / "out/HR.lmdb")) == ["Zudcfcrich"]
    assert (tmp_path / "out/HR.lmdb/renamed.txt").read_bytes() == b"Zudcfcrich\tZ\xfcrich.png\n"
    assert f"left out: {hr}/G\\xf6rlitz.png: is empty" in capsys.readouterr().out
    assert capsys.readouterr().out.encode() == b""


def test_a_folder_that_is_not_of_a_run_before_is_left_unchanged(tmp_path):
    hr = write_all(tmp_path / "HR", COLOUR)
    put(tmp_path / "out.part/mine.txt", b"mine")
    with pytest.raises(OSError) as raised:
        make(tmp_path / "out", hr)
    assert str(raised.value) == (
        f"{tmp_path / 'out.part'} cannot be used as work folder (it holds mine.txt, which is not from an earlier run): "
        "choose another folder."
    )
    assert state(tmp_path / "out.part").keys() == {str(tmp_path / "out.part/mine.txt")}


def test_a_link_is_followed_to_where_it_leads(tmp_path):
    hr = write_all(tmp_path / "HR", COLOUR)
    (tmp_path / "disk/lmdbs").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk/lmdbs")
    (tmp_path / "out.part").write_text("in the way, if it were made here")
    make(tmp_path / "out", hr)
    assert_equal(pixels(tmp_path / "disk/lmdbs/HR.lmdb"), COLOUR)
    assert files(tmp_path / "disk") == ["lmdbs"]


def test_another_run_at_work_is_waited_for(tmp_path):
    import filelock

    hr = write_all(tmp_path / "HR", COLOUR)
    (tmp_path / "out.part").mkdir()
    with (
        filelock.FileLock(tmp_path / "out.part/lock"),
        pytest.raises(RuntimeError, match=r"^another run is writing to .*out \(.*lock is locked\): wait for it\.$"),
    ):
        prepare(Job(tmp_path / "out"), find_images(hr))
    assert not (tmp_path / "out").exists()


def test_too_little_space_is_reported_before_it_begins(tmp_path, monkeypatch, capsys):
    from collections import namedtuple

    hr = write_all(tmp_path / "HR", COLOUR)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(20000))
    with pytest.raises(
        OSError, match=r"out.part needs 2.46e-05 GB more and has 2e-05 GB free: free some space or choose ano"
    ):
        make(tmp_path / "out", hr)
    assert "3 images, 2.46e-05 GB as raw, about 1." in capsys.readouterr().out
    make(tmp_path / "out", hr, codec="png")
    assert_equal(pixels(tmp_path / "out/HR.lmdb"), COLOUR)


def test_neither_torch_nor_basicsr_is_imported():
    program = "import sys, rcan_plugin.preparation.prepare; print('here', {*sys.modules} & {'torch', 'basicsr'})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "here set()\n"


def test_two_lmdbs_of_one_name_are_refused(tmp_path):
    """The name tells kind and scale alone."""
    recipes = [BI, Recipe(Degradation("BI", border="symmetric"))]
    with pytest.raises(ValueError, match=r"out: two LMDBs would be named LRBI_x2: make them in two folders"):
        make(tmp_path / "out", write_all(tmp_path / "HR", COLOUR), recipes=recipes, scales=[2])
    assert files(tmp_path) == ["HR"]
