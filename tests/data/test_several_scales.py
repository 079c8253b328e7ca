"""LR images that come enlarged, and one data set for several scales: drawn for each sample, or for each batch."""

import threading

import numpy as np
import pytest
import torch
from basicsr.data.data_sampler import EnlargedSampler
from torch.utils.data import DataLoader

from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.data.stream import RandomNumbers, SampleIndex, StreamSampler
from rcan_plugin.degradations import degrade, imresize
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.images.sources import find_images
from rcan_plugin.preparation.prepare import Job, prepare
from tests.data.several import SCALES, by_batches, enlarged, made
from tests.data.tiny import options, picture, write

KINDS = [
    pytest.param(dtype, channels, id=f"{np.dtype(dtype).name}-{channels}")
    for dtype in (np.uint8, np.uint16)
    for channels in (1, 3)
]


def turned(image: torch.Tensor, turn: int) -> torch.Tensor:
    """C x H x W, by the three bits that a sample's third number begins with."""
    image = image.flip(-1) if turn & 1 else image
    image = image.flip(-2) if turn & 2 else image
    return image.mT if turn & 4 else image


def starts(side: int, scale: int, size: int) -> range:
    """Where a crop may begin."""
    return range(side // scale * scale - size + 1)


def equals_everywhere(dataset, whole, scale: int, number: int, size: int, shape: tuple[int, int]) -> None:
    """Crops of an image, wherever they may begin and however they are turned, are those of the whole image.

    Args:
        dataset: for training, of the scales.
        whole: the image's item in validation.
        scale: whose number among the data set's scales is `number`.
        size: of the crops.
        shape: of the HR image.
    """
    rows, columns = (starts(side, scale, size) for side in shape)
    assert whole["gt"].shape == whole["lq"].shape == (len(whole["gt"]), *(side // scale * scale for side in shape))
    turn = 0
    for y in rows:
        for x in {columns[0], columns[-1], columns[7 * y % len(columns)], columns[(7 * y + 5) % len(columns)]}:
            turn = (turn + 1) % 8
            item = dataset[SampleIndex(0, RandomNumbers.split((y, x, number << 3 | turn, 5)))]
            for key in ("gt", "lq"):
                crop = turned(whole[key][:, y : y + size, x : x + size], turn)
                assert item[key].dtype == torch.float32
                assert torch.equal(item[key], crop), (key, y, x, turn)


# -- enlarged LR images


@pytest.mark.parametrize("stored", ["folder", "raw"])
@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_a_training_crop_is_the_crop_of_the_whole_enlarged_image(dtype, channels, stored, tmp_path):
    """Value for value: at every scale, every place against the LR image's pixels, along the borders, turned."""
    shape = (38, 41)  # for 3 and 4 pixels are left over, on one side or both
    write(tmp_path / "files" / "a.png", picture(*shape, seed=1, dtype=dtype, channels=channels))
    more = {"channels": channels, "keep_depth": dtype == np.uint16, "io_backend": None}
    if stored == "raw":
        prepare(Job(tmp_path / "raw"), find_images(tmp_path / "files"))
    more["dataroot_gt"] = str(tmp_path / ("raw/HR.lmdb" if stored == "raw" else "files"))
    dataset = enlarged(tmp_path, **more)
    for number, scale in enumerate(SCALES):
        whole = made(tmp_path, "val", pre_upsample=True, scale=scale, **more)[0]
        equals_everywhere(dataset, whole, scale, number, 17, shape)


@pytest.mark.parametrize("size", [1, 5, 36])
@pytest.mark.parametrize("kind", ["BI", "BD"])
def test_crops_of_any_size(kind, size, tmp_path):
    """Smaller than what a pixel is made of, and as large as the image."""
    write(tmp_path / "HR" / "a.png", picture(38, 37, seed=2))
    more = {"degradation": {"type": kind}}
    dataset = enlarged(tmp_path, gt_size=size, **more)
    for number, scale in enumerate(SCALES):
        whole = made(tmp_path, "val", pre_upsample=True, scale=scale, **more)[0]
        equals_everywhere(dataset, whole, scale, number, size, (38, 37))


@pytest.mark.parametrize("codec", ["raw", "png"])
def test_prepared_lr_images_are_enlarged_too(codec, tmp_path):
    write(tmp_path / "HR" / "a.png", picture(38, 41, seed=3))
    recipe = Recipe.from_option({"type": "BI"})
    prepare(Job(tmp_path / "made", recipes=[recipe], scales=[3], codec=codec), find_images(tmp_path / "HR"))
    more = {"scale": 3, "pre_upsample": True, "io_backend": None}
    more |= {"dataroot_gt": str(tmp_path / "made/HR.lmdb"), "dataroot_lq": str(tmp_path / "made/LRBI_x3.lmdb")}
    whole = DegradationPairedDataset(options(tmp_path, **more))[0]
    dataset = DegradationPairedDataset(options(tmp_path, "train", gt_size=17, **more))
    equals_everywhere(dataset, whole, 3, 0, 17, (38, 41))
    on_the_fly = made(tmp_path, "val", scale=3, pre_upsample=True)[0]
    assert torch.equal(whole["lq"], on_the_fly["lq"]) and whole["lq_path"] == "a"


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_in_validation_it_is_matlabs_bicubic_of_floats(dtype, channels, scale, tmp_path):
    """Neither rounded to levels nor clipped."""
    blocks = picture(5, 6, seed=4, dtype=dtype, channels=channels)
    blocks = np.where(blocks > np.median(blocks), np.iinfo(dtype).max, 0).astype(dtype)
    hr = blocks.repeat(8, 0).repeat(8, 1)[:38, :41]  # black and white: bicubic goes beyond both
    write(tmp_path / "HR" / "a.png", hr)
    more = {"channels": channels, "keep_depth": dtype == np.uint16}
    item = made(tmp_path, "val", scale=scale, pre_upsample=True, **more)[0]
    plain = made(tmp_path, "val", scale=scale, **more)[0]
    assert item.keys() == plain.keys() == {"lq", "gt", "lq_path", "gt_path"}
    assert item["lq"].shape == item["gt"].shape == (channels, 38 // scale * scale, 41 // scale * scale)
    assert torch.equal(item["gt"], plain["gt"])
    peak = np.iinfo(dtype).max
    lq = degrade(hr, scale, "BI").reshape(38 // scale, 41 // scale, channels)[..., ::-1] / peak  # R, G, B
    expected = torch.from_numpy(imresize(lq, scale).transpose(2, 0, 1).copy())
    assert float((item["lq"] - expected).abs().max()) <= 2e-6
    assert item["lq"].min() < -0.01 and item["lq"].max() > 1.01
    rest = (item["lq"] * peak - (item["lq"] * peak).round()).abs()
    assert (rest > 0.1).float().mean() > 0.3, "between the levels"


# -- a scale for each sample


def collect(dataset, workers: int = 0, batch: int = 4, epochs=(0,), sampler=None) -> list[dict]:
    """The batches of a few epochs, as BasicSR's loop has them."""
    sampler = sampler or StreamSampler(dataset, 1, 0, 8, seed=3, batch=batch)
    loader = DataLoader(dataset, batch, sampler=sampler, num_workers=workers, drop_last=True)
    found = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        found += list(loader)
    return found


def alike(one: list[dict], other: list[dict]) -> bool:
    """Batches of the same images, values and scales."""
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a if torch.is_tensor(a[key]))
        for a, b in zip(one, other, strict=True)
    )


def test_enlarged_samples_draw_their_scales_each_for_itself(images):
    """Each is the sample that a set of its scale alone has at the same place of the stream."""
    dataset = enlarged(images)
    alone = {scale: enlarged(images, scale=scale, scales=None) for scale in SCALES}
    sampler = StreamSampler(dataset, 1, 0, 40, seed=1)
    drawn = []
    for place in sampler:
        item = dataset[place]
        assert item.keys() == {"lq", "gt", "lq_path", "gt_path"}, "of one size, whatever the scale"
        assert item["lq"].shape == item["gt"].shape == (3, 17, 17)
        found = [scale for scale in SCALES if torch.equal(item["lq"], alone[scale][place]["lq"])]
        assert len(found) == 1 and torch.equal(item["gt"], alone[found[0]][place]["gt"])
        drawn += found
    assert all(25 < drawn.count(scale) < 55 for scale in SCALES), "120 samples, a third each"
    assert any(len(set(drawn[at : at + 4])) == 3 for at in range(0, 120, 4)), "not one for each batch"
    places = list(sampler)
    for number, data in enumerate(collect(dataset, 0, 4, sampler=sampler)):
        for position, place in enumerate(places[4 * number : 4 * number + 4]):
            assert torch.equal(data["lq"][position], alone[drawn[4 * number + position]][place]["lq"])


@pytest.mark.parametrize("workers", [1, 3])
def test_an_enlarged_sample_depends_on_its_place_alone(workers, images):
    torch.manual_seed(workers)  # which must not matter
    here = collect(enlarged(images), epochs=(0, 1))
    assert len(here) == 12 and alike(collect(enlarged(images), workers, epochs=(0, 1)), here)
    assert not alike(here[:6], here[6:])
    other = StreamSampler(range(3), 1, 0, 8, seed=4)
    assert not alike(collect(enlarged(images), sampler=other), here[:6])


def test_plain_indices_draw_scales_from_torchs_generator(images):
    dataset = enlarged(images, gt_size=48, use_hflip=False, use_rot=False)  # of image a there are few such crops
    whole = {scale: made(images, "val", scale=scale, pre_upsample=True)[0]["lq"] for scale in SCALES}

    def draw() -> list[int]:
        drawn = []
        for _ in range(30):
            lq = dataset[0]["lq"]
            drawn += [
                scale
                for scale, image in whole.items()
                for windows in [image.unfold(1, 48, 1).unfold(2, 48, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)]
                if (windows == lq).flatten(1).all(1).any()
            ]
        return drawn

    torch.manual_seed(3)
    first, second = draw(), draw()
    torch.manual_seed(3)
    assert draw() == first != second and len(first) == 30 and set(first) == set(SCALES)


# -- a scale for each batch


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_has_one_scale_and_the_lr_size_is_always_the_same(workers, images):
    dataset, found = by_batches(images), []
    sampler = StreamSampler(dataset, 1, 0, 24, seed=3, batch=4)
    places = list(sampler)
    alone = {scale: made(images, scale=scale, gt_size=9 * scale) for scale in SCALES}
    batches = collect(dataset, workers, sampler=sampler)
    assert len(batches) == 18
    for number, data in enumerate(batches):
        (scale,) = set(data["scale"].tolist())
        assert data["scale"].shape == (4,) and data["lq"].shape == (4, 3, 9, 9)
        assert data["gt"].shape == (4, 3, 9 * scale, 9 * scale)
        for position, place in enumerate(places[4 * number : 4 * number + 4]):
            item = alone[scale][place]
            assert torch.equal(data["lq"][position], item["lq"]) and torch.equal(data["gt"][position], item["gt"])
            assert data["gt_path"][position] == item["gt_path"]
        found.append(scale)
    assert set(found) == set(SCALES)


def test_one_scale_in_the_list_is_told_as_well(images):
    """To a network of several scales, of which one is trained on."""
    (data, *_) = collect(by_batches(images, scales=[3]))
    assert data["scale"].tolist() == [3] * 4 and data["gt"].shape == (4, 3, 27, 27)
    assert "scale" not in collect(made(images, scale=3, gt_size=27))[0]
    assert "scale" not in collect(enlarged(images, scales=[3]))[0]


def test_a_sample_by_itself_has_a_scale_too(images):
    dataset = by_batches(images)
    found = set()
    for third in range(24):
        item = dataset[SampleIndex(1, RandomNumbers.split((0, 0, third, 0)))]
        assert item["lq"].shape == (3, 9, 9) and item["gt"].shape == (3, 9 * item["scale"], 9 * item["scale"])
        found.add(item["scale"])
    assert found == set(SCALES)


@pytest.mark.parametrize("workers", [0, 2])
def test_two_ranks_draw_the_batches_of_one(workers, images):
    """Of 8 samples each, and of 16: in turns, and of the same scales."""
    dataset = by_batches(images)
    ranks = [
        collect(dataset, workers, 8, (0, 1), StreamSampler(dataset, 2, rank, 64, seed=6, batch=8)) for rank in (0, 1)
    ]
    alone = collect(dataset, 0, 16, (0, 1), StreamSampler(dataset, 1, 0, 64, seed=6, batch=16))
    assert len(alone) == len(ranks[0]) == len(ranks[1]) == 24
    for whole, *shares in zip(alone, *ranks, strict=True):
        for key in ("lq", "gt", "scale"):
            assert torch.equal(torch.stack([share[key] for share in shares], 1).flatten(0, 1), whole[key])
    scales = [int(data["scale"][0]) for data in alone]
    assert set(scales) == set(SCALES) and scales[:12] != scales[12:]


@pytest.mark.parametrize("workers", [0, 2])
def test_with_basicsrs_sampler_ranks_agree_too(workers, images):
    """Its indices are plain numbers, of which each rank has others."""
    ranks = []
    for rank in (0, 1):
        torch.manual_seed(rank)  # as BasicSR does
        dataset = by_batches(images)
        dataset.ranks = 2  # as it finds where there is a process group
        ranks.append(collect(dataset, workers, 2, (0,), EnlargedSampler(dataset, 2, rank, 32)))
    scales = [[int(data["scale"][0]) for data in batches] for batches in ranks]
    assert len(scales[0]) == 24 and scales[0] == scales[1] and set(scales[0]) == set(SCALES)
    assert not torch.equal(ranks[0][0]["lq"], ranks[1][0]["lq"])
    for data in ranks[0]:
        (scale,) = set(data["scale"].tolist())
        assert data["lq"].shape == (2, 3, 9, 9) and data["gt"].shape == (2, 3, 9 * scale, 9 * scale)
    dataset = by_batches(images)
    dataset.ranks = 2
    in_this_process = collect(dataset, 0, 2, (0,), EnlargedSampler(dataset, 2, 0, 32))
    assert [int(data["scale"][0]) for data in in_this_process] == scales[0], "however many workers"


@pytest.mark.parametrize(("dataset", "workers"), [(by_batches, 0), (by_batches, 2), (enlarged, 2)])
def test_a_resumed_sampler_continues_with_the_same_scales(dataset, workers, images):
    whole = collect(dataset(images), epochs=(3, 4))
    assert len(whole) == 12
    for done in (1, 4):
        sampler = StreamSampler(range(3), 1, 0, 8, seed=3, batch=4)
        sampler.resume_at = 3, 4 * done
        assert alike(collect(dataset(images), workers, 4, (3, 4), sampler), whole[done:])


def test_batches_that_two_threads_make_at_once_keep_their_scales(images, monkeypatch):
    """As `prefetch_mode: cpu` does without workers: BasicSR makes an iterator that it throws away, in its thread."""
    dataset = by_batches(images)
    drawn, window = [], dataset.reader.window
    between, go_on = threading.Event(), threading.Event()

    def slow(*what):
        if threading.current_thread() is not threading.main_thread():
            between.set()
            assert go_on.wait(20)
        return window(*what)

    monkeypatch.setattr(dataset.reader, "window", slow)
    batches = [[SampleIndex(i, RandomNumbers.split((0, 0, 8 * i, 0)), shared) for i in range(3)] for shared in (1, 2)]
    other = threading.Thread(target=lambda: drawn.extend(item["scale"] for item in dataset.__getitems__(batches[0])))
    other.start()
    assert between.wait(20)
    assert [item["scale"] for item in dataset.__getitems__(batches[1])] == [4, 4, 4]
    go_on.set()
    other.join(20)
    assert drawn == [3, 3, 3]


# -- what is refused


@pytest.mark.parametrize("workers", [0, 2])
def test_with_basicsrs_sampler_alone_the_seed_decides_and_epochs_differ(workers, images):
    def scales(seed: int) -> list[int]:
        torch.manual_seed(seed)
        dataset = by_batches(images)
        found = collect(dataset, workers, 2, (0, 1), EnlargedSampler(dataset, 1, 0, 16))
        assert all(len(set(data["scale"].tolist())) == 1 for data in found)
        return [int(data["scale"][0]) for data in found]

    first = scales(0)
    assert set(first) == set(SCALES) and first[:24] != first[24:]
    assert first == scales(0) != scales(1)
