"""Test sets in every layout that people have, laid out as the option files name them."""

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rcan_plugin.images.decode import decode_verified
from rcan_plugin.images.sources import Source
from rcan_plugin.preparation import benchmarks
from rcan_plugin.preparation.benchmarks import prepare_benchmarks
from rcan_plugin.preparation.crops import unite
from rcan_plugin.preparation.layouts import COUNTS, recognise
from tests.conftest import ROOT
from tests.data.tiny import picture, write
from tests.reference import REFERENCE, needs_reference

NAMES = ["baby", "bird", "butterfly", "head", "woman"]
IMAGES = {name: picture(29 + i, 35 - i, seed=i) for i, name in enumerate(NAMES)}  # at each scale some are cut


def crop(image: np.ndarray, scale: int) -> np.ndarray:
    return image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]


def make(folder: Path, template: str = "{}.png", images: dict[str, np.ndarray] = IMAGES) -> None:
    """Write images as the template names them."""
    for name, image in images.items():
        write(folder / template.format(name), image)


def make_crops(folder: Path, template: str, scales: tuple[int, ...], images: dict[str, np.ndarray] = IMAGES) -> None:
    """Write crops of images, named by the template with name and scale."""
    for scale in scales:
        for name, image in images.items():
            write(folder / template.format(name, scale), crop(image, scale))


def lines_of(paths, root) -> tuple[list[str], list[str]]:
    lines: list[str] = []
    refused = prepare_benchmarks(paths, root, lines.append)
    return lines, refused


def pixels(folder: Path) -> dict[str, np.ndarray]:
    return {file.name: cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in sorted(folder.iterdir())}


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, image in expected.items():
        np.testing.assert_array_equal(found[name], image, err_msg=name)


def all_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


OTHERS = "Not found: Set14, B100, Urban100, Manga109."

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
def test_with_some_scales_missing_it_says_where_the_result_is_exact(tmp_path, scales, said, exact):
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


def test_the_better_kind_is_taken(tmp_path):
    root = tmp_path / "in"
    make(root / "a", "Set5/GTmod12/{}.png", {name: crop(image, 12) for name, image in IMAGES.items()})
    lines, _ = lines_of([root], tmp_path / "1")
    mod12 = "cropped to multiples of 12 (GTmod12)"
    assert lines[0] == (
        f"Set5: 5 images, {mod12}: figures may differ slightly from published ones, from {root / 'a/Set5/GTmod12'}"
    )
    make_crops(root / "b", "Set5/image_SRF_{1}/{0}_SRF_{1}_HR.png", (2, 3))
    lines, _ = lines_of([root], tmp_path / "2")
    assert lines[0].startswith("Set5: 5 images, united from x2 and x3 HR (SelfExSR layout), from ")
    assert lines[1] == f"  not used: 5 images, {mod12}, in {root / 'a/Set5/GTmod12'}"
    make(tmp_path / "c", "Set5/{}.bmp")
    make(tmp_path / "d", "Set5/HR/{}.png")
    lines, _ = lines_of([root, tmp_path / "d", tmp_path / "c"], tmp_path / "3")
    assert lines == [
        f"Set5: 5 images, originals (PNG), from {tmp_path / 'd/Set5/HR'}",
        f"  not used: 5 images, {mod12}, in {root / 'a/Set5/GTmod12'}",
        f"  not used: 5 images, HR cropped to multiples of the scale, in {root / 'b/Set5'}",
        f"  not used: 5 images, originals, in {tmp_path / 'c/Set5'}",
        OTHERS,
    ]
    assert all_below(tmp_path / "3") == {f"Set5/HR/{name}.png" for name in NAMES}


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


def test_names_are_made_fit_for_basicsr_and_never_doubled(tmp_path):
    images = dict(zip(["a.1", "b_HR", "c_GT", "Zürich", "e"], IMAGES.values(), strict=True))
    make(tmp_path / "1", "Set5/{}.png", images)
    assert lines_of([tmp_path / "1"], tmp_path / "out")[1] == []
    assert all_below(tmp_path / "out/Set5/HR") == {"a_1.png", "b.png", "c.png", "Zu00fcrich.png", "e.png"}
    write(tmp_path / "1/Set5/a_1.bmp", IMAGES["baby"])
    lines, refused = lines_of([tmp_path / "1"], tmp_path / "out2")
    assert refused == ["Set5"] and not (tmp_path / "out2/Set5").exists()
    assert f"Set5/a.1.png and Set5/a_1.bmp in {tmp_path / '1/Set5'} would both be named a_1: remove one." in lines[0]


