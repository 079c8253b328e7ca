"""What is said once for a data set of its files, and kinds of images that are refused."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.scan import scan
from tests.data.tiny import options, picture, write, write_lmdb
from tests.preparation.scenes import make, put


def texts(opt) -> list[str]:
    return [text for _, text in scan(DatasetOptions.read(opt)).messages]


def made(folder, **more) -> dict:
    """Options of HR images alone, and the LR made of them."""
    return options(folder, dataroot_lq=None, degradation={"type": "BI"}, **more)


def test_files_that_are_ignored_are_counted_by_suffix(folders):
    assert texts(options(folders)) == []
    for name in ("d.gif", "e.GIF", "notes.txt", "LICENSE", ".hidden.txt", "more/f.png", "degradation.json"):
        put(folders / "HR" / name, b"")
    assert texts(options(folders)) == [
        f"{folders / 'HR'}: ignored because of their suffix: 2 .gif, 1 .txt, 1 without suffix, 1 folder."
    ]


def test_16_bits_that_are_cut_are_reported_once(folders):
    for name in "ab":
        write(folders / "HR" / f"{name}.png", picture(40, 48, seed=1, dtype=np.uint16))
    cut = "16 bits are cut to 8, as in BasicSR; keep_depth: true keeps them."
    assert texts(made(folders)) == [f"image {folders / 'HR/a.png'} and 1 more: {cut}"]
    assert all("cut" not in text for text in texts(made(folders, keep_depth=True)))
    shutil.rmtree(folders / "HR")
    write(folders / "HR/a.png", picture(40, 48, seed=1, dtype=np.uint16))
    make(folders / "out", folders / "HR")
    opt = made(folders, dataroot_gt=str(folders / "out/HR.lmdb"), io_backend=None)
    assert texts(opt) == [f"image a of LMDB {folders / 'out/HR.lmdb'}: {cut}"]


def test_colours_that_are_converted_are_reported_once(folders):
    for name in "ac":
        Image.new("CMYK", (48, 40)).save(folders / "HR" / f"{name}.tif")
        (folders / "HR" / f"{name}.png").unlink()
    text = "CMYK colours are converted without a colour profile: make RGB images of them."
    assert texts(made(folders)) == [f"image {folders / 'HR/a.tif'} and 1 more: {text}"]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_32_bits_are_refused_once_for_the_set(dtype, folders):
    for name in "de":
        write(folders / "HR" / f"{name}.tif", np.zeros((40, 48), dtype))
    with pytest.raises(ValueError, match=r"image .*d\.tif and 1 more: 32 bits a value; expected 8 or 16 bits: convert"):
        texts(made(folders))


def test_images_whose_results_would_have_one_name_are_refused_in_validation(folders):
    hr = cv2.imread(str(folders / "HR/a.png"))
    write(folders / "HR/a.bmp", hr)
    same = r"would both be named 'a': rename or remove one"
    with pytest.raises(ValueError, match=rf"results of image .*HR/a\.bmp and image .*HR/a\.png {same}"):
        texts(made(folders))
    assert texts({**made(folders), "phase": "train", "gt_size": 16, "use_hflip": True, "use_rot": True}) == []
    path = write_lmdb(folders / "HR.lmdb", {"x/a": hr, "y/a": hr})
    with pytest.raises(ValueError, match=rf"image x/a of LMDB .* and image y/a of LMDB .* {same}"):
        texts(made(folders, dataroot_gt=path, io_backend=None))
    (folders / "HR/a.bmp").unlink()
    write(folders / "HR/more/a.png", hr)
    listed = put(folders / "list.txt", b"a.png\nmore/a.png\n")
    with pytest.raises(ValueError, match=rf"HR/a\.png and image .*HR/more/a\.png {same}"):
        texts(made(folders, meta_info_file=str(listed)))
