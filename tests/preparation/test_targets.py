"""LR images that are given: which degradation made them, and what their LMDB is named."""

import cv2
import numpy as np
import pytest

from rcan_plugin.degradations import degrade
from tests.preparation.scenes import BD, BI, assert_equal, make, pixels, scene, write_all
from tests.preparation.sets import COLOUR, GRAY, files, lr_renamed, record, small
from tests.reference import REFERENCE, needs_reference


@pytest.mark.parametrize(
    ("kind", "settings", "name", "said"),
    [
        ("BI", {}, "LRBI_x2", "x2 BI (replicate), exactly"),
        ("BI", {"border": "symmetric"}, "LRBI_x2", "x2 BI (symmetric), exactly"),
        ("BD", {}, "LRBD_x2", "x2 BD (sigma 1.6), exactly"),
    ],
)
@pytest.mark.parametrize("codec", ["raw", "png"])
def test_lr_images_given_are_identified(tmp_path, capsys, kind, settings, name, said, codec):
    lr = small(COLOUR, kind, **settings)
    given = {2: lr_renamed(tmp_path / "LR", lr)}
    make(tmp_path / "out", write_all(tmp_path / "HR", COLOUR), given, codec=codec)
    assert f"LR images given at x2: {said}\n" in capsys.readouterr().out
    assert files(tmp_path / "out") == ["HR.lmdb", f"{name}.lmdb"]
    assert_equal(pixels(tmp_path / "out" / f"{name}.lmdb"), lr)
    found = record(tmp_path / "out" / f"{name}.lmdb")
    assert (found["kind"], found["border"], found["scale"]) == (kind, settings.get("border", "replicate"), 2)
    lines = (tmp_path / "out" / f"{name}.lmdb/renamed.txt").read_text()
    assert lines == "0001\t0001x2.png\n0002\t0002x2.png\n0003\t0003x2.png\n"


def framed(image: np.ndarray) -> np.ndarray:
    """Give an image a border of one colour, which does not show how pixels past the border were chosen."""
    return cv2.copyMakeBorder(image[10:-10, 10:-10], 10, 10, 10, 10, cv2.BORDER_CONSTANT, value=(90, 90, 90))


@pytest.mark.parametrize("border", ["replicate", "symmetric"])
def test_the_border_is_that_of_the_images_where_it_can_be_determined(tmp_path, border):
    images = {f"n{i}": scene(60, 70, seed=i) for i in range(5)}
    images |= {name: framed(images[name]) for name in ("n0", "n2", "n3")}
    make(
        tmp_path / "out",
        write_all(tmp_path / "HR", images),
        {2: write_all(tmp_path / "LR", small(images, border=border))},
    )
    assert record(tmp_path / "out/LRBI_x2.lmdb")["border"] == border


def test_lr_images_that_are_none_of_ours(tmp_path, capsys):
    lr = {name: cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2)) for name, image in COLOUR.items()}
    hr, given = write_all(tmp_path / "HR", COLOUR), {2: write_all(tmp_path / "LR", lr)}
    make(tmp_path / "out", hr, given, recipes=[BI], scales=[2, 3])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("LR images given at x2: ")]
    assert line.startswith("LR images given at x2: no known degradation (x2 ")
    assert line.endswith(
        "; looks like OpenCV bilinear of the HR image before it was cropped to a multiple of 2 (0 % differ)"
    )
    assert files(tmp_path / "out") == ["HR.lmdb", "LRBI_x2.lmdb", "LRBI_x3.lmdb", "LR_x2.lmdb"]
    assert_equal(pixels(tmp_path / "out/LR_x2.lmdb"), lr)
    assert files(tmp_path / "out/LR_x2.lmdb") == ["checksums.json", "data.mdb", "meta_info.txt"]
    assert_equal(pixels(tmp_path / "out/LRBI_x2.lmdb"), small(COLOUR))


