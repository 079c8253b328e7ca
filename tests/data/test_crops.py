"""Crops of pairs: position, size and orientation follow from the random numbers."""

import numpy as np
import pytest

from rcan_plugin.data.crops import HFLIP, TRANSPOSE, VFLIP, PairReader
from rcan_plugin.data.options import DatasetOptions, TrainingOptions
from rcan_plugin.data.stream import RandomNumbers
from rcan_plugin.degradations import degrade
from rcan_plugin.images.pairs import Pair
from rcan_plugin.images.store import ImageStore
from tests.data.tiny import options, picture

PAIR, SHAPE, SCALE = Pair("a.png", "a.png"), (40, 48), 2


def training(**more) -> TrainingOptions:
    settings = {"gt_size": 16, "lq_size": None, "use_hflip": True, "use_rot": True, "enlarge_ratio": 1, "batch_size": 1}
    return TrainingOptions(**{**settings, **more})


@pytest.fixture(params=["stored", "on the fly"])
def reader(folders, request) -> PairReader:
    """Of the pairs in `folders`, whose LR images are read or made."""
    stored = request.param == "stored"
    more = {} if stored else {"dataroot_lq": None, "degradation": {"type": "BI"}}
    read = DatasetOptions.read(options(folders, "train", **more))
    return PairReader(ImageStore(folders / "HR"), ImageStore(folders / "LR") if stored else None, read)


def images() -> tuple[np.ndarray, np.ndarray]:
    hr = picture(*SHAPE, seed=ord("a"))
    return hr, degrade(hr, SCALE, "BI")


@pytest.mark.parametrize(
    ("numbers", "top", "left"),
    [
        (RandomNumbers(0, 0, 0, 0, 0), 0, 0),
        (RandomNumbers(12, 16, 0, 0, 0), 12, 16),  # the last: 20 and 24 rows and columns less the crop's 8
        (RandomNumbers(13, 17 + 5, 0, 0, 0), 0, 5),  # modulo 13 and 17 positions
    ],
)
def test_top_and_left_choose_among_all_positions(reader, numbers, top, left):
    gt, lq = reader.random_crop(PAIR, SHAPE, SCALE, numbers, training())
    whole_gt, whole_lq = images()
    assert np.array_equal(lq, whole_lq[top : top + 8, left : left + 8])
    assert np.array_equal(gt, whole_gt[2 * top : 2 * top + 16, 2 * left : 2 * left + 16])


@pytest.mark.parametrize("orientation", range(8))
@pytest.mark.parametrize(("hflip", "rot"), [(True, True), (True, False), (False, True), (False, False)])
def test_orientation_is_limited_to_what_the_options_allow(reader, orientation, hflip, rot):
    numbers = RandomNumbers(3, 4, orientation, 0, 0)
    crops = reader.random_crop(PAIR, SHAPE, SCALE, numbers, training(use_hflip=hflip, use_rot=rot))
    whole_gt, whole_lq = images()
    for crop, expected in zip(crops, (whole_gt[6:22, 8:24], whole_lq[3:11, 4:12]), strict=True):
        if hflip and orientation & HFLIP:
            expected = expected[:, ::-1]
        if rot and orientation & VFLIP:
            expected = expected[::-1]
        if rot and orientation & TRANSPOSE:
            expected = expected.transpose(1, 0, 2)
        assert np.array_equal(crop, expected)


def test_lq_size_gives_the_hr_size(reader):
    gt, lq = reader.random_crop(PAIR, SHAPE, SCALE, RandomNumbers(0, 0, 0, 0, 0), training(gt_size=None, lq_size=7))
    assert (gt.shape, lq.shape) == ((14, 14, 3), (7, 7, 3))


def test_the_whole_pair_loses_what_is_no_multiple_of_the_scale(reader):
    gt, lq = reader.whole(Pair("b.png", "b.png"), SCALE)
    hr = picture(41, 51, seed=ord("b"))
    assert np.array_equal(gt, hr[:40, :50]) and np.array_equal(lq, degrade(hr, SCALE, "BI"))
