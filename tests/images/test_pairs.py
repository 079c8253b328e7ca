"""Names of HR and LR images: matched, and their affixes guessed. The data set tests the rest of `find_pairs`."""

import unicodedata

import pytest

from rcan_plugin.images.pairs import Affixes, common_affixes, find_pairs, guess_affixes, match_names
from rcan_plugin.images.store import ImageStore
from tests.data.tiny import picture, write, write_lmdb

GUESSES = [
    (["0001", "0002"], ["0001", "0002"], Affixes(), Affixes()),
    (["0001", "0002"], ["0001x2", "0002x2"], Affixes(), Affixes("", "x2")),
    (["0001"], ["0001_x8"], Affixes(), Affixes("", "_x8")),
    (["a", "ax2"], ["ax2", "ax2x2"], Affixes(), Affixes("", "x2")),
    (["baby_HR_x2", "bird_HR_x2"], ["baby_LR_x2", "bird_LR_x2"], Affixes("b", "_HR_x2"), Affixes("b", "_LR_x2")),
    (["HR_1", "HR_2"], ["LR (1)", "LR (2)"], Affixes("HR_"), Affixes("LR (", ")")),
    # A prefix that some names have in common by chance does not separate the others.
    (["baby_HR", "bird_HR", "head_HR"], ["baby_LR", "bird_LR"], Affixes("", "_HR"), Affixes("", "_LR")),
    (["a"], ["b"], Affixes(), Affixes()),
]


@pytest.mark.parametrize(("hr", "lr", "gt", "lq"), GUESSES)
def test_affixes_are_those_with_which_most_names_match(hr, lr, gt, lq):
    assert guess_affixes(hr, reversed(lr)) == (gt, lq)


def test_names_without_partner_are_left_out():
    assert match_names(["a_HR", "b_HR", "c"], {"a_LR", "c_LR"}, Affixes("", "_HR"), Affixes("", "_LR")) == {
        "a_HR": "a_LR"
    }
    assert match_names(["_HR"], {"_LR"}, Affixes("", "_HR"), Affixes("", "_LR")) == {}, "no name is left"


def test_common_prefix_and_suffix_do_not_overlap():
    assert common_affixes(["aba", "ababa"]) == Affixes("aba", "")
    assert common_affixes(["a"]) == Affixes("a", "")
    assert Affixes("ab", "ba").remove("aba") is None


def folder(path, names):
    for name in names:
        write(path / name, picture(4, 4, seed=0))
    return ImageStore(path)


def test_pairs_of_folders_with_guessed_affixes(tmp_path):
    hr, lr = folder(tmp_path / "HR", ["1.png", "2.png"]), folder(tmp_path / "LR", ["1x3.png", "2x3.bmp"])
    assert find_pairs(hr, lr, gt_template=None, lq_template=None) == [("1.png", "1x3.png"), ("2.png", "2x3.bmp")]
    with pytest.raises(ValueError, match=r"HR/1\.png has no partner: no image named '1' in .*LR"):
        find_pairs(hr, lr)
    more = folder(tmp_path / "HR", ["3.png"])
    with pytest.raises(ValueError, match=r"HR/3\.png has no partner: no image named '3x3' in "):
        find_pairs(more, lr, gt_template=None, lq_template=None)


@pytest.mark.parametrize("side", ["HR", "LR"])
def test_two_images_of_one_name_are_refused(tmp_path, side):
    stores = {name: folder(tmp_path / name, ["a.png", *(["a.bmp"] if name == side else [])]) for name in ("HR", "LR")}
    with pytest.raises(ValueError, match=rf"{side} holds two images of one name, a\.bmp and a\.png"):
        find_pairs(stores["HR"], stores["LR"])


def test_two_forms_of_one_name_are_refused_with_both_spelt_out(tmp_path):
    names = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    hr, lr = folder(tmp_path / "HR", names), folder(tmp_path / "LR", names[:1])
    with pytest.raises(ValueError) as raised:
        find_pairs(hr, lr)
    assert "(in another Unicode form: 'e\\u0301.png' and '\\xe9.png')" in str(raised.value)


def test_two_lines_of_an_lmdb_with_one_key_are_refused(tmp_path):
    write_lmdb(tmp_path / "HR.lmdb", {"img": picture(4, 4, seed=0)})
    (tmp_path / "HR.lmdb/meta_info.txt").write_text("img.v1.png (4,4,3) 1\nimg.v2.png (4,4,3) 1\n")
    with pytest.raises(ValueError, match=r"meta_info\.txt of LMDB .*HR\.lmdb names 'img' twice \(1 such keys"):
        find_pairs(ImageStore(tmp_path / "HR.lmdb"), None)


def test_lr_images_of_listed_subfolders_are_not_taken_from_elsewhere(tmp_path):
    """BasicSR takes `LR/1.png` for `HR/more/1.png`."""
    hr, lr = folder(tmp_path / "HR", ["1.png", "more/1.png"]), folder(tmp_path / "LR", ["1.png"])
    (tmp_path / "list.txt").write_text("more/1.png\n")
    assert find_pairs(hr, lr, meta_info_file=tmp_path / "list.txt") == [("more/1.png", "1.png")]
    folder(tmp_path / "LR/more", ["1.png"])
    with pytest.raises(
        ValueError, match=r"HR/more/1\.png is in a subfolder that .*LR has too, but LR images are only read"
    ):
        find_pairs(hr, lr, meta_info_file=tmp_path / "list.txt")