def test_lr_images_given_are_not_made_again(tmp_path):
    lr = small(COLOUR, border="symmetric")
    hr, given = write_all(tmp_path / "HR", COLOUR), {2: write_all(tmp_path / "LR", lr)}
    make(tmp_path / "out", hr, given, recipes=[BI, BD], scales=[2, 3])
    assert files(tmp_path / "out") == [
        f"{name}.lmdb" for name in ("HR", "LRBD_x2", "LRBD_x3", "LRBI_x2", "LRBI_x3")
    ]  # fmt: skip
    assert_equal(pixels(tmp_path / "out/LRBI_x2.lmdb"), lr)
    assert_equal(pixels(tmp_path / "out/LRBI_x3.lmdb"), small(COLOUR, scale=3))


def test_some_pairs_unlike_the_others(tmp_path, capsys):
    lr = {**small(COLOUR), "0002": degrade(COLOUR["0002"], 2, "BD")}
    make(tmp_path / "out", write_all(tmp_path / "HR", COLOUR), {2: write_all(tmp_path / "LR", lr)})
    said = capsys.readouterr().out
    assert "LRBI_x2: 1 of 3 pairs differ from the others, so that it gets no degradation.json:\n  0002: x2 BD" in said
    assert files(tmp_path / "out/LRBI_x2.lmdb") == ["checksums.json", "data.mdb", "meta_info.txt"]
    assert_equal(pixels(tmp_path / "out/LRBI_x2.lmdb"), lr)


def test_what_less_than_half_of_the_pairs_are_is_not_reported_for_all(tmp_path, capsys):
    images = {f"n{i}": scene(40, 50, seed=i) for i in range(5)}
    lr = small(images) | {name: cv2.resize(images[name], (25, 20)) for name in ("n0", "n2", "n3")}
    make(tmp_path / "out", write_all(tmp_path / "HR", images), {2: write_all(tmp_path / "LR", lr)})
    assert "LR images given at x2: no known degradation (" in capsys.readouterr().out
    assert files(tmp_path / "out") == ["HR.lmdb", "LR_x2.lmdb"]


def test_gray_images_with_lr_images_in_colour(tmp_path, capsys):
    lr = {**small(COLOUR), "0002": cv2.cvtColor(degrade(GRAY["0002"], 2, "BI"), cv2.COLOR_GRAY2BGR)}
    hr = write_all(tmp_path / "HR", {**COLOUR, "0002": GRAY["0002"]})
    make(tmp_path / "out", hr, {2: write_all(tmp_path / "LR", lr)})
    assert "differ from the others" not in capsys.readouterr().out
    assert record(tmp_path / "out/LRBI_x2.lmdb")["images"] == 3
    assert_equal(pixels(tmp_path / "out/LRBI_x2.lmdb"), lr)


@needs_reference
@pytest.mark.parametrize(
    ("images", "folder", "border"),
    [
        ("set5", "LRBI_symmetric", "symmetric"),
        ("set5", "LRBI_replicate", "replicate"),
        ("set14", "LRBI_replicate", "replicate"),
    ],
)
def test_reference_images(tmp_path, images, folder, border):
    hr, lr = REFERENCE / images / "HR/x2", REFERENCE / images / folder / "x2"
    make(tmp_path / "out", hr, {2: lr})
    assert (record(tmp_path / "out/LRBI_x2.lmdb")["kind"], record(tmp_path / "out/LRBI_x2.lmdb")["border"]) == (
        "BI", border
    )  # fmt: skip
    for place, name in ((hr, "HR"), (lr, "LRBI_x2")):
        expected = {path.stem: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in place.iterdir()}
        expected = {key.replace("_LRBI_", "_HR_"): image for key, image in expected.items()}
        assert_equal(pixels(tmp_path / f"out/{name}.lmdb"), expected)
        if images == "set14":
            assert (
                expected["img_003"].ndim == 2
                and "img_003.pgm (" in (tmp_path / f"out/{name}.lmdb/meta_info.txt").read_text()
            )