def test_another_count_is_refused_and_the_others_go_through(tmp_path):
    make(tmp_path / "in", "Set5/HR/{}.png")
    (tmp_path / "in/Set5/HR/bird.png").unlink()
    more = {f"{i:03d}": IMAGES["baby"] for i in range(14)}
    make(tmp_path / "in", "Set14/{}.png", more)
    lines, refused = lines_of([tmp_path / "in"], tmp_path / "out")
    assert refused == ["Set5"] and all_below(tmp_path / "out") == {f"Set14/HR/{name}.png" for name in more}
    assert lines == [
        f"Set5: refused: found 4 images, originals, in {tmp_path / 'in/Set5/HR'} (such as Set5/HR/baby.png). "
        "Expected 5 HR images: add the missing ones, or give another source.",
        f"Set14: 14 images, originals (PNG), from {tmp_path / 'in/Set14'}",
        "Not found: B100, Urban100, Manga109.",
    ]
    # A whole set of a lesser kind is better than a part of a better one.
    make(tmp_path / "in", "Set5/GTmod12/{}.png")
    lines, refused = lines_of([tmp_path / "in/Set5"], tmp_path / "out")
    assert refused == [] and lines[0].startswith("Set5: 5 images, cropped to multiples of 12")
    assert lines[1] == f"  not used: 4 images, originals, in {tmp_path / 'in/Set5/HR'}"


def test_a_crop_that_lacks_at_one_scale_is_named(tmp_path):
    make_crops(tmp_path, "Set5/image_SRF_{1}/{0}_SRF_{1}_HR.png", (2, 3, 4))
    (tmp_path / "Set5/image_SRF_3/head_SRF_3_HR.png").unlink()
    lines, refused = lines_of([tmp_path], tmp_path / "out")
    assert (
        refused == ["Set5"]
        and "head in" in lines[0]
        and "exists at x2 and x4 but not at x3: add the missing" in lines[0]
    )


