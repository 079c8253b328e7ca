"""Kinds of LR, depth and channels, the record that prepared data carries, and the same samples from the same seed."""

import json
import logging

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.utils import set_random_seed

from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.degradations import Degradation, degrade, noise_rng
from rcan_plugin.degradations.record import Recipe, Record
from rcan_plugin.images.luma import bgr_to_y
from tests.data.tiny import options, picture, write, write_lmdb

KINDS = [
    {"type": "BI"},
    {"type": "BI", "border": "symmetric"},
    {"type": "BD"},
    {"type": "BD", "sigma": 1.0, "kernel_size": 6},
    {"type": "DN", "noise": 10},
]


def as_integers(tensor, peak=255, dtype=np.uint8) -> np.ndarray:
    """A tensor back as it was in the file: B, G, R or gray."""
    return (tensor.double() * peak).round().numpy().transpose(1, 2, 0)[..., ::-1].astype(dtype)


def settings(kind):
    return {key: value for key, value in kind.items() if key not in ("type", "seed")}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("stored", ["folder", "lmdb"])
def test_every_kind_on_the_fly_equals_degrade(folders, kind, stored):
    images = {name: picture(41, 50, seed=ord(name)) for name in "pq"}
    for name, image in images.items():
        write(folders / "more" / f"{name}.png", image)
    root = str(folders / "more") if stored == "folder" else write_lmdb(folders / "more.lmdb", images)
    dataset = DegradationPairedDataset(
        options(folders, dataroot_gt=root, dataroot_lq=None, io_backend=None, degradation=kind)
    )
    for item, (name, image) in zip(dataset, images.items(), strict=True):
        rng = noise_rng(0, name) if kind["type"] == "DN" else None
        assert np.array_equal(as_integers(item["lq"]), degrade(image, 2, kind["type"], rng=rng, **settings(kind)))
        assert np.array_equal(as_integers(item["gt"]), image[:40])


def test_noise_depends_on_seed_and_name_in_validation_and_is_fresh_in_training(folders):
    def lq(phase="val", index=0, **kind):
        opt = options(folders, phase, dataroot_lq=None, degradation={"type": "DN", **kind})
        if phase == "train":
            opt |= {"gt_size": 40, "use_hflip": False, "use_rot": False}
        return DegradationPairedDataset(opt)[index]["lq"]

    assert torch.equal(lq(), lq()) and torch.equal(lq(seed=0), lq())
    assert not torch.equal(lq(seed=1), lq())
    write(folders / "HR" / "d.png", picture(40, 48, seed=ord("a")))  # the picture of a under another name
    write(folders / "LR" / "d.png", picture(20, 24, seed=0))
    assert not torch.equal(lq(index=3), lq(index=0))

    # c is 64x40 and so only its row can vary: among draws of one place the noise must differ.
    opt = options(folders, "train", dataroot_lq=None, degradation={"type": "DN"}, gt_size=40)
    opt |= {"use_hflip": False, "use_rot": False}
    dataset = DegradationPairedDataset(opt)
    draws = [dataset[2] for _ in range(60)]
    places = [draw["gt"].numpy().tobytes() for draw in draws]
    assert len(set(places)) < len(places)
    assert len({draw["lq"].numpy().tobytes() for draw in draws}) == len(draws)
    # Free of noise, the LR is that of the place: noise of sigma 30 on 20x20x3 values has a mean of less than 5.
    bi = degrade(np.ascontiguousarray(as_integers(draws[0]["gt"])), 2, "BI")
    assert abs((as_integers(draws[0]["lq"]).astype(float) - bi)[3:-3, 3:-3].mean()) < 6


def test_sixteen_bits_are_kept_when_asked_for(folders, caplog):
    hr = picture(40, 48, seed=1, dtype=np.uint16)
    write(folders / "deep" / "a.png", hr)
    opt = options(folders, dataroot_gt=str(folders / "deep"), dataroot_lq=None, degradation={"type": "BI"})
    with caplog.at_level(logging.INFO, logger="basicsr"):
        item = DegradationPairedDataset({**opt, "keep_depth": True})[0]
    assert "keeps 16 bits" in caplog.text and "metrics" in caplog.text
    assert np.array_equal(as_integers(item["gt"], 65535, np.uint16), hr)
    assert np.array_equal(as_integers(item["lq"], 65535, np.uint16), degrade(hr, 2, "BI"))
    cut = DegradationPairedDataset(opt)[0]["gt"]
    assert set(np.unique(np.round(cut.numpy() * 255, 3) % 1)) == {0}, "without keep_depth, 8 bits as BasicSR has it"
    crops = options(folders, "train", dataroot_lq=None) | opt | {"phase": "train", "keep_depth": True}
    training = DegradationPairedDataset(crops)
    crop = as_integers(training[0]["gt"], 65535, np.uint16)
    assert crop.shape == (16, 16, 3) and set(crop.flat) <= set(hr.flat)


