"""Lists of images: names with blanks, accents, folders and dots are found, or refused by name."""

import unicodedata

import pytest

from rcan_plugin.images.name_lists import listed_names
from rcan_plugin.images.pairs import find_pairs
from rcan_plugin.images.store import ImageStore
from tests.data.tiny import picture, write, write_lmdb
from tests.preparation.scenes import make, put

IMAGE = picture(4, 4, seed=0)
NFC, NFD = (unicodedata.normalize(form, "Zürich 2") for form in ("NFC", "NFD"))


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, ImageStore]:
    """The same images in a folder, in the LMDB made of it, and as BasicSR makes an LMDB, which keeps folders."""
    root = tmp_path_factory.mktemp("stores")
    names = ["img", "img 2", "img (1)", "img.v2", NFD, "more/deep", "9"]
    for name in names:
        write(root / "HR" / f"{name}.png", IMAGE)
    make(root / "out", root / "HR")
    write_lmdb(root / "theirs.lmdb", dict.fromkeys(["img", "img 2", "a/img", "a/1"], IMAGE))
    places = {"folder": "HR", "ours": "out/HR.lmdb", "theirs": "theirs.lmdb"}
    return {name: ImageStore(root / place) for name, place in places.items()}


def read(tmp_path, store: ImageStore, content: str | bytes) -> list[str]:
    return listed_names(put(tmp_path / "list.txt", content if isinstance(content, bytes) else content.encode()), store)


FOUND = [
    ("img 2.png", "img 2.png", "img 2"),
    ("img 2.png (4,4,3)", "img 2.png", "img 2"),
    ("img 2.png (4, 4, 3) 1", "img 2.png", "img 2"),
    ("img 2.png 7 (4,4,3)", "img 2.png", "img 2"),
    ("img 2.png\t7", "img 2.png", "img 2"),
    ("img.png 2", "img.png", "img"),
    ("img (1).png (4,4,3) 1", "img (1).png", "img (1)"),
    ("img.v2.png", "img.v2.png", "img_v2"),
    (f"{NFC}.png (4,4,3)", f"{NFD}.png", "Zu00fcrich 2"),
    (f"{NFD}.png", f"{NFD}.png", "Zu00fcrich 2"),
    ("more/deep.png (4,4,3)", "more/deep.png", "deep"),
]


@pytest.mark.parametrize(("line", "in_folder", "in_lmdb"), FOUND, ids=ascii)
def test_the_image_that_a_line_names_is_found(line, in_folder, in_lmdb, stores, tmp_path):
    assert read(tmp_path, stores["folder"], line) == [in_folder]
    assert read(tmp_path, stores["ours"], line) == [in_lmdb]


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfimg 2.png\r\n\r\n9.png (4,4,3)\r\n", b"\n 9.png\rimg 2.png \n\n"])
def test_byte_order_marks_and_ends_of_lines(content, stores, tmp_path):
    assert read(tmp_path, stores["folder"], content) == ["9.png", "img 2.png"]
    assert read(tmp_path, stores["ours"], content) == ["9", "img 2"]


def test_keys_with_folders_and_names_without_suffix(stores, tmp_path):
    assert read(tmp_path, stores["theirs"], "a/img.png (4,4,3)\nimg 2\n") == ["a/img", "img 2"]


MISSING = ["img 3.png", "img 3", "img.v3.png", "IMG.png", "img.jpg", "b/1.png", "1.png", "img x.png (4,4,3) 1"]


@pytest.mark.parametrize("line", MISSING)
def test_what_is_not_there_is_refused_by_name(line, stores, tmp_path):
    """An LMDB has `img`, and no other name may be taken for it; only the suffix does not count there."""
    name = line.removesuffix(" (4,4,3) 1")
    for kind, store in stores.items():
        if kind == "folder" or name != "img.jpg":
            with pytest.raises(FileNotFoundError) as raised:
                read(tmp_path, store, f"img.png\n{line}\n")
            assert f"list.txt, line 2, names {name!r}, which is not in {store.root}" in str(raised.value)
    assert read(tmp_path, stores["ours"], "img.jpg") == ["img"]


def test_two_lines_that_name_one_image_in_two_ways_are_refused(stores, tmp_path):
    with pytest.raises(ValueError, match=r"names 'a/9\.png' and 'b/9\.png' \(line 2\), and both are image 9 of LMDB"):
        read(tmp_path, stores["ours"], "a/9.png\nb/9.png\n")
    assert read(tmp_path, stores["ours"], "9.png\n9.png (4,4,3)\n") == ["9"], "the same name twice is one image"
    with pytest.raises(ValueError, match=r"names '9\.png' and '\./9\.png' \(line 2\), and both are "):
        read(tmp_path, stores["folder"], "9.png\n./9.png\n")


def test_a_list_that_is_no_text(stores, tmp_path):
    with pytest.raises(ValueError, match=r"list\.txt is not UTF-8 text .*: save it as UTF-8"):
        read(tmp_path, stores["folder"], "img.png\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"list\.txt lists no image"):
        read(tmp_path, stores["folder"], "\ufeff\r\n")
    with pytest.raises(FileNotFoundError, match=r"names 'x{400}', which is not in"):
        read(tmp_path, stores["folder"], "x" * 400)


def test_pairs_of_a_folder_and_an_lmdb_with_other_forms_of_a_name(stores, tmp_path):
    for name in ("img.v2", NFC):
        write(tmp_path / "LR" / f"{name}_x2.png", IMAGE)
    path = put(tmp_path / "list.txt", f"img.v2.png\n{NFC}.png\n".encode())
    for kind, names in {"folder": [f"{NFD}.png", "img.v2.png"], "ours": ["Zu00fcrich 2", "img_v2"]}.items():
        pairs = find_pairs(stores[kind], ImageStore(tmp_path / "LR"), lq_template="{}_x2", meta_info_file=path)
        assert pairs == list(zip(names, [f"{NFC}_x2.png", "img.v2_x2.png"], strict=True))
