"""The union of crops to multiples of several scales."""

import numpy as np
import pytest

from rcan_plugin.preparation.crops import unite
from tests.data.tiny import picture, write
from tests.preparation.benchmark_sets import IMAGES, crop, lines_of, make_crops, pixels


@pytest.mark.parametrize(
    ("scales", "said", "exact"),
    [
        ((2,), "x2 HR (SelfExSR layout), exact at x2, x4 and x8 only", (2, 4, 8)),
        ((3,), "x3 HR (SelfExSR layout), exact at x3 only", (3,)),
        ((4,), "x4 HR (SelfExSR layout), exact at x4 and x8 only", (4, 8)),
        ((3, 4), "united from x3 and x4 HR (SelfExSR layout), exact at x3, x4 and x8 only", (3, 4, 8)),
        ((2, 3), "united from x2 and x3 HR (SelfExSR layout)", (2, 3, 4, 8)),
    ],
)
def test_with_some_scales_missing_it_reports_where_the_result_is_exact(tmp_path, scales, said, exact):
    make_crops(tmp_path, "Set5/image_SRF_{1}/{0}_SRF_{1}_HR.png", scales)
    lines, _ = lines_of([tmp_path / "Set5"], tmp_path / "out")
    few = ": at other scales a few rows and columns may be missing" if "only" in said else ""
    assert lines[0] == f"Set5: 5 images, {said}{few}, from {tmp_path / 'Set5'}"
    found = pixels(tmp_path / "out/Set5/HR")
    whole = {
        scale
        for scale in (2, 3, 4, 8)
        if all(np.array_equal(crop(found[f"{name}.png"], scale), crop(image, scale)) for name, image in IMAGES.items())
    }
    assert whole == set(exact)


def test_crops_of_every_size_unite_to_what_each_scale_needs():
    image = picture(60, 60, seed=0, channels=1)
    for height in range(12, 61):
        for width in range(12, 61):
            whole = image[:height, :width]
            crops = {scale: crop(whole, scale) for scale in (2, 3, 4)}
            united = unite(crops)
            assert united.shape == tuple(max(of.shape[axis] for of in crops.values()) for axis in (0, 1))
            for scale in (2, 3, 4, 8):
                assert np.array_equal(crop(united, scale), crop(whole, scale)), (height, width, scale)


def test_the_corner_that_no_crop_has_repeats_its_neighbour():
    image = picture(27, 26, seed=0)  # x2 has 26 rows and 26 columns, x3 has 27 and 24
    united = unite({2: crop(image, 2), 3: crop(image, 3)})
    assert united.shape == (27, 26, 3)
    np.testing.assert_array_equal(united[:26], image[:26])
    np.testing.assert_array_equal(united[26, :24], image[26, :24])
    np.testing.assert_array_equal(united[26, 24:], image[25, 24:])


def test_what_is_no_crop_of_one_image_is_refused(tmp_path):
    image = picture(24, 27, seed=0)
    crops = {scale: crop(image, scale) for scale in (2, 3, 4)}
    other = crops[3].copy()
    other[23, 3, 1] ^= 1
    with pytest.raises(ValueError, match="not crops of one image: that of x3 has other values"):
        unite({**crops, 3: other} | {2: crops[2]})
    with pytest.raises(ValueError, match=r"not crops of one image, by .* \(x2 26x24, x3 27x24, x4 20x24\)"):
        unite({**crops, 4: crops[4][:, :20]})
    with pytest.raises(ValueError, match="not crops of one image, by their sizes or channels"):
        unite({**crops, 4: crops[4][..., 0]})
    make_crops(tmp_path, "Set5/image_SRF_{1}/{0}_SRF_{1}_HR.png", (2, 4))
    write(tmp_path / "Set5/image_SRF_4/bird_SRF_4_HR.png", picture(24, 28, seed=77))
    lines, refused = lines_of([tmp_path], tmp_path / "out")
    assert refused == ["Set5"] and not (tmp_path / "out/Set5").exists()
    assert "Set5: refused: 1 of 5 images in" in lines[0] and "\n  bird: not crops of one image" in lines[0]


def test_a_crop_that_lacks_at_one_scale_is_named(tmp_path):
    make_crops(tmp_path, "Set5/image_SRF_{1}/{0}_SRF_{1}_HR.png", (2, 3, 4))
    (tmp_path / "Set5/image_SRF_3/head_SRF_3_HR.png").unlink()
    lines, refused = lines_of([tmp_path], tmp_path / "out")
    assert (
        refused == ["Set5"]
        and "head in" in lines[0]
        and "exists at x2 and x4 but not at x3: add the missing" in lines[0]
    )
