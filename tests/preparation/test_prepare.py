"""LMDBs of images and pairs: what is in them, what is refused, what a second run does."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.degradations import degrade, noise_rng
from rcan_plugin.images.environments import close_environments
from rcan_plugin.images.sources import find_images
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.items import UnusableImagesError
from rcan_plugin.preparation.prepare import Job, prepare
from rcan_plugin.preparation.verify import verify
from tests.conftest import ROOT
from tests.data.tiny import options, picture, write, write_lmdb
from tests.preparation.scenes import BD, BI, DN, assert_equal, encoded, make, pixels, put, scene, values, write_all
from tests.reference import REFERENCE, needs_reference

NAMES = ["0001", "0002", "0003"]
COLOUR = {name: scene(40 + i, 51 - i, seed=i) for i, name in enumerate(NAMES)}
GRAY = {name: scene(40 + i, 51 - i, seed=i, channels=1) for i, name in enumerate(NAMES)}
DEEP = {name: scene(40 + i, 51 - i, seed=i, dtype=np.uint16) for i, name in enumerate(NAMES)}
DEEP_GRAY = {name: scene(40 + i, 51 - i, seed=i, dtype=np.uint16, channels=1) for i, name in enumerate(NAMES)}
SETS = {"colour": COLOUR, "gray": GRAY, "deep": DEEP, "deep gray": DEEP_GRAY}


def small(images: dict[str, np.ndarray], kind: str = "BI", scale: int = 2, **more) -> dict[str, np.ndarray]:
    """LR images as they should be."""
    return {name: degrade(image, scale, kind, rng=noise_rng(0, name), **more) for name, image in images.items()}


def record(folder: Path) -> dict:
    return json.loads((folder / "degradation.json").read_text())


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def unusable_in(raised) -> list[tuple[str, str]]:
    return [(image.place, image.reason) for image in raised.value.images]


# What is in them


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


# LR images given


def lr_renamed(folder: Path, images: dict[str, np.ndarray]) -> Path:
    return write_all(folder, {f"{name}x2": image for name, image in images.items()})


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
    """With a border of one colour, by which it cannot be told how borders were taken."""
    return cv2.copyMakeBorder(image[10:-10, 10:-10], 10, 10, 10, 10, cv2.BORDER_CONSTANT, value=(90, 90, 90))


@pytest.mark.parametrize("border", ["replicate", "symmetric"])
def test_the_border_is_that_of_the_images_where_it_can_be_told(tmp_path, border):
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
    assert "LR images given at x2: no known degradation (x2 " in capsys.readouterr().out
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


def test_what_less_than_half_of_the_pairs_are_is_not_said_of_all(tmp_path, capsys):
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


# Bad images


def spoil(folder: Path) -> dict[str, str]:
    """Pairs at x2 with all that can be wrong, five good ones among them; the reason for each bad file."""
    names = [f"n{i:02}" for i in range(22)]
    hr = {name: scene(64 + 2 * i, 70, seed=i) for i, name in enumerate(names)}
    lr = small(hr)
    write_all(folder / "HR", hr)
    lr_renamed(folder / "LR", lr)

    def spoiled(place: str, content: bytes) -> None:
        put(folder / place, content)

    def cut(place: str, content: bytes) -> None:
        spoiled(place, content[: len(content) // 2])

    (folder / "HR/n05.png").unlink()
    cut("HR/n05.jpg", encoded(hr["n05"], "JPEG"))
    (folder / "HR/n06.png").unlink()
    cut("HR/n06.bmp", encoded(hr["n06"], "BMP"))
    (folder / "HR/n07.png").unlink()
    cut("HR/n07.webp", encoded(hr["n07"], "WEBP"))
    (folder / "HR/n08.png").unlink()
    cut("HR/n08.tif", encoded(hr["n08"], "TIFF"))
    cut("HR/n09.png", (folder / "HR/n09.png").read_bytes())
    spoiled("HR/n10.png", b"")
    spoiled("HR/n11.png", b"<html>404</html>")
    spoiled("HR/n12.png", encoded(hr["n12"], "TIFF", "CMYK"))
    spoiled("HR/n13.png", encoded(hr["n13"], "PNG", "P"))
    spoiled("HR/n14.png", encoded(hr["n14"], "PNG", "RGBA"))
    write(folder / "HR/n15.png", hr["n15"].astype(np.uint16))
    write(folder / "HR/more/n16.png", hr["n16"])
    (folder / "LR/n17x2.png").unlink()
    (folder / "HR/n18.png").unlink()
    write(folder / "LR/n19x2.png", lr["n19"][1:])
    write(folder / "LR/n20x2.png", lr["n20"].astype(np.uint16))
    write(folder / "LR/n21x2.png", scene(*lr["n21"].shape[:2], seed=99))
    cut("LR/n09x2.png", (folder / "LR/n09x2.png").read_bytes())
    cut("LR/n17x2.png", (folder / "LR/n00x2.png").read_bytes())
    (folder / "LR/n17x2.png").rename(folder / "LR/n22x2.png")
    same = "would get the same key, n16, as {}: rename or remove one"
    return {
        "HR/n05.jpg": "is damaged or cut short (image file is truncated",
        "HR/n06.bmp": "is damaged or cut short (image file is truncated",
        "HR/n07.webp": "is damaged or cut short (",
        "HR/n08.tif": "is damaged or cut short (",
        "HR/n09.png": "is damaged or cut short (",
        "HR/n10.png": "is empty (0 bytes): fetch or make it again",
        "HR/n11.png": "(16 bytes) cannot be read as an image: it is damaged or cut short, or no image",
        "HR/n12.png": "has CMYK colours: convert it to RGB",
        "HR/n13.png": "has a palette: convert it to RGB",
        "HR/n14.png": "has alpha: flatten it, or remove the alpha channel",
        "HR/n15.png": "has 16 bits a value and most images have 8: convert it",
        "HR/more/n16.png": same.format(folder / "HR/n16.png"),
        "HR/n16.png": same.format(folder / "HR/more/n16.png"),
        "HR/n17.png": "has no LR image at x2 (looked for n17x2 and the like)",
        "LR/n18x2.png": "has no HR image (x2)",
        "LR/n19x2.png": f"is 50x35; x2 of {folder / 'HR/n19.png'}, 102x70, is 51x35",
        "LR/n20x2.png": "has 16 bits a value and its HR image has 8: convert it",
        "LR/n21x2.png": "does not show its HR image (x2 by their sizes, but they correlate by only 0.",
        "LR/n09x2.png": "is damaged or cut short (",
        "LR/n22x2.png": "has no HR image (x2)",
    }


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("spoilt")
    return folder, spoil(folder)


def assert_listed(bad: list[tuple[str, str]], folder: Path, expected: dict[str, str]) -> None:
    assert sorted({place for place, _ in bad}) == sorted(str(folder / place) for place in expected)
    for place, reason in expected.items():
        assert any(one == str(folder / place) and reason in found for one, found in bad), (place, reason)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of a TIFF directory
def test_all_bad_images_are_listed_in_one_run_and_nothing_is_written(spoilt, tmp_path):
    folder, expected = spoilt
    with pytest.raises(UnusableImagesError, match=f"^{len(expected)} images cannot be used$") as raised:
        make(tmp_path / "new/out", folder / "HR", {2: folder / "LR"}, recipes=[BD], scales=[3])
    assert_listed(unusable_in(raised), folder, expected)
    assert not (tmp_path / "new").exists() or files(tmp_path / "new") == []


@pytest.mark.filterwarnings("ignore")
def test_bad_images_can_be_left_out(spoilt, tmp_path, capsys):
    folder, expected = spoilt
    settings = {"recipes": [BD], "scales": [3], "skip_bad": True}
    make(tmp_path / "out", folder / "HR", {2: folder / "LR"}, **settings)
    said = capsys.readouterr().out
    good = {f"n{i:02}": scene(64 + 2 * i, 70, seed=i) for i in range(5)}
    assert_equal(pixels(tmp_path / "out/HR.lmdb"), good)
    assert_equal(pixels(tmp_path / "out/LRBI_x2.lmdb"), small(good))
    assert_equal(pixels(tmp_path / "out/LRBD_x3.lmdb"), small(good, "BD", 3))
    assert record(tmp_path / "out/LRBI_x2.lmdb")["images"] == 5
    for name in ("HR", "LRBI_x2", "LRBD_x3"):
        lines = (tmp_path / f"out/{name}.lmdb/skipped.txt").read_text().splitlines()
        assert_listed([tuple(line.split(": ", 1)) for line in lines], folder, expected)
        assert all(f"left out: {line}\n" in said for line in lines)
    lines = (tmp_path / "out/LRBI_x2.lmdb/renamed.txt").read_text().splitlines()
    assert lines == [f"{name}\t{name}x2.png" for name in good]
    assert verify(tmp_path / "out/HR.lmdb") == [] and files(tmp_path) == ["out"]
    before = values(tmp_path / "out/HR.lmdb")
    make(tmp_path / "out", folder / "HR", {2: folder / "LR"}, **settings)
    assert "HR.lmdb exists already: kept." in capsys.readouterr().out
    assert values(tmp_path / "out/HR.lmdb") == before


def test_damaged_pixels_alone_are_found_while_writing(tmp_path):
    hr = write_all(tmp_path / "HR", COLOUR)
    lr = write_all(tmp_path / "LR", small(COLOUR))
    for path in (hr / "0001.png", hr / "0003.png", lr / "0003.png"):
        path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UnusableImagesError, match=r"^3 images cannot be used$") as raised:
        make(tmp_path / "out", hr, {2: lr})
    assert [place for place, _ in unusable_in(raised)] == [
        str(hr / "0001.png"),
        str(hr / "0003.png"),
        str(lr / "0003.png"),
    ]
    assert files(tmp_path) == ["HR", "LR"]


def test_damaged_pixels_are_found_whatever_else_is_wrong_with_the_pair(tmp_path):
    hr, lr = write_all(tmp_path / "HR", COLOUR), write_all(tmp_path / "LR", small(COLOUR))
    (lr / "0001.png").unlink()
    write(lr / "0002.png", picture(5, 5, seed=1))
    for name in ("0002", "0003"):
        (hr / f"{name}.png").write_bytes((hr / f"{name}.png").read_bytes()[:-60])
    with pytest.raises(UnusableImagesError) as raised:
        make(tmp_path / "out", hr, {2: lr})
    places = [f"{hr}/0001.png", f"{hr}/0002.png", f"{hr}/0003.png", f"{lr}/0002.png"]
    assert [place for place, _ in unusable_in(raised)] == places


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize("content", [b"", encoded(COLOUR["0001"])[:300]], ids=["head", "pixels"])
def test_nothing_but_bad_images(tmp_path, content, skip_bad):
    for name in "ab":
        put(tmp_path / f"HR/{name}.png", content)
    with pytest.raises(UnusableImagesError, match=r"^2 images cannot be used$"):
        make(tmp_path / "out", tmp_path / "HR", skip_bad=skip_bad)
    assert files(tmp_path) == ["HR"]


def test_images_too_small_for_a_scale_are_bad(tmp_path):
    hr = write_all(tmp_path / "HR", {"a": picture(7, 40, seed=1), "b": picture(8, 40, seed=1)})
    with pytest.raises(UnusableImagesError) as raised:
        make(tmp_path / "out", hr, recipes=[BI], scales=[2, 8])
    assert unusable_in(raised) == [(str(hr / "a.png"), "is 7x40, smaller than one pixel at x8: leave it out")]
    make(tmp_path / "out", hr, recipes=[BI], scales=[2, 8], skip_bad=True)
    assert {key: image.shape for key, image in pixels(tmp_path / "out/LRBI_x8.lmdb").items()} == {"b": (1, 5, 3)}


# Run again


@pytest.fixture
def made(tmp_path, capsys) -> Path:
    """A folder with images in `HR` and LMDBs in `out`."""
    make(tmp_path / "out", write_all(tmp_path / "HR", COLOUR), recipes=[BI], scales=[2])
    capsys.readouterr()
    return tmp_path


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_what_is_there_is_kept(made, capsys):
    before = state(made)
    make(made / "out", made / "HR", recipes=[BI], scales=[2])
    said = capsys.readouterr().out
    assert said == "".join(f"{made / 'out' / name}.lmdb exists already: kept.\n" for name in ("HR", "LRBI_x2"))
    assert state(made) == before and files(made) == ["HR", "out"]


def test_a_degradation_added_later(made, capsys):
    before = state(made)
    targets = make(made / "out", made / "HR", recipes=[BI, BD], scales=[2, 3])
    assert [target.name for target in targets] == ["HR", "LRBI_x2", "LRBI_x3", "LRBD_x2", "LRBD_x3"]
    assert before.items() <= state(made).items()
    assert_equal(pixels(made / "out/LRBD_x3.lmdb"), small(COLOUR, "BD", 3))
    assert capsys.readouterr().out.count("kept") == 2


OTHER_IMAGES = (
    "{} exists and was made of other images (or of copies with another date), or in another way: remove it to make it "
    "again, or choose another folder."
)


def test_what_was_made_of_other_images_or_in_another_way_is_refused(made):
    before = state(made / "out")
    settings = {"recipes": [BI], "scales": [2]}
    write(made / "LR/0001.png", small(COLOUR)["0001"])
    write_all(made / "LR", small(COLOUR))

    def refused(name: str, **more) -> None:
        with pytest.raises(FileExistsError) as raised:
            make(made / "out", made / "HR", **{**settings, **more})
        assert str(raised.value) == OTHER_IMAGES.format(made / f"out/{name}.lmdb")
        assert state(made / "out") == before and files(made) == ["HR", "LR", "out"]

    refused("HR", codec="png")
    refused("HR", sub_images=(20, 10))
    refused("LRBI_x2", lr={2: made / "LR"})
    write(made / "HR/0004.png", COLOUR["0001"])
    refused("HR")
    (made / "HR/0004.png").unlink()
    make(made / "out", made / "HR", **settings)
    write(made / "HR/0002.png", COLOUR["0002"][::-1])
    refused("HR")
    (made / "HR/0002.png").unlink()
    refused("HR")


def test_lr_images_that_changed_since(made):
    lr = write_all(made / "LR", small(COLOUR, "BD", 3))
    for _ in range(2):
        make(made / "out", made / "HR", {3: lr})
    write(lr / "0002.png", degrade(COLOUR["0002"], 3, "BI"))
    with pytest.raises(FileExistsError) as raised:
        make(made / "out", made / "HR", {3: lr})
    assert str(raised.value) == OTHER_IMAGES.format(made / "out/LRBD_x3.lmdb")


def test_an_lmdb_of_another_tool_is_not_taken_for_ours(made):
    (made / "out/HR.lmdb/checksums.json").unlink()
    with pytest.raises(FileExistsError, match="was made of other images"):
        make(made / "out", made / "HR")
    put(made / "out/HR.lmdb/checksums.json", b"{}")
    with pytest.raises(FileExistsError, match=r"checksums.json is damaged: .*: check it with verify-lmdb, or"):
        make(made / "out", made / "HR")


def test_lr_images_that_are_bad_where_the_hr_images_are_there_already(made):
    write_all(made / "LR", small(COLOUR, "BD", 3))
    (made / "LR/0002.png").write_bytes((made / "LR/0002.png").read_bytes()[:-60])
    before = state(made / "out/HR.lmdb")
    for _ in range(2):
        with pytest.raises(FileExistsError) as raised:
            make(made / "out", made / "HR", {3: made / "LR"}, skip_bad=True)
        assert str(raised.value) == (
            f"{made / 'out/HR.lmdb'}, made before, and {made / 'out/LRBD_x3.lmdb'} differ in 1 images, such as "
            "'0002', because some can no longer be used: remove both, and run this again."
        )
        assert state(made / "out/HR.lmdb") == before
    (made / "LR/0002.png").write_bytes(b"")
    with pytest.raises(FileExistsError, match="was made of other images"):
        make(made / "out", made / "HR", {3: made / "LR"}, skip_bad=True)


def test_hr_images_of_the_lmdb_that_is_there(made):
    write_all(made / "LR", small(COLOUR, "BD", 3))
    before = state(made / "out/HR.lmdb")
    make(made / "out", made / "out/HR.lmdb", {3: made / "LR"}, recipes=[DN], scales=[2], keep_hr=True)
    assert state(made / "out/HR.lmdb") == before
    assert files(made / "out") == ["HR.lmdb", "LRBD_x3.lmdb", "LRBI_x2.lmdb", "LRDN_x2.lmdb"]
    assert_equal(pixels(made / "out/LRDN_x2.lmdb"), small(COLOUR, "DN"))


def test_what_was_made_of_the_lmdb_that_is_there_is_kept_as_it_was(tmp_path):
    lr = write_all(tmp_path / "LR", small(COLOUR, border="symmetric"))
    make(tmp_path / "out", write_all(tmp_path / "HR", COLOUR), {2: lr})
    before = state(tmp_path / "out")
    for _ in range(2):
        targets = make(tmp_path / "out", tmp_path / "out/HR.lmdb", recipes=[BI], scales=[2, 3], keep_hr=True)
        assert [(target.name, target.recipe.degradation.border) for target in targets[1:]] == [
            ("LRBI_x2", "symmetric"), ("LRBI_x3", "replicate")
        ]  # fmt: skip
        assert before.items() <= state(tmp_path / "out").items()
    assert_equal(pixels(tmp_path / "out/LRBI_x3.lmdb"), small(COLOUR, scale=3))


def test_a_folder_that_cannot_be_made(made, monkeypatch):
    monkeypatch.chdir(made)
    before = state(made)
    for out in (".", "..", "HR/0001.png"):
        with pytest.raises(ValueError) as raised:
            make(Path(out), made / "HR")
        assert str(raised.value) == (
            f"{out} cannot be the folder of the LMDBs: name a folder; it is created if needed."
        )
    assert state(made) == before


# Sub-images


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


# How it does it


def test_names_that_are_no_text_are_told_apart_and_written_down(tmp_path, capsys):
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


def test_a_folder_that_is_not_of_a_run_before_is_left_alone(tmp_path):
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


def test_too_little_space_is_said_before_it_begins(tmp_path, monkeypatch, capsys):
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
