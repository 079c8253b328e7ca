"""Which images can be used, which belong together, and where they are cut."""

import numpy as np
import pytest

from rcan_plugin.images.decode import ImageError
from rcan_plugin.images.header import Header
from rcan_plugin.preparation.items import Item, SubImages
from rcan_plugin.preparation.plan import make_plan
from tests.preparation.memory_images import by_opencv, source
from tests.preparation.scenes import encoded

IMAGES = {(height, width): encoded(np.zeros((height, width, 3), np.uint8)) for height in (4, 8) for width in (5, 10)}


SMALL, LARGE = IMAGES[4, 5], IMAGES[8, 10]


def plan(hr, lr=(), **more):
    """What becomes of HR and LR images at x2: of good ones keys with LR names, and of bad ones (file, reason)."""
    hr = hr if isinstance(hr, dict) else dict.fromkeys(hr, LARGE)
    lr = lr if isinstance(lr, dict) else dict.fromkeys(lr, SMALL)
    given = {2: [source(content, f"LR/{name}.png") for name, content in lr.items()]} if lr else {}
    items, bad = make_plan([source(content, f"{name}.png") for name, content in hr.items()], given, **more)
    return {item.key: item.lr[2].stem if lr else "" for item in items}, [(one.place, one.reason) for one in bad]


PAIRS = [
    (["0001", "0002"], ["0001", "0002"], ["0001", "0002"]),
    (["0001", "0002"], ["0001x2", "0002x2"], ["0001x2", "0002x2"]),
    (["0001", "0002"], ["0001_x2", "0002_x2"], ["0001_x2", "0002_x2"]),
    (["a", "ax2"], ["ax2", "ax2x2"], ["ax2", "ax2x2"]),
    (["a", "ax2"], ["a", "ax2"], ["a", "ax2"]),
    (["baby_HR_x2", "bird_HR_x2"], ["baby_LRBI_x2", "bird_LRBI_x2"], ["baby_LRBI_x2", "bird_LRBI_x2"]),
    (["HR_1", "HR_2"], ["LR (1)", "LR (2)"], ["LR (1)", "LR (2)"]),
    (["{}1", "{}2"], ["{}1-{0}", "{}2-{0}"], ["{}1-{0}", "{}2-{0}"]),
    (["{a}_HR", "{b}_HR"], ["{a}_LR", "{b}_LR"], ["{a}_LR", "{b}_LR"]),
    (["two words", "and three"], ["two wordsx2", "and threex2"], ["two wordsx2", "and threex2"]),
    (["img.v2"], ["img.v2x2"], ["img.v2x2"]),
    (["Zu\u0308rich", "Go\u0308rlitz"], ["Z\u00fcrichx2", "G\u00f6rlitzx2"], ["Z\u00fcrichx2", "G\u00f6rlitzx2"]),
]


@pytest.mark.parametrize(("hr", "lr", "partners"), PAIRS)
def test_pairs_by_name(hr, lr, partners):
    good, bad = plan(hr, reversed(lr))
    assert bad == [] and good == dict(zip([key_of_(name) for name in hr], partners, strict=True))
    assert list(good) == sorted(good)


def key_of_(name: str) -> str:
    """The keys of the names above, written out."""
    known = {"img.v2": "img_v2", "Zu\u0308rich": "Zu00fcrich", "Go\u0308rlitz": "Gu00f6rlitz"}
    return known.get(name, name)


@pytest.mark.parametrize(("hr", "lr"), [("{}", "{}"), ("{}", "{}x2"), ("{}_HR_x2", "{}_LRBI_x2")])
def test_images_without_partner_do_not_upset_the_others(hr, lr):
    all_names = ["baby", "bird", "butterfly", "head", "woman"]
    good, bad = plan([hr.format(name) for name in all_names[:4]], [lr.format(name) for name in all_names[1:]])
    assert good == {hr.format(name): lr.format(name) for name in all_names[1:4]}
    one, other = hr.format("baby"), lr.format("woman")
    assert bad == [
        (f"LR/{other}.png", "has no HR image (x2)"),
        (f"{one}.png", f"has no LR image at x2 (looked for {one}x2 and the like)"),
    ]


def test_what_some_names_have_in_common_by_chance_does_not_part_them():
    good, bad = plan(["baby_HR", "bird_HR", "head_HR"], ["baby_LR", "bird_LR"])
    assert good == {"baby_HR": "baby_LR", "bird_HR": "bird_LR"} and [place for place, _ in bad] == ["head_HR.png"]


def test_one_pair_of_other_names_is_none():
    good, bad = plan(["a"], ["b"])
    assert good == {} and [place for place, _ in bad] == ["LR/b.png", "a.png"]