def test_one_channel_keeps_gray_and_makes_y_of_colour(folders):
    gray, colour = picture(40, 48, seed=1, channels=1), picture(40, 48, seed=2)
    write(folders / "mixed" / "gray.png", gray)
    write(folders / "mixed" / "rgb.png", colour)
    opt = options(folders, dataroot_gt=str(folders / "mixed"), dataroot_lq=None, degradation={"type": "BI"})
    dataset = DegradationPairedDataset({**opt, "channels": 1})
    y = bgr_to_y(colour)
    for item, image in zip(dataset, (gray[..., None], y), strict=True):
        assert item["gt"].shape == (1, 40, 48)
        assert np.array_equal(as_integers(item["gt"]), image)
        assert np.array_equal(as_integers(item["lq"]), degrade(image, 2, "BI"))
    assert DegradationPairedDataset(opt)[0]["gt"].shape == (3, 40, 48)


def test_gray_with_alpha_stays_gray(folders):
    from PIL import Image

    gray = picture(40, 48, seed=1, channels=1)
    (folders / "LA").mkdir()
    Image.merge("LA", [Image.fromarray(gray)] * 2).save(folders / "LA" / "a.png")
    opt = options(folders, dataroot_gt=str(folders / "LA"), dataroot_lq=None, degradation={"type": "BI"}, channels=1)
    assert np.array_equal(as_integers(DegradationPairedDataset(opt)[0]["gt"]), gray[..., None])


@pytest.mark.parametrize("format", ["JPEG", "MPO", "PNG", "WEBP"])
def test_images_on_their_side_have_the_size_that_is_read(tmp_path, format):
    from PIL import Image

    from rcan_plugin.images.store import ImageStore

    name = {"PNG": "a.png", "WEBP": "a.webp"}.get(format, "a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(60, 90, seed=1)).save(tmp_path / name, format=format, exif=exif.tobytes())
    store = ImageStore(tmp_path)
    header = store.header(name)
    assert (header.height, header.width) == store.read(name).shape[:2]


def test_a_header_is_read_without_the_pixels(tmp_path):
    """A file cut short in its pixels has its header all the same."""
    from rcan_plugin.images.store import ImageStore

    write(tmp_path / "a.png", picture(60, 90, seed=1))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    header = ImageStore(tmp_path).header("a.png")
    assert (header.height, header.width, header.alpha, header.gray) == (60, 90, False, False)


def test_y_is_matlabs():
    """`rgb2ycbcr` of MATLAB's documentation: black 16, white 235; red, green, blue by 65.481, 128.553, 24.966."""
    bgr = np.array([[[0, 0, 0], [255, 255, 255], [0, 0, 255], [0, 255, 0], [255, 0, 0]]], np.uint8)
    assert bgr_to_y(bgr)[0, :, 0].tolist() == [16, 235, 81, 145, 41]
    assert bgr_to_y(bgr.astype(np.uint16) * 257)[0, :, 0].tolist() == [4112, 60395, 20941, 37150, 10528]


def test_alpha_is_dropped_with_one_warning_for_the_set(folders, caplog):
    for name in "ab":
        hr = picture(40, 48, seed=ord(name), channels=4)
        write(folders / "alpha" / f"{name}.png", hr)
    opt = options(folders, dataroot_gt=str(folders / "alpha"), dataroot_lq=None, degradation={"type": "BI"})
    with caplog.at_level(logging.WARNING, logger="basicsr"):
        dataset = DegradationPairedDataset(opt)
        items = list(dataset)
    assert [record.getMessage() for record in caplog.records] == [
        f"image {folders / 'alpha' / 'a.png'} and 1 more: alpha is dropped."
    ]
    assert np.array_equal(as_integers(items[1]["gt"]), picture(40, 48, seed=ord("b"), channels=4)[..., :3])


def test_the_record_is_written_whole_and_read_back(tmp_path):
    record = Record(Recipe(Degradation("DN", noise=10), seed=3), scale=3, images=7)
    record.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["degradation.json"]
    assert json.loads((tmp_path / "degradation.json").read_text()) == {
        "kind": "DN", "border": "replicate", "sigma": None, "kernel_size": None, "noise": 10.0,
        "seed": 3, "scale": 3, "images": 7, "rcan_plugin": "0.1.0",
    }  # fmt: skip
    assert Record.read(tmp_path) == record
    assert Record.read(tmp_path / "nowhere") is None
    (tmp_path / "degradation.json").write_text('{"kind": "BI"}')
    with pytest.raises(ValueError, match=r"degradation\.json is not a record of a degradation"):
        Record.read(tmp_path)


def test_a_record_that_disagrees_stops_the_training(folders):
    Record(Recipe(Degradation("BI", "symmetric")), 2, 3).write(folders / "LR")

    def said(**more):
        with pytest.raises(ValueError) as caught:
            DegradationPairedDataset(options(folders, **more))
        return str(caught.value)

    text = said(degradation={"type": "BI"})
    assert "was made as x2 BI (symmetric), and the options say x2 BI (replicate)" in text
    DegradationPairedDataset(options(folders, degradation={"type": "BI", "border": "symmetric"}))
    DegradationPairedDataset(options(folders))  # nothing is said, nothing disagrees

    Record(Recipe(Degradation("BI")), 4, 3).write(folders / "LR")
    assert "was made as x4 BI (replicate), and the options say x2 BI (replicate)" in said(degradation={"type": "BI"})
    assert "was made as x4 BI (replicate), and the options say x2" in said()
    Record(Recipe(Degradation("BI")), 2, 4).write(folders / "LR")
    assert "was made of 4 images and holds 3" in said()


def test_a_record_and_options_that_say_the_same_in_other_words_agree(folders):
    Record(Recipe(Degradation("BD")), 2, 3).write(folders / "LR")
    # 12 taps are the official script's at x2 and sigma 1.6.
    DegradationPairedDataset(options(folders, degradation={"type": "BD", "kernel_size": 12}))
    with pytest.raises(ValueError, match=r"was made as x2 BD \(sigma 1.6\), and the options say x2 BD .*kernel 14x14"):
        DegradationPairedDataset(options(folders, degradation={"type": "BD", "kernel_size": 14}))


def test_without_a_record_the_first_pairs_are_identified(folders, caplog):
    def warnings(**more):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="basicsr"):
            DegradationPairedDataset(options(folders, **more))
        return [record.getMessage() for record in caplog.records]

    assert warnings(degradation={"type": "BI"}) == []
    assert warnings() == []
    said = warnings(degradation={"type": "BD"})
    assert len(said) == 3
    assert said[0].startswith(
        f"Data set tiny: the options say x2 BD (sigma 1.6), and image {folders / 'LR' / 'a.png'} looks like x2 BI"
    )
    assert warnings(degradation={"type": "BI"}, channels=1) == [], "compared as made, not as turned into Y"
    write(folders / "LR" / "b.png", degrade(picture(41, 51, seed=ord("b")), 2, "BI", border="symmetric"))
    (said,) = warnings(degradation={"type": "BI"})
    assert "b.png looks like x2 BI, symmetric border" in said
    hr = picture(41, 51, seed=ord("b"))
    write(folders / "LR" / "b.png", cv2.resize(hr[:40, :50], (25, 20), interpolation=cv2.INTER_AREA))
    (said,) = warnings(degradation={"type": "BI"})
    assert said.endswith("; looks like OpenCV bilinear or OpenCV area (0 % differ)")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_pairs_made_as_said_give_no_warning(folders, kind, caplog):
    for name, size in {"a": (80, 96), "b": (81, 91), "c": (64, 80)}.items():
        hr = np.full((*size, 3), 128, np.uint8) + picture(*size, seed=ord(name)) // 4  # far from clipping
        write(folders / "HR" / f"{name}.png", hr)
        write(folders / "LR" / f"{name}.png", degrade(hr, 2, kind["type"], rng=noise_rng(1, name), **settings(kind)))
    with caplog.at_level(logging.WARNING, logger="basicsr"):
        DegradationPairedDataset(options(folders, degradation=kind))
    assert caplog.records == []


