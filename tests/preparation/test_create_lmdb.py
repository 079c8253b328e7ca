"""The script as it is called: what it prints, and its exit codes."""

import importlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from rcan_plugin.degradations import degrade
from tests.conftest import ROOT
from tests.data.tiny import write
from tests.preparation.scenes import assert_equal, pixels, put, scene, values, write_all

SCRIPT = ROOT / "scripts/create_lmdb.py"
IMAGES = {f"{i:04}": scene(48 + i, 60 - i, seed=i) for i in range(4)}


def small(scale: int, kind: str = "BI") -> dict[str, np.ndarray]:
    return {name: degrade(image, scale, kind) for name, image in IMAGES.items()}


@pytest.fixture
def call(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Call the script in the test's folder, in this process: exit code, output, and errors without progress bars."""
    main = importlib.import_module("rcan_plugin.cli.create_lmdb").main
    monkeypatch.chdir(tmp_path)

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        code = main()
        said = capsys.readouterr()
        errors = [line.rsplit("\r", 1)[-1] for line in said.err.splitlines()]
        return code, said.out, "\n".join(line for line in errors if line.strip() and "image/s]" not in line)

    return called


def listed(*names: str) -> list[str]:
    return sorted(f"{name}.lmdb" for name in names)


def there(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_folder_and_nothing_else(call):
    write_all(Path("mine"), IMAGES)
    code, out, err = call("mine", "--out", "datasets/mine")
    assert (code, err) == (0, "") and there("datasets") == ["mine"] and there("datasets/mine") == listed("HR")
    assert_equal(pixels(Path("datasets/mine/HR.lmdb")), IMAGES)
    assert values(Path("datasets/mine/HR.lmdb"))["0000"].startswith(b"P6\n60 48\n255\n")
    first, *last = out.splitlines()
    assert first.startswith("datasets/mine: 4 images, 4.92e-05 GB as raw, about ") and "; using raw; " in first
    assert last == ["Lines for option files:", "    dataroot_gt: datasets/mine/HR.lmdb"]


def test_pairs_and_images_made(call):
    write_all(Path("HR"), IMAGES)
    write_all(Path("X2"), {f"{name}x2": image for name, image in small(2).items()})
    write_all(Path("LR/X3"), small(3, "BD"))
    with ZipFile("X3.zip", "w") as archive:
        for path in Path("LR/X3").iterdir():
            archive.write(path)
    settings = ["--scales", "2", "3", "--degradations", "BI", "BD", "--codec", "png", "--out", "out"]
    code, out, err = call("HR", "--lr", "X3.zip", "X2", *settings)
    assert (code, err) == (0, "") and there("out") == listed("HR", "LRBI_x2", "LRBI_x3", "LRBD_x2", "LRBD_x3")
    for scale in (2, 3):
        for kind in ("BI", "BD"):
            assert_equal(pixels(Path(f"out/LR{kind}_x{scale}.lmdb")), small(scale, kind))
    assert values(Path("out/HR.lmdb"))["0000"].startswith(b"\x89PNG")
    assert "LR images given at x2: x2 BI (replicate), exactly\n" in out
    assert "LR images given at x3: x3 BD (sigma 1.6), exactly\n" in out
    assert out.splitlines()[-6:] == [
        "Lines for option files:",
        "    dataroot_gt: out/HR.lmdb       # by itself: LR images are made on the fly",
        "    dataroot_lq: out/LRBI_x2.lmdb  # degradation: {type: BI}",
        "    dataroot_lq: out/LRBD_x3.lmdb  # degradation: {type: BD}",
        "    dataroot_lq: out/LRBI_x3.lmdb  # degradation: {type: BI}",
        "    dataroot_lq: out/LRBD_x2.lmdb  # degradation: {type: BD}",
    ]


def test_sub_images_and_an_lmdb_as_the_source(call):
    write_all(Path("HR"), IMAGES)
    assert call("HR", "--out", "whole")[0] == 0
    arguments = ["--sub-images", "36", "12", "--scales", "3", "--degradations", "BI"]
    assert call("whole/HR.lmdb", "--out", "out", *arguments)[0] == 0
    hr, lr = pixels(Path("out/HR.lmdb")), pixels(Path("out/LRBI_x3.lmdb"))
    assert len(hr) == len(lr) == 3 * 2 * 3 + 3 * 3
    np.testing.assert_array_equal(hr["0000_s006"], IMAGES["0000"][12:48, 24:60])
    np.testing.assert_array_equal(lr["0000_s006"], small(3)["0000"][4:16, 8:20])
    code, out, err = call("HR", "--out", "other", "--sub-images", "35", "12", "--scales", "3", "--degradations", "BI")
    assert (code, out) == (2, "") and err == (
        "sub-images: size is 35; expected a multiple of 3, so that it has a whole number of pixels at every scale: "
        "use 36."
    )


def test_bad_images(call):
    write_all(Path("HR"), IMAGES)
    put(Path("HR/0001.png"), b"")
    put(Path("HR/0002.png"), Path("HR/0002.png").read_bytes()[:-100])
    code, out, err = call("HR", "--out", "new/out")
    assert (code, out) == (1, "")
    first, second, last = err.splitlines()
    assert first == "HR/0001.png: is empty (0 bytes): fetch or make it again"
    assert second.startswith("HR/0002.png: is damaged or cut short (") and second.endswith(": fetch or make it again")
    assert last == (
        "2 images cannot be used. Nothing was written: repair or remove them; --skip-bad leaves them out, if "
        "others remain."
    )
    assert not Path("new").exists() or there("new") == []
    code, out, err = call("HR", "--out", "new/out", "--skip-bad")
    assert (code, err) == (0, "") and out.count("left out: HR/000") == 2
    assert_equal(pixels(Path("new/out/HR.lmdb")), {name: IMAGES[name] for name in ("0000", "0003")})
    shutil.rmtree("new")
    for name in ("0000", "0003"):
        put(Path(f"HR/{name}.png"), b"rubbish")
    code, out, err = call("HR", "--out", "new/out", "--skip-bad")
    assert code == 1 and "4 images cannot be used" in err
    assert not Path("new").exists() or there("new") == []


def test_what_cannot_be_done(call):
    write_all(Path("HR"), IMAGES)
    write_all(Path("X2"), small(2))
    write_all(Path("X5"), {name: image[::5, ::5] for name, image in IMAGES.items()})
    for arguments, said in [
        (["nowhere"], "nowhere does not exist (looked for from "),
        (["HR/0000.png"], "cannot be read as a zip archive (File is not a zip file): expected a folder, a zip archive"),
        (["HR", "--scales", "2"], "--scales and --degradations go together: "),
        (["HR", "--lr", "X2", "X2"], "X2 and another folder both hold LR images of x2: give one."),
        (["HR", "--lr", "X5"], "smaller than the HR images by 4.85, on average; expected 2, 3, 4 or 8"),
    ]:
        code, out, err = call(*arguments, "--out", "out")
        assert (code, out) == (2, "") and said in err, err
    assert call("HR", "--out", "out")[0] == 0
    write(Path("HR/0004.png"), IMAGES["0000"])
    code, out, err = call("HR", "--out", "out")
    assert (code, out) == (2, "") and err.startswith("out/HR.lmdb exists and was made of other images")
    assert there(".") == ["HR", "X2", "X5", "out"] and there("out") == listed("HR")


def test_exit_codes_of_the_program(run, tmp_path):
    write_all(tmp_path / "HR", IMAGES)
    assert "dataroot_gt: out/HR.lmdb" in run(SCRIPT, "HR", "--out", "out").stdout
    put(tmp_path / "HR/0000.png", b"")
    done = run(SCRIPT, "HR", "--out", "other", code=1)
    assert done.stderr.splitlines()[-2].endswith("HR/0000.png: is empty (0 bytes): fetch or make it again")
    run(SCRIPT, "HR", code=2)
