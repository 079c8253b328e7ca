"""The paired data set against BasicSR's, and what it does by itself."""

import random

import cv2
import numpy as np
import pytest
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset

from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.degradations import degrade, imresize
from rcan_plugin.images.environments import close_environments
from tests.data.tiny import options, picture, write, write_lmdb


def by_name(dataset) -> dict[str, dict]:
    return {item["gt_path"]: item for item in (dataset[i] for i in range(len(dataset)))}


@pytest.mark.parametrize(
    "more", [{}, {"color": "y"}, {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}], ids=["rgb", "y", "mean and std"]
)
def test_validation_equals_basicsrs_bit_for_bit(folders, more):
    ours = by_name(DegradationPairedDataset(options(folders, **more)))
    theirs = by_name(PairedImageDataset(options(folders, **more)))
    assert ours.keys() == theirs.keys() and len(ours) == 3
    for path, expected in theirs.items():
        item = ours[path]
        assert item.keys() == expected.keys() and item["lq_path"] == expected["lq_path"]
        for key in ("lq", "gt"):
            assert item[key].dtype == torch.float32 and torch.equal(item[key], expected[key])


def test_meta_info_file_and_lmdb_equal_basicsrs(folders):
    (folders / "meta.txt").write_text("c.png (64,40,3)\na.png (40,48,3)\n")
    opt = options(folders, meta_info_file=str(folders / "meta.txt"))
    ours, theirs = by_name(DegradationPairedDataset(opt)), by_name(PairedImageDataset(opt))
    assert sorted(ours) == sorted(theirs) == [str(folders / "HR" / name) for name in ("a.png", "c.png")]

    images = {name: picture(40, 48, seed=ord(name)) for name in "xyz"}
    gt = write_lmdb(folders / "HR.lmdb", images)
    lq = write_lmdb(folders / "LR.lmdb", {name: degrade(image, 2, "BI") for name, image in images.items()})
    opt = options(folders, dataroot_gt=gt, dataroot_lq=lq, io_backend={"type": "lmdb"})
    ours = by_name(DegradationPairedDataset(opt))
    close_environments()  # lmdb would refuse BasicSR an environment that is open
    theirs = by_name(PairedImageDataset(opt))
    assert sorted(ours) == sorted(theirs) == ["x", "y", "z"]
    for name, expected in theirs.items():
        assert ours[name]["lq_path"] == expected["lq_path"] == name
        assert torch.equal(ours[name]["gt"], expected["gt"]) and torch.equal(ours[name]["lq"], expected["lq"])


def test_lmdb_gives_the_same_items_as_the_folder(folders):
    read = {name: cv2.imread(str(folders / "HR" / f"{name}.png")) for name in "abc"}
    gt = write_lmdb(folders / "HR.lmdb", read)
    lq = write_lmdb(folders / "LR.lmdb", {name: degrade(image, 2, "BI") for name, image in read.items()})
    of_lmdb = DegradationPairedDataset(options(folders, dataroot_gt=gt, dataroot_lq=lq, io_backend=None))
    of_folder = DegradationPairedDataset(options(folders))
    for a, b in zip(of_lmdb, of_folder, strict=True):
        assert torch.equal(a["gt"], b["gt"]) and torch.equal(a["lq"], b["lq"])
    assert [item["gt_path"] for item in of_lmdb] == ["a", "b", "c"]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_an_lmdb_read_in_the_main_process_is_read_in_workers_too(folders, start):
    gt = write_lmdb(folders / "HR.lmdb", {name: picture(40, 48, seed=ord(name)) for name in "ab"})
    dataset = DegradationPairedDataset(
        options(folders, dataroot_gt=gt, dataroot_lq=None, io_backend=None, degradation={"type": "BI"})
    )
    here = [item["lq"] for item in dataset]
    loader = torch.utils.data.DataLoader(dataset, num_workers=1, multiprocessing_context=start)
    for _ in range(2):
        assert all(torch.equal(item["lq"][0], lq) for item, lq in zip(loader, here, strict=True))


def test_without_lr_it_makes_the_same_lr(folders):
    made = DegradationPairedDataset(options(folders, dataroot_lq=None, degradation={"type": "BI"}))
    read = DegradationPairedDataset(options(folders))
    for a, b in zip(made, read, strict=True):
        assert torch.equal(a["lq"], b["lq"]) and torch.equal(a["gt"], b["gt"])
        assert a["lq_path"] == a["gt_path"] == b["gt_path"]


