"""Lists of images and classes: their formats, and what does not fit together."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from rcan_plugin.recognition.labels import check_classes, read


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("a.png", "sub/b.JPEG", "c d.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / name), np.zeros((2, 2), np.uint8))
    (tmp_path / "images/synsets.txt").touch()
    return tmp_path / "images"


def listed(folder: Path, text: str, **arguments):
    (folder.parent / "val.txt").write_text(text, encoding="utf-8")
    return [
        (str(image.path.relative_to(folder)), image.label)
        for image in read(folder.parent / "val.txt", folder, **arguments)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "sub/b.JPEG 7\na.png 0\nc d.png 12\n",
        "\ufeffb.JPEG\t7\r\na.png 0\r\n\r\nc d.png 12",
        "b 7\na 0\nc d 12\n",
        'image,label\nsub/b.JPEG,7\na.png,0,extra\n"c d.png", 12\n',
        "sub\\b.JPEG, 7\n./a.png, 0\nc d.png, 12\n",
    ],
    ids=["as ImageNet's", "tabs, CRLF, mark", "without suffix", "CSV with heading", "Windows' folders"],
)
def test_formats(folder, text):
    assert listed(folder, text) == [("sub/b.JPEG", 7), ("a.png", 0), ("c d.png", 12)]


def test_the_first_lines_leave_the_other_images_out(folder):
    assert listed(folder, "b 7\na 0\nc d 12\n", first=2) == [("sub/b.JPEG", 7), ("a.png", 0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b 7\na 0\n", r"c d\.png are in .*images and not listed in .*val\.txt: complete .*--first N"),
        ("b 7\na 0\nc d 1\ne 3\nf 3\n", r"^e, f are listed in .*val\.txt and not in .*images"),
        ("b 7\na 0\nc d 1\nsub/b 7\n", r"b, sub/b are the same image"),
        ("b 7\na 0\na 0\n", r"line 3: a is listed twice"),
        ("b 7\na n01440764\n", r"line 2 is 'a n01440764'; expected NAME CLASS, the class a whole number from 0"),
        ("b 7\na -1\n", r"line 2 is 'a -1'"),
        ("a.png,x\n", r"line 1 is 'a\.png,x'"),
        ("7\n", r"line 1 is '7'"),
        ("\n", r"lists no image"),
    ],
)
def test_what_does_not_fit_is_named(folder, text, message):
    with pytest.raises(ValueError, match=message):
        listed(folder, text)


def test_a_name_in_two_folders_needs_its_folder(folder):
    (folder / "other").mkdir()
    (folder / "other/b.JPEG").write_bytes((folder / "sub/b.JPEG").read_bytes())
    with pytest.raises(ValueError, match=r"^b are listed in .* and fit several images of "):
        listed(folder, "b 7\na 0\nc d 1\n", first=9)
    assert listed(folder, "other/b 7\nsub/b 6\na 0\nc d 1\n")[:2] == [("other/b.JPEG", 7), ("sub/b.JPEG", 6)]


def test_files_and_folders_that_are_missing(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--labels: .*none\.txt does not exist"):
        read(tmp_path / "none.txt", folder)
    (tmp_path / "val.txt").write_bytes(b"caf\xe9 1\n")
    with pytest.raises(ValueError, match=r"val\.txt is not UTF-8 text"):
        read(tmp_path / "val.txt", folder)
    with pytest.raises(FileNotFoundError, match=r"--images: .*none does not exist"):
        read(tmp_path / "val.txt", tmp_path / "none")


def test_classes_that_the_classifier_lacks(folder):
    (folder.parent / "val.txt").write_text("b 1\na 2\nc d 3\n")
    images = read(folder.parent / "val.txt", folder)
    check_classes(images, 4, "val.txt")
    with pytest.raises(ValueError, match=r"^val\.txt: c d \(3\) have .*; it has 0 to 2: the list counts from 1: subtr"):
        check_classes(images, 3, "val.txt")
    with pytest.raises(ValueError, match=r"a \(2\), c d \(3\) have a class .* 0 to 1: correct the list"):
        check_classes(images, 2, "val.txt")
