"""The data set on raw LMDBs: the same samples as from files, in several threads, workers and ranks."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import cv2
import pytest
import torch

from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.data.stream import RandomNumbers, SampleIndex
from rcan_plugin.data.transport import PackedUint8
from rcan_plugin.degradations import Degradation
from rcan_plugin.images.sources import find_images
from rcan_plugin.preparation.prepare import Job, prepare
from tests.data.tiny import options, picture, write


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Three pairs in a folder, in PNG and in raw LMDBs."""
    folder = tmp_path_factory.mktemp("prepared")
    degradation = Degradation("BI")
    for name, size in {"a": (70, 80), "b": (71, 83), "c": (64, 66)}.items():
        hr = picture(*size, seed=ord(name))
        write(folder / "files/HR" / f"{name}.png", hr)
        write(folder / "files/LRBI_x2" / f"{name}.png", degradation.apply(hr, 2))
    hr = find_images(folder / "files/HR")
    for codec in ("png", "raw"):
        prepare(Job(folder / codec, codec=codec), hr, {2: find_images(folder / "files/LRBI_x2")})
    return folder


def training(folder, stored, seed=0, **more):
    ending = "" if stored == "files" else ".lmdb"
    opt = options(folder, "train", io_backend=None, gt_size=24)
    opt |= {
        "dataroot_gt": str(folder / stored / f"HR{ending}"),
        "dataroot_lq": str(folder / stored / f"LRBI_x2{ending}"),
    }
    dataset = DegradationPairedDataset({key: value for key, value in {**opt, **more}.items() if value is not None})
    torch.manual_seed(seed)
    return [dataset[index % 3] for index in range(30)]


@pytest.mark.parametrize(
    "more",
    [
        {},
        *({"dataroot_lq": None, "degradation": {"type": kind}} for kind in ("BI", "BD", "DN")),
        {"channels": 1},
        {"color": "y"},
        {"dataroot_lq": None, "degradation": {"type": "BD", "kernel_size": 21, "sigma": 3}},
    ],
    ids=str,
)
def test_samples_are_the_same_from_files_png_and_raw(prepared, more):
    files, png, raw = (training(prepared, stored, **more) for stored in ("files", "png", "raw"))
    for one, *others in zip(files, png, raw, strict=True):
        assert one["gt"].shape[1:] == (24, 24) and one["lq"].shape[1:] == (12, 12)
        for other in others:
            assert torch.equal(one["gt"], other["gt"]) and torch.equal(one["lq"], other["lq"])
    assert len({sample["gt"].numpy().tobytes() for sample in files}) > 25


def test_training_and_validation_on_one_file(prepared):
    """In turns in one process, as BasicSR's trainer without workers reads them."""
    opt = options(prepared, dataroot_gt=str(prepared / "raw/HR.lmdb"), dataroot_lq=None, io_backend=None)
    opt["degradation"] = {"type": "BI"}
    val = DegradationPairedDataset(opt)
    train = DegradationPairedDataset({**opt, "phase": "train", "gt_size": 16, "use_hflip": False, "use_rot": False})
    for index in range(3):
        sample, whole = train[index], val[index]
        places = whole["gt"].unfold(1, 16, 2).unfold(2, 16, 2)
        assert (places == sample["gt"][:, None, None]).all(dim=(0, 3, 4)).any(), "the crop is one of that image"


def _sums(root, rank, results):
    dataset = DegradationPairedDataset(
        {
            "name": "tiny",
            "phase": "val",
            "scale": 2,
            "dataroot_gt": str(root / "raw/HR.lmdb"),
            "degradation": {"type": "BI"},
        }
    )
    loader = torch.utils.data.DataLoader(dataset, num_workers=2)
    results.put((rank, [float(item["gt"].double().sum() + item["lq"].double().sum()) for item in loader]))


def test_several_ranks_with_workers_read_one_file_at_once(prepared):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    ranks = [context.Process(target=_sums, args=(prepared, rank, results)) for rank in range(3)]
    for rank in ranks:
        rank.start()
    found = dict(results.get(timeout=300) for _ in ranks)
    for rank in ranks:
        rank.join()
    read = [cv2.imread(str(path)) for path in sorted((prepared / "files/HR").iterdir())]
    hr = [image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2].sum() / 255 for image in read]
    lr = [Degradation("BI").apply(image, 2).sum() / 255 for image in read]
    for sums in found.values():
        assert sums == pytest.approx([a + b for a, b in zip(hr, lr, strict=True)], rel=1e-6)
    assert found.keys() == {0, 1, 2}


@pytest.mark.parametrize("more", [{}, {"keep_depth": True}, {"color": "y"}, {"channels": 1}], ids=str)
def test_what_comes_out_of_a_worker_is_what_is_made_in_the_main_process(prepared, more):
    """8-bit images travel as such, and are floats on arrival."""
    opt = options(prepared, "train", io_backend=None, gt_size=24, **more)
    opt |= {"dataroot_gt": str(prepared / "raw/HR.lmdb"), "dataroot_lq": str(prepared / "raw/LRBI_x2.lmdb")}
    dataset = DegradationPairedDataset(opt)
    places = [SampleIndex(index % 3, RandomNumbers.split((5 * index, 7 * index, index, 0))) for index in range(8)]
    loaders = [torch.utils.data.DataLoader(dataset, 4, sampler=places, num_workers=workers) for workers in (0, 2)]
    for here, there in zip(*loaders, strict=True):
        for key in ("gt", "lq"):
            assert here[key].dtype == there[key].dtype == torch.float32
            assert torch.equal(here[key], there[key]) and here[key].shape == there[key].shape
    travelled = torch.utils.data.default_collate([PackedUint8(torch.tensor([[[0, 51, 255]]], dtype=torch.uint8))] * 2)
    assert isinstance(travelled, PackedUint8)
    arrived = pickle.loads(pickle.dumps(travelled))
    assert torch.equal(arrived, torch.tensor([0, 0.2, 1.0]).expand(2, 1, 1, 3))


def test_samples_do_not_lie_in_memory_that_the_next_one_uses(prepared):
    opt = options(prepared, "train", dataroot_gt=str(prepared / "raw/HR.lmdb"), dataroot_lq=None, io_backend=None)
    dataset = DegradationPairedDataset({**opt, "degradation": {"type": "BI"}})
    # All eight turns, as they are when only one sample was ever made.
    places = [SampleIndex(index, RandomNumbers.split((3, 5, turn, 0))) for turn in range(8) for index in range(3)]
    alone = [{name: dataset[place][name].clone() for name in ("lq", "gt")} for place in places]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(dataset.__getitem__, places))
    for expected, kept in zip(alone, together, strict=True):
        assert torch.equal(kept["gt"], expected["gt"]) and torch.equal(kept["lq"], expected["lq"])
    assert len({item["gt"].data_ptr() for item in together}) == len(together)