def samples(root, workers: int, rank: int = 0, world: int = 1, seed: int = 5, epochs: int = 2) -> list[list[bytes]]:
    """Every sample of some epochs, in order, as BasicSR's trainer draws them."""
    set_random_seed(seed + rank)
    opt = options(root, "train", dataroot_lq=None, degradation={"type": "DN"}, dataset_enlarge_ratio=4)
    opt |= {"batch_size_per_gpu": 2, "num_worker_per_gpu": workers}
    dataset = DegradationPairedDataset(opt)
    sampler = EnlargedSampler(dataset, world, rank, opt["dataset_enlarge_ratio"])
    loader = build_dataloader(dataset, opt, num_gpu=0, dist=world > 1, sampler=sampler, seed=seed)
    drawn = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        drawn.append(
            [
                path.encode() + gt.numpy().tobytes() + lq.numpy().tobytes()
                for batch in loader
                for path, gt, lq in zip(batch["gt_path"], batch["gt"], batch["lq"], strict=True)
            ]
        )
    return drawn


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_same_seed_gives_the_same_samples(folders, workers):
    first = samples(folders, workers)
    assert first == samples(folders, workers)
    assert first != samples(folders, workers, seed=6)
    # 3 images, each drawn 4 times an epoch, over 2 epochs: 24 crops, none of them twice.
    assert len(first[0]) == len(first[1]) == 12
    assert len(set(first[0] + first[1])) == 24


def test_ranks_draw_their_own_samples_and_the_same_again(folders):
    ranks = [samples(folders, 1, rank, world=2) for rank in (0, 1)]
    assert ranks == [samples(folders, 1, rank, world=2) for rank in (0, 1)]
    assert len(set(ranks[0][0] + ranks[0][1] + ranks[1][0] + ranks[1][1])) == 24