@pytest.mark.parametrize("kind", ["BI", "BD"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_training_crops_lr_is_the_crop_of_the_whole_lr(tmp_path, scale, kind):
    """Value for value, at every place and turn, also along the borders of an HR that is no multiple of the scale."""
    hr = picture(12 * scale + 1, 10 * scale + 1, seed=3)
    write(tmp_path / "HR" / "a.png", hr)
    opt = options(tmp_path, "train", scale=scale, gt_size=6 * scale, dataroot_lq=None, degradation={"type": kind})
    dataset = DegradationPairedDataset(opt)
    whole = degrade(hr, scale, kind)
    places = {}
    for top in range(whole.shape[0] - 5):
        for left in range(whole.shape[1] - 5):
            lq = whole[top : top + 6, left : left + 6]
            gt = hr[top * scale : (top + 6) * scale, left * scale : (left + 6) * scale]
            for turn, (turned_gt, turned_lq) in enumerate(zip(turns(gt), turns(lq), strict=True)):
                places[turned_gt.tobytes()] = (top, left, turn, turned_lq)
    torch.manual_seed(5)
    seen = set()
    for _ in range(400):
        item = dataset[0]
        gt, lq = (as_integers(item[key]) for key in ("gt", "lq"))
        top, left, turn, expected = places[gt.tobytes()]
        assert np.array_equal(lq, expected)
        seen.add((top, left, turn))
    assert {top for top, _, _ in seen} == set(range(7))
    assert {left for _, left, _ in seen} == set(range(5))
    assert {turn for _, _, turn in seen} == set(range(8))


def turns(image):
    """The eight of them, B, G, R as stored."""
    for transposed in (image, image.transpose(1, 0, 2)):
        for vertical in (1, -1):
            for horizontal in (1, -1):
                yield transposed[::vertical, ::horizontal]


def as_integers(tensor) -> np.ndarray:
    return np.ascontiguousarray((tensor.numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0)[..., ::-1])


def test_flips_and_turns_can_be_switched_off(folders):
    opt = options(folders, "train", gt_size=40, use_hflip=False, use_rot=False)
    dataset, whole = DegradationPairedDataset(opt), DegradationPairedDataset(options(folders))
    for _ in range(10):
        gt = dataset[0]["gt"]  # 40 of 40x48
        assert any(torch.equal(gt, whole[0]["gt"][:, :, left : left + 40]) for left in (0, 2, 4, 6, 8))


def test_random_choices_come_from_torchs_seed_alone(folders):
    dataset = DegradationPairedDataset(options(folders, "train"))

    def draw():
        return [dataset[i]["gt"] for i in (0, 1, 2, 0)]

    torch.manual_seed(3)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    first, second = draw(), draw()
    torch.manual_seed(3)
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert all(torch.equal(a, b) for a, b in zip(first, draw(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_templates_on_both_sides(tmp_path):
    for name in ("baby", "bird"):
        hr = picture(16, 24, seed=len(name))
        write(tmp_path / "HR" / f"{name}_HR_x2.png", hr)
        write(tmp_path / "LR" / f"{name}_LRBI_x2.bmp", imresize(hr, 1 / 2))
    dataset = DegradationPairedDataset(
        options(tmp_path, gt_filename_tmpl="{}_HR_x2", filename_tmpl="{}_LRBI_x2", degradation={"type": "BI"})
    )
    pairs = [(item["gt_path"].split("/")[-1], item["lq_path"].split("/")[-1]) for item in dataset]
    assert pairs == [("baby_HR_x2.png", "baby_LRBI_x2.bmp"), ("bird_HR_x2.png", "bird_LRBI_x2.bmp")]


def test_basicsrs_template_wraps_the_hr_name(tmp_path):
    write(tmp_path / "HR" / "a.png", picture(16, 16, seed=1))
    write(tmp_path / "LR" / "ax2.png", picture(8, 8, seed=1))
    opt = options(tmp_path, filename_tmpl="{}x2")
    assert DegradationPairedDataset(opt)[0]["lq_path"] == PairedImageDataset(opt)[0]["lq_path"]


def refused(opt, error=ValueError) -> str:
    with pytest.raises(error) as caught:
        DegradationPairedDataset(opt)
    return str(caught.value)


def test_missing_folder_is_named(folders):
    for option in ("dataroot_gt", "dataroot_lq"):
        said = refused(options(folders, **{option: str(folders / "nowhere")}), FileNotFoundError)
        assert option in said and str(folders / "nowhere") in said and "does not exist" in said
    said = refused(options(folders, dataroot_gt="datasets/DIV2K/train/HR.lmdb"), FileNotFoundError)
    assert "`rcan prepare-div2k` makes it" in said


def test_half_made_lmdb_is_named(folders):
    (folders / "HR.lmdb").mkdir()
    (folders / "HR.lmdb" / "data.mdb").write_bytes(b"")
    said = refused(options(folders, dataroot_gt=str(folders / "HR.lmdb"), io_backend=None), FileNotFoundError)
    assert "HR.lmdb has no meta_info.txt" in said


def test_no_partner_is_named(folders):
    (folders / "LR" / "b.png").unlink()
    said = refused(options(folders))
    assert str(folders / "HR" / "b.png") in said and "has no partner" in said and "gt_filename_tmpl" in said
    (folders / "HR" / "b.png").unlink()
    (folders / "HR" / "c.png").unlink()
    said = refused(options(folders))
    assert str(folders / "LR" / "c.png") in said and "has no partner" in said


def test_wrong_size_ratio_names_files_and_sizes(folders):
    write(folders / "LR" / "b.png", picture(20, 24, seed=1))
    said = refused(options(folders))
    assert f"{folders / 'HR' / 'b.png'} is 41x51" in said
    assert f"{folders / 'LR' / 'b.png'} is 20x24" in said and "20x25 for scale 2" in said


def test_image_smaller_than_the_patch(folders):
    said = refused(options(folders, "train", gt_size=42))
    assert f"{folders / 'HR' / 'a.png'} is 40x48, smaller than gt_size 42: remove it or lower gt_size" in said


def test_gt_size_that_is_no_multiple(folders):
    said = refused(options(folders, "train", gt_size=15))
    assert "gt_size is 15" in said and "multiple of scale 2: use 14 or 16." in said


@pytest.mark.parametrize("side", ["HR", "LR"])
@pytest.mark.parametrize(("content", "said"), [(b"", "is empty (0 bytes)"), (b"no image", "cannot be read")])
def test_unreadable_file(folders, side, content, said):
    (folders / side / "b.png").write_bytes(content)
    text = refused(options(folders))
    assert str(folders / side / "b.png") in text and said in text


def test_file_cut_short_is_named_when_it_is_read(folders):
    path = folders / "HR" / "b.png"
    path.write_bytes(path.read_bytes()[:-200])
    dataset = DegradationPairedDataset(options(folders))
    with pytest.raises(ValueError, match=r"b\.png .* cannot be read as an image: it is damaged, cut short"):
        dataset[1]


def test_fewer_samples_than_a_batch(folders):
    said = refused(options(folders, "train", batch_size_per_gpu=16, dataset_enlarge_ratio=5))
    assert "15 samples an epoch (3 images x dataset_enlarge_ratio 5 / 1 processes)" in said
    assert "one batch of 16" in said and "set dataset_enlarge_ratio to 6 or more" in said
    DegradationPairedDataset(options(folders, "train", batch_size_per_gpu=16, dataset_enlarge_ratio=6))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"dataroot_lq": None}, "neither dataroot_lq nor degradation is given"),
        ({"degradation": {"type": "XX"}}, "'XX'; expected one of 'BI', 'BD', 'DN'"),
        ({"degradation": {"border": "replicate"}}, "type is missing"),
        ({"degradation": "BI"}, "degradation: 'BI'; expected settings, such as {type: BI}"),
        ({"degradation": {"type": "BI", "seed": 1}}, "seed is 1 but only DN has noise"),
        ({"degradation": {"type": "BI", "sigmas": 2}}, "unknown key 'sigmas'"),
        ({"io_backend": {"type": "lmdb"}}, "io_backend type is 'lmdb' and dataroot_gt"),
        ({"gt_filename_tmpl": "x"}, "gt_filename_tmpl: 'x': expected one '{}'"),
        ({"gt_filename_tmpl": "{}_HR"}, "does not fit gt_filename_tmpl"),
        ({"gt_filename_tmpl": "{}_{x}"}, "expected one '{}'"),
        ({"scale": "2"}, "scale is '2'; expected a whole number"),
        ({"phase": "train", "gt_size": "16", "use_hflip": True, "use_rot": True}, "gt_size is '16'; expected a whole"),
        ({"std": [1, 1, 1]}, "mean is None and std is [1, 1, 1]; expected both"),
        ({"channels": 2}, "channels is 2"),
        ({"color": "rgb"}, "color is 'rgb'"),
    ],
)
def test_bad_options(folders, more, said):
    assert said in refused(options(folders, **more))


def test_training_options_that_are_missing(folders):
    for option in ("gt_size", "use_hflip", "use_rot"):
        assert f"option {option} is missing" in refused(options(folders, "train", **{option: None}))


def test_meta_info_file_that_names_what_is_not_there(folders):
    (folders / "meta.txt").write_text("a.png (40,48,3)\na.png (40,48,3)\n")
    assert len(DegradationPairedDataset(options(folders, meta_info_file=str(folders / "meta.txt")))) == 1
    (folders / "meta.txt").write_text("a.png (40,48,3)\nd.png (40,48,3)\n")
    said = refused(options(folders, meta_info_file=str(folders / "meta.txt")), FileNotFoundError)
    assert "meta.txt, line 2, names 'd.png', which is not in" in said
    said = refused(options(folders, meta_info_file=str(folders / "none.txt")), FileNotFoundError)
    assert "none.txt does not exist" in said
