"""Options of the data set: what is refused, and by which names."""

import pytest

from rcan_plugin.data.options import DatasetOptions
from tests.data.several import SCALES, by_batches, enlarged, made
from tests.data.tiny import options


def refused(root, **more) -> str:
    phase = more.pop("phase", "train")
    with pytest.raises(ValueError) as caught:
        made(root, phase, **more)
    return str(caught.value)


WITH_SCALES = {"scale": None, "scales": SCALES, "gt_size": None, "lq_size": 9}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"scale": 2}, ("scales is [2, 3, 4] and scale is 2", "give one")),
        (
            {"dataroot_lq": "LR"},
            ("scales is [2, 3, 4] and dataroot_lq is 'LR'", "LR images are made on the fly"),
        ),
        (
            {"phase": "val", "lq_size": None},
            ("scales is [2, 3, 4]; expected scale",),
        ),
        *(
            ({"scales": wrong}, (f"scales is {wrong!r}; expected whole numbers", "such as [2, 3, 4]"))
            for wrong in (2, "2, 3", [], [2, "3"], [2, 0], [2.0], [True, 2], {2: 3})
        ),
        ({"gt_size": 36}, ("lq_size is 9 and gt_size is 36", "give one of the two")),
        ({"pre_upsample": True}, ("lq_size is 9 and pre_upsample is true", "give gt_size")),
        (
            {"gt_size": 36, "lq_size": None},
            ("gt_size is 36 and scales is [2, 3, 4]", "give lq_size", "or pre_upsample: true"),
        ),
        ({"lq_size": 0}, ("lq_size is 0; expected a whole number of 1 or more",)),
        ({"lq_size": "9"}, ("lq_size is '9'; expected a whole number of 1 or more",)),
        ({"lq_size": None}, ("option gt_size is missing",)),
        *(
            ({"pre_upsample": wrong}, (f"pre_upsample is {wrong!r}; expected true or false",))
            for wrong in (1, 0, "true", [2, 3], 2.0)
        ),
    ],
    ids=str,
)
def test_options_that_contradict_each_other(more, said, images):
    text = refused(images, **{**WITH_SCALES, **more})
    assert all(part in text for part in ("data set tiny", *said)), text


def test_one_scale_may_come_with_lq_size(images):
    item = made(images, scale=3, gt_size=None, lq_size=11)[0]
    assert item["lq"].shape == (3, 11, 11) and item["gt"].shape == (3, 33, 33)


def test_images_that_are_too_small_for_the_largest_scale(images):
    by_batches(images, lq_size=12)
    assert refused(images, **{**WITH_SCALES, "lq_size": 13}) == (
        f"image {images / 'HR' / 'a.png'} is 50x55, at scale 4 48x52, smaller than lq_size 13 x 4: remove it or lower "
        "lq_size."
    )
    enlarged(images, gt_size=48)
    assert refused(images, pre_upsample=True, scale=None, scales=SCALES, gt_size=49) == (
        f"image {images / 'HR' / 'a.png'} is 50x55, at scale 3 48x54, smaller than gt_size 49: remove it or lower "
        "gt_size."
    )
    assert refused(images, pre_upsample=True, gt_size=50) == (
        f"image {images / 'HR' / 'b.png'} is 49x53, at scale 2 48x52, smaller than gt_size 50: remove it or lower "
        "gt_size."
    )


def test_equal_options_are_equal_and_hashable(folders):
    read = DatasetOptions.read(options(folders, "train"))
    assert read == DatasetOptions.read(options(folders, "train")) and len({read, read}) == 1
    assert read != DatasetOptions.read(options(folders, "train", gt_size=18))
    assert read.scales == (2,) and read.training is not None and read.training.hr_size(2) == 16


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("use_hflip", "false", "true or false"),
        ("use_rot", None, "missing"),
        ("batch_size_per_gpu", True, "whole number"),
        ("dataset_enlarge_ratio", 0, "above 0"),
        ("channels", 2, "1 (gray) or 3"),
        ("scale", 2.0, "whole number"),
        ("phase", None, "missing"),
    ],
)
def test_a_bad_value_is_refused_with_data_set_key_and_value(folders, key, value, expected):
    opt = {**options(folders, "train"), key: value}
    if value is None:
        del opt[key]
    with pytest.raises(ValueError) as refused:
        DatasetOptions.read(opt)
    text = str(refused.value)
    assert "data set tiny" in text and key in text and expected in text
    assert value is None or repr(value) in text