def test_images_of_no_use_are_all_listed(tmp_path):
    folder = tmp_path / "Set5"
    make(folder)
    content = (folder / "baby.png").read_bytes()
    (folder / "baby.png").write_bytes(content[: len(content) * 2 // 3])
    (folder / "bird.png").write_bytes(b"nothing")
    Image.new("RGBA", (20, 20)).save(folder / "head.png")
    Image.new("P", (20, 20)).save(folder / "woman.png")
    lines, refused = lines_of([folder], tmp_path / "out")
    first, *rest = lines[0].splitlines()
    assert refused == ["Set5"] and list((tmp_path / "out").iterdir()) == []
    assert first == f"Set5: refused: 4 of 5 images in {folder} cannot be used:"
    assert rest[0].startswith("  baby.png: is damaged or cut short (") and rest[0].endswith("fetch or make it again")
    assert rest[1].startswith("  bird.png: (7 bytes) cannot be read as an image: ")
    assert rest[2:] == [
        "  head.png: has alpha: flatten it, or remove the alpha channel",
        "  woman.png: has a palette: convert it to RGB",
    ]
    (folder / "woman.png").unlink()
    write(folder / "butterfly.png", IMAGES["butterfly"].astype(np.uint16) * 257)
    Image.new("CMYK", (20, 20)).save(folder / "woman.jpg")
    Image.new("RGB", (20, 20)).save(folder / "head.png", transparency=(0, 0, 0))
    lines, _ = lines_of([folder], tmp_path / "out")
    assert "  head.png: has alpha: flatten it" in lines[0]
    assert "  butterfly.png: has 16 bits a value; expected 8: convert it" in lines[0]
    assert "  woman.jpg: has CMYK colours: convert it" in lines[0]


def test_gray_stays_gray_and_jpeg_is_named(tmp_path):
    images = {name: image[..., 0] for name, image in IMAGES.items()}
    make_crops(tmp_path / "1", "Set5/image_SRF_{1}/{0}_SRF_{1}_HR.png", (2, 3), images)
    lines_of([tmp_path / "1"], tmp_path / "out")
    assert all(image.ndim == 2 for image in pixels(tmp_path / "out/Set5/HR").values())
    make(tmp_path / "2", "Set5/{}.JPG")
    lines, _ = lines_of([tmp_path / "2"], tmp_path / "out2")
    assert "originals (JPEG; of the published sets only B100 was ever in a lossy format), from" in lines[0]
    assert (tmp_path / "out2/Set5/HR/baby.jpg").read_bytes() == (tmp_path / "2/Set5/baby.JPG").read_bytes()


def test_a_set_that_is_there_is_kept_or_nothing_is_done(tmp_path):
    root = tmp_path / "out"
    make_crops(tmp_path, "Set5/image_SRF_{1}/{0}_SRF_{1}_HR.png", (2, 3, 4))
    lines_of([tmp_path / "Set5"], root)
    # The same pixels in another encoding are the same images; what else is there does not matter.
    same = cv2.imread(str(root / "Set5/HR/baby.png"))
    assert cv2.imwrite(str(root / "Set5/HR/baby.png"), same, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    (root / "Set5/HR/Thumbs.db").write_bytes(b"x")
    make(root / "Set5", "LR_bicubic/X2/{}x2.png")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}
    lines, refused = lines_of([tmp_path / "Set5"], root)
    assert refused == [] and lines[0].endswith(f"from {tmp_path / 'Set5'}: exists already, kept")
    # Laid out in place, it is its own source.
    lines, refused = lines_of([root], root)
    assert refused == [] and lines[0].endswith(f"from {root / 'Set5/HR'}: exists already, kept")
    same[3, 4, 1] ^= 1
    assert cv2.imwrite(str(tmp_path / "changed.png"), same)
    for name, content in {
        "baby.png": (tmp_path / "changed.png").read_bytes(),
        "head.png": b"damaged",
        "more.png": (tmp_path / "changed.png").read_bytes(),
        "bird.png": None,
    }.items():
        file = root / "Set5/HR" / name
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        there = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        lines, refused = lines_of([tmp_path / "Set5"], root)
        assert refused == ["Set5"]
        assert f"{root / 'Set5'} exists, and the images in its HR differ (1 of them, such as {name}): " in lines[0]
        assert there == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        file.unlink(missing_ok=True)
        old = before.get(file)
        if old:
            file.write_bytes(old[1])
    assert lines_of([tmp_path / "Set5"], root)[1] == []


def test_a_folder_without_hr_is_not_touched(tmp_path):
    make(tmp_path / "out", "Set5/GTmod12/{}.png")
    make(tmp_path / "in", "Set5/{}.png")
    lines, refused = lines_of([tmp_path / "in"], tmp_path / "out")
    assert refused == ["Set5"] and "(5 of them, such as baby.png): move it away, or choose another root." in lines[0]
    assert all_below(tmp_path / "out") == {f"Set5/GTmod12/{name}.png" for name in NAMES}


def test_what_a_killed_run_left_is_removed(tmp_path):
    root = tmp_path / "out"
    make(root, "Set5.part/HR/old{}.png")
    make(root, "unpacked.part/0/Set5/{}.png")
    make(root, "B100.part/HR/{}.png")
    make(root, "mine.part/{}.png")
    make(tmp_path / "in", "Set5/{}.png")
    assert lines_of([tmp_path / "in"], root)[1] == []
    mine = {f"mine.part/{name}.png" for name in NAMES}
    assert all_below(root) == mine | {f"Set5/HR/{name}.png" for name in NAMES}


def test_nothing_of_a_set_is_there_before_all_of_it_is(tmp_path, monkeypatch):
    make(tmp_path / "in", "Set5/{}.png")
    written = []

    def stop(content: bytes) -> np.ndarray:
        written.extend(all_below(tmp_path / "out"))
        if len(written) > 3:
            raise KeyboardInterrupt
        return decode_verified(content)

    monkeypatch.setattr(benchmarks, "decode_verified", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_benchmarks([tmp_path / "in"], tmp_path / "out")
    assert written and all(name.startswith("Set5.part/HR/") for name in written)
    assert list((tmp_path / "out").iterdir()) == []


def pack(folder: Path, archive: Path) -> Path:
    """Put a folder's content into an archive, told by its ending."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as file:
            file.add(folder, ".")
    return archive


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz"])
@pytest.mark.parametrize("inside", ["", "benchmark/Set5/HR"])
def test_archives(tmp_path, ending, inside):
    make(tmp_path / "in" / inside)
    make(tmp_path / "in" / inside, "LR_bicubic/X2/{}x2.png")
    archive = pack(tmp_path / "in", tmp_path / f"{'data.v2' if inside else 'Set5'}.{ending}")
    lines, refused = lines_of([archive], tmp_path / "out")
    place = f"{archive}: {inside}" if inside else str(archive)
    assert refused == [] and lines == [f"Set5: 5 images, originals (PNG), from {place}", OTHERS]
    assert_equal(pixels(tmp_path / "out/Set5/HR"), {f"{name}.png": image for name, image in IMAGES.items()})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["Set5"]


def test_archives_of_no_use(tmp_path):
    make(tmp_path / "in", "Set5/{}.png")
    whole = pack(tmp_path / "in", tmp_path / "whole.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[-6] ^= 1  # of the checksum
    (tmp_path / "flipped.tar.gz").write_bytes(flipped)
    zipped = pack(tmp_path / "in", tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(zipped[: len(zipped) // 2])
    (tmp_path / "text.tar").write_text("not found")
    for name in ("cut.tar.gz", "flipped.tar.gz", "cut.zip", "text.tar"):
        with pytest.raises(ValueError, match=f"{name} .* bytes. cannot be read as a zip or tar archive .*: fetch it"):
            prepare_benchmarks([tmp_path / name], tmp_path / "out")
    shutil.rmtree(tmp_path / "in/Set5")
    with pytest.raises(ValueError, match=r"empty.tar holds no image"):
        prepare_benchmarks([pack(tmp_path / "in", tmp_path / "empty.tar")], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    damaged = bytearray(zipped)
    at = zipped.index(b"IDAT", zipped.index(b"Set5/bird.png")) + 100
    damaged[at] ^= 255
    (tmp_path / "damaged.zip").write_bytes(damaged)
    lines, refused = lines_of([tmp_path / "damaged.zip"], tmp_path / "out")
    assert refused == ["Set5"] and "\n  Set5/bird.png: cannot be read (Bad CRC-32 for file" in lines[0]


@pytest.mark.parametrize("evil", ["../evil.png", "Set5/../../../evil.png", "link"])
def test_a_tar_archive_that_would_write_outside_is_refused(tmp_path, evil):
    make(tmp_path / "in", "Set5/{}.png")
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as file:
        file.add(tmp_path / "in", ".")
        member = tarfile.TarInfo(evil)
        if evil == "link":
            member.name, member.type, member.linkname = "Set5/z.png", tarfile.SYMTYPE, "../../../../evil.png"
        content = (tmp_path / "in/Set5/baby.png").read_bytes() if evil != "link" else b""
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))
    before = all_below(tmp_path)
    with pytest.raises(ValueError, match=r"evil\.tar is unsafe, and nothing of it is used: .*outside"):
        prepare_benchmarks([archive], tmp_path / "a/b/out")
    assert all_below(tmp_path) == before and list((tmp_path / "a/b/out").iterdir()) == []


def test_a_python_without_safe_unpacking_says_so(tmp_path, monkeypatch):
    make(tmp_path / "in", "Set5/{}.png")
    archive = pack(tmp_path / "in", tmp_path / "a.tar")
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(ValueError, match=r"a\.tar: Python 3\.\d+\.\d+ cannot unpack a tar archive safely: unpack it"):
        prepare_benchmarks([archive], tmp_path / "out")


def call(*arguments, cwd: Path) -> tuple[int, str, str]:
    command = [sys.executable, ROOT / "scripts/prepare_benchmarks.py", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_script(tmp_path):
    make(tmp_path, "Set5/{}.png")
    assert call("Set5", cwd=tmp_path)[:2] == (0, f"Set5: 5 images, originals (PNG), from Set5\n{OTHERS}\n")
    assert all_below(tmp_path / "datasets") == {f"benchmark/Set5/HR/{name}.png" for name in NAMES}
    # From within the set's folder it has no name but that of where it is.
    code, out, _ = call(".", "--root", "../out", cwd=tmp_path / "Set5")
    assert code == 0 and out.startswith("Set5: 5 images")
    (tmp_path / "Set5/bird.png").unlink()
    code, out, _ = call("--root", "out", "Set5", cwd=tmp_path)
    assert code == 1 and out.startswith("Set5: refused: found 4 images")
    code, out, err = call("--root", "out", "Set5", "nowhere", cwd=tmp_path)
    assert (code, out) == (2, "") and err.startswith("nowhere does not exist")
    code, out, err = call("--root", "Set5/baby.png", "Set5", cwd=tmp_path)
    assert (code, out, err) == (2, "", "Set5/baby.png is a file; expected a folder, or the name of a new one.\n")
    assert call(cwd=tmp_path)[0] == 2


def test_it_starts_without_torch_and_basicsr():
    look = "import sys, rcan_plugin.preparation.benchmarks; print({'torch', 'basicsr'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


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
