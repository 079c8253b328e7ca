"""Layouts of test sets that are recognised, and what is not known as HR."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest

from rcan_plugin.images.sources import Source
from rcan_plugin.preparation.benchmarks import prepare_benchmarks
from rcan_plugin.preparation.layouts import COUNTS, recognise
from tests.preparation.benchmark_sets import (
    IMAGES,
    NAMES,
    OTHERS,
    all_below,
    assert_equal,
    crop,
    lines_of,
    make,
    make_crops,
    pixels,
)
from tests.reference import REFERENCE, needs_reference

WHOLE_LAYOUTS = [
    ("Set5/HR/{}.png", "Set5/LR_bicubic/X2/{}x2.png", ".", "Set5/HR", "PNG"),
    ("Set5/original/{}.png", "Set5/LRbicx4/{}.png", ".", "Set5/original", "PNG"),
    ("OriginalTestData/Set5/{}.bmp", "LR/LRBI/Set5/x4/{}_LRBI_x4.png", ".", "OriginalTestData/Set5", "BMP"),
    ("OriginalTestData/Set5/{}.bmp", "SR/BI/RCAN/Set5/x2/{}_RCAN_x2.png", ".", "OriginalTestData/Set5", "BMP"),
    ("Set5/{}.png", "Set5/{}_LR.png", ".", "Set5", "PNG"),
    ("Set5/{}.png", "Set5/SRCNN/{}.png", "Set5", "Set5", "PNG"),
    ("set5/{}_HR.png", "set5/{}_bicubic.png", "set5", "set5", "PNG"),
    ("SET5-master/GT/{}.ppm", "SET5-master/LQ/{}.png", "SET5-master", "SET5-master/GT", "PPM"),
    ("Set14/Set5/Set5/{}.png", "Set5/LR/{}.png", "Set14", "Set14/Set5/Set5", "PNG"),
    ("Set5/{}_GT.tif", "results/Set5/{}.png", ".", "Set5", "TIFF"),
]


@pytest.mark.parametrize(("hr", "other", "given", "place", "form"), WHOLE_LAYOUTS)
def test_originals_are_copied_and_all_else_is_ignored(tmp_path, hr, other, given, place, form):
    make(tmp_path / "in", hr)
    make(tmp_path / "in", other, {name: image // 2 for name, image in IMAGES.items()})
    lines, refused = lines_of([tmp_path / "in" / given], tmp_path / "out")
    assert lines == [f"Set5: 5 images, originals ({form}), from {tmp_path / 'in' / place}", OTHERS]
    ending = Path(hr).suffix
    assert refused == [] and all_below(tmp_path / "out") == {f"Set5/HR/{name}{ending}" for name in NAMES}
    for name in NAMES:
        copied = (tmp_path / "out/Set5/HR" / f"{name}{ending}").read_bytes()
        assert copied == (tmp_path / "in" / hr.format(name)).read_bytes()


CROPPED_LAYOUTS = [
    ("Set5/image_SRF_{1}/{0}_SRF_{1}_HR.png", "Set5", " (SelfExSR layout)"),
    ("SET5_SR/SRF{1}/{0}_SRF_{1}_HR.png", "SET5_SR", " (SelfExSR layout)"),
    ("Set5/{0}_SRF_{1}_HR.png", "Set5", " (SelfExSR layout)"),
    ("HR/Set5/x{1}/{0}_HR_x{1}.png", "HR/Set5", ""),
    ("HR/Set5/x{1}/{0}.png", "HR/Set5", ""),
    ("Set5/image_SRF_{1}/HR/{0}.png", "Set5", ""),
    ("Set5/GTmod{1}/{0}.png", "Set5", ""),
]


@pytest.mark.parametrize(("template", "place", "layout"), CROPPED_LAYOUTS)
def test_crops_are_united(tmp_path, template, place, layout):
    make_crops(tmp_path / "in", template, (2, 3, 4))
    lines, refused = lines_of([tmp_path / "in"], tmp_path / "out")
    assert lines == [f"Set5: 5 images, united from x2, x3 and x4 HR{layout}, from {tmp_path / 'in' / place}", OTHERS]
    found = pixels(tmp_path / "out/Set5/HR")
    assert refused == [] and list(found) == [f"{name}.png" for name in NAMES]
    for name, image in IMAGES.items():
        for scale in (2, 3, 4, 8):
            np.testing.assert_array_equal(crop(found[f"{name}.png"], scale), crop(image, scale))


def test_selfexsr_x2_of_urban100_is_no_hr(tmp_path, monkeypatch):
    monkeypatch.setitem(COUNTS, "Urban100", 5)
    folder = tmp_path / "Urban100"
    make_crops(tmp_path, "Urban100/image_SRF_{1}/{0}_SRF_{1}_HR.png", (4,))
    make(folder, "image_SRF_2/{}_SRF_2_HR.png", {name: image[::2, ::2] for name, image in IMAGES.items()})
    lines, refused = lines_of([folder], tmp_path / "out")
    assert refused == [] and lines[0].startswith("Urban100: 5 images, x4 HR (SelfExSR layout), exact at x4 and x8 only")
    assert lines[1:] == ["Not found: Set5, Set14, B100, Manga109."]
    assert_equal(pixels(tmp_path / "out/Urban100/HR"), {f"{name}.png": crop(IMAGES[name], 4) for name in NAMES})
    shutil.rmtree(folder / "image_SRF_4")
    with pytest.raises(ValueError, match=r"none of its 5 images is known as HR of .*Urban100"):
        prepare_benchmarks([folder], tmp_path / "out2")
    # Made with MATLAB's modcrop, x2 is as good there as elsewhere.
    make_crops(tmp_path / "RCAN", "HR/Urban100/x{1}/{0}_HR_x{1}.png", (2, 4))
    assert lines_of([tmp_path / "RCAN"], tmp_path / "out3")[0][0].startswith(
        "Urban100: 5 images, united from x2 and x4"
    )


def test_all_five_sets_by_any_of_their_names(tmp_path, monkeypatch):
    for folder, name in {
        "set_14": None,
        "Set5": "Set5",
        "SET14": "Set14",
        "BSDS100": "B100",
        "urban100-master": "Urban100",
        "manga109": "Manga109",
        "Set5x4": None,
        "DIV2K": None,
    }.items():
        make(tmp_path / "in", f"{folder}/{{}}.png")
        found = recognise(tmp_path, Source(f"in/{folder}/a.b.png", "", (0, 0), io.BytesIO))
        assert (found and (found.name, found.key)) == (name and (name, "a_b"))
    for name in COUNTS:
        monkeypatch.setitem(COUNTS, name, 5)
    lines, refused = lines_of([tmp_path / "in"], tmp_path / "out")
    assert refused == [] and [line.split(":")[0] for line in lines] == list(COUNTS)
    assert all_below(tmp_path / "out") == {f"{name}/HR/{image}.png" for name in COUNTS for image in NAMES}


UNKNOWN = [
    "LR/Set5/a.png",
    "Set5/LRBD/a.png",
    "Set5/x4/a.png",
    "Set5/x4/a_RCAN_x4.png",
    "SR/Set5/a.png",
    "results/x/visualization/Set5/a_x.png",
    "Set5_SR/a.png",
    "Set5/RCAN/a.png",
    "Set5/a_LRBI_x2.png",
    "Set5/image_SRF_2/a_SRF_2_SRCNN.png",
    "Set5/image_SRF_2/a_SRF_2_LR.png",
    "Set5_LR/a.png",
    "other/a.png",
]


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_as_hr_is_not_taken(tmp_path, name):
    make(tmp_path / "in", name, {"": IMAGES["baby"]})
    with pytest.raises(ValueError, match="none of its 1 images is known as HR of Set5, ") as error:
        prepare_benchmarks([tmp_path / "in"], tmp_path / "out")
    assert f"It holds {name}. Known layouts: Set5/HR/*" in str(error.value)
    assert not (tmp_path / "out").exists()


@needs_reference
def test_the_authors_set5(tmp_path):
    shutil.copytree(REFERENCE / "set5/original", tmp_path / "in/OriginalTestData/Set5")
    for scale in (2, 3, 4):
        shutil.copytree(REFERENCE / f"set5/HR/x{scale}", tmp_path / f"in/HR/Set5/x{scale}")
        shutil.copytree(REFERENCE / f"set5/LRBI_replicate/x{scale}", tmp_path / f"in/LR/LRBI/Set5/x{scale}")
    lines, refused = lines_of([tmp_path / "in"], tmp_path / "out")
    assert refused == [] and lines[0] == (
        f"Set5: 5 images, originals (BMP), from {tmp_path / 'in/OriginalTestData/Set5'}"
    )
    assert_equal(pixels(tmp_path / "out/Set5/HR"), pixels(REFERENCE / "set5/original"))
    # Their crops alone do as well.
    lines, refused = lines_of([tmp_path / "in/HR"], tmp_path / "out2")
    assert refused == [] and "united from x2, x3 and x4 HR, from" in lines[0]
    united = pixels(tmp_path / "out2/Set5/HR")
    for scale in (2, 3, 4, 8):
        expected = pixels(REFERENCE / f"set5/HR/x{scale}")
        assert_equal({f"{Path(name).stem}_HR_x{scale}.png": crop(united[name], scale) for name in united}, expected)


@needs_reference
def test_set14_as_selfexsr_has_it(tmp_path):
    for scale in (2, 3, 4):
        for file in sorted((REFERENCE / f"set14/HR/x{scale}").iterdir()):
            target = tmp_path / f"Set14/image_SRF_{scale}/{file.stem}_SRF_{scale}_HR.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file)
            lr = REFERENCE / f"set14/LRBI_replicate/x{scale}" / file.name
            target.with_name(f"{file.stem}_SRF_{scale}_LR.png").symlink_to(lr)
    lines, refused = lines_of([tmp_path / "Set14"], tmp_path / "out")
    assert refused == []
    assert lines[0] == f"Set14: 14 images, united from x2, x3 and x4 HR (SelfExSR layout), from {tmp_path / 'Set14'}"
    united = pixels(tmp_path / "out/Set14/HR")
    assert united["img_003.png"].ndim == 2
    for scale in (2, 3, 4):
        expected = pixels(REFERENCE / f"set14/HR/x{scale}")
        assert_equal({name: crop(image, scale) for name, image in united.items()}, expected)