def test_two_files_of_one_name():
    good, bad = plan(["1/a", "2/a", "a.b", "a_b", "c"], ["1/a", "a_b", "c", "3/c"])
    same = "would get the same key, {}, as {}: rename or remove one"
    assert good == {} and bad == [
        ("1/a.png", same.format("a", "2/a.png")),
        ("2/a.png", same.format("a", "1/a.png")),
        ("LR/3/c.png", same.format("c", "LR/c.png")),
        ("LR/c.png", same.format("c", "LR/3/c.png")),
        ("a.b.png", same.format("a_b", "a_b.png")),
        ("a_b.png", same.format("a_b", "a.b.png")),
    ]


def test_wrong_sizes_and_depths():
    deep = by_opencv(".png", np.zeros((8, 10, 3), np.uint16))
    small_deep = by_opencv(".png", np.zeros((4, 5, 3), np.uint16))
    hr = {"a": LARGE, "b": LARGE, "c": deep, "d": LARGE, "e": LARGE}
    good, bad = plan(hr, {"a": SMALL, "b": IMAGES[4, 10], "c": small_deep, "d": small_deep, "e": LARGE})
    assert good == {"a": "a"} and bad == [
        ("LR/b.png", "is 4x10; x2 of b.png, 8x10, is 4x5"),
        ("LR/d.png", "has 16 bits a value and its HR image has 8: convert it"),
        ("LR/e.png", "is 8x10; x2 of e.png, 8x10, is 4x5"),
        ("c.png", "has 16 bits a value and most images have 8: convert it"),
    ]
    good, bad = plan({"a": deep, "b": deep, "c": LARGE})
    assert list(good) == ["a", "b"]
    assert bad == [("c.png", "has 8 bits a value and most images have 16: convert it")]


@pytest.mark.parametrize("header", [Header(8, 9, False, False), Header(8, 10, False, False, bits=16)])
def test_pixels_that_differ_from_the_header_are_refused(header):
    with pytest.raises(ImageError, match=r"^its pixels, \(8, 10, 3\), uint8, differ from its header$"):
        Item("a", source(LARGE), header).read(1)


def test_lr_images_are_of_the_hr_image_cropped_to_a_multiple():
    hr = encoded(np.zeros((9, 11, 3), np.uint8))
    assert plan({"a": hr}, {"a": SMALL}) == ({"a": "a"}, [])
    larger = encoded(np.zeros((5, 6, 3), np.uint8))
    assert plan({"a": hr}, {"a": larger})[1] == [("LR/a.png", "is 5x6; x2 of a.png, 9x11, is 4x5")]


def test_too_small_to_be_shrunk():
    good, bad = plan({"a": IMAGES[4, 10], "b": LARGE}, largest_scale=8)
    assert list(good) == ["b"] and bad == [("a.png", "is 4x10, smaller than one pixel at x8: leave it out")]
    assert plan({"a": IMAGES[4, 10]}, largest_scale=4)[1] == []


def test_a_name_that_is_too_long():
    good, bad = plan([505 * "a", 500 * "b"])
    assert list(good) == [500 * "b"]
    assert [reason for _, reason in bad] == ["its name has 505 letters; at most 500 make a key: rename it"]


def test_both_images_of_a_pair_may_be_bad():
    good, bad = plan({"a": b"", "b": LARGE}, {"a": b"rubbish", "b": SMALL})
    assert good == {"b": "b"} and [place for place, _ in bad] == ["LR/a.png", "a.png"]


def test_sub_images_that_do_not_fit_the_scales_or_the_images():
    for values, said in [
        ((481, 240), "sub-images: size is 481; expected a multiple of 12, so that it has a whole number of pixels at "
                     "every scale: use 480."),
        ((480, 250), "sub-images: step is 250; expected a multiple of 12, so that it has a whole number of pixels at "
                     "every scale: use 252."),
        ((480, 0), "sub-images: step is 0; expected a multiple of 12, so that it has a whole number of pixels at "
                   "every scale: use 12."),
    ]:  # fmt: skip
        with pytest.raises(ValueError) as raised:
            SubImages.for_scales(*values, [2, 3, 4])
        assert str(raised.value) == said
    assert SubImages.for_scales(481, 1, []).unit == 1
    good, bad = plan({"a": LARGE, "b": IMAGES[4, 10]}, sub_images=SubImages.for_scales(6, 2, [2]))
    assert list(good) == ["a"] and bad == [("b.png", "is 4x10, smaller than a sub-image of 6: leave it out")]
    odd = {"a": encoded(np.zeros((7, 7, 3), np.uint8))}
    assert plan(odd, sub_images=SubImages.for_scales(6, 6, [2, 3]))[1] == []
