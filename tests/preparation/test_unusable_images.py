"""Images that cannot be used: all are named, and nothing is written or they are left out."""

from pathlib import Path

import numpy as np
import pytest

from rcan_plugin.preparation.items import UnusableImagesError
from rcan_plugin.preparation.verify import verify
from tests.data.tiny import picture, write
from tests.preparation.scenes import BD, BI, assert_equal, encoded, make, pixels, put, scene, values, write_all
from tests.preparation.sets import COLOUR, files, lr_renamed, record, small, unusable_in


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
        "HR/n11.png": "(16 bytes) cannot be read as an image: it is damaged, cut short or no image",
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
    with pytest.raises(UnusableImagesError, match=f"^{len(expected)} images? cannot be used$") as raised:
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


def test_only_damaged_pixels_are_found_while_writing(tmp_path):
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
