"""Raw LMDBs: binary PNM values, cropped where they lie."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import cv2
import lmdb
import numpy as np
import pytest
import torch
from PIL import Image

from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.data.stream import RandomNumbers, SampleIndex
from rcan_plugin.data.tensors import to_floats
from rcan_plugin.data.transport import PackedUint8
from rcan_plugin.degradations import Degradation
from rcan_plugin.images import pnm
from rcan_plugin.images.sources import find_images
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.prepare import Job, prepare
from tests.data.tiny import options, picture, write, write_lmdb

KINDS = [
    pytest.param(dtype, channels, id=f"{np.dtype(dtype).name}-{channels}")
    for dtype in (np.uint8, np.uint16)
    for channels in (1, 3)
]


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_others_decode_what_is_encoded(dtype, channels, tmp_path):
    image = picture(7, 5, seed=1, dtype=dtype, channels=channels)
    content = pnm.encode(image)
    assert np.array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), image)
    (tmp_path / "a.pnm").write_bytes(content)
    with Image.open(tmp_path / "a.pnm") as opened:
        assert opened.size == (5, 7)
    lying = pnm.view(memoryview(content))
    assert lying is not None and not lying.flags.writeable and not lying.flags.owndata
    assert np.array_equal(lying if channels == 1 else lying[..., ::-1], image)


def test_what_is_no_pnm_has_no_view_and_a_wrong_length_is_said():
    image = picture(7, 5, seed=1)
    assert pnm.view(cv2.imencode(".png", image)[1].tobytes()) is None
    assert pnm.view(b"P6\n5 7\n127\n" + bytes(105)) is None, "another range of values is left to the decoders"
    content = pnm.encode(image)
    for wrong in (content[:-1], content + b"\0"):
        with pytest.raises(ValueError, match=f"it has {len(wrong)} bytes and its header says {len(content)}"):
            pnm.view(wrong)


def stores(folder, image) -> dict[str, ImageStore]:
    """The same image in a folder, as PNG in an LMDB and raw in an LMDB."""
    write(folder / "files/HR/a.png", image)
    write_lmdb(folder / "png.lmdb", {"a": image})
    prepare(Job(folder / "raw"), find_images(folder / "files/HR"))
    roots = {"folder": "files/HR", "png": "png.lmdb", "raw": "raw/HR.lmdb"}
    return {name: ImageStore(folder / root) for name, root in roots.items()}


@pytest.mark.parametrize(("dtype", "depth"), KINDS)
def test_a_crop_is_what_the_whole_image_has_there(dtype, depth, tmp_path):
    found = stores(tmp_path, picture(20, 31, seed=2, dtype=dtype, channels=depth))
    for reading in ({"keep_depth": keep, "channels": channels} for keep in (False, True) for channels in (1, 3)):
        whole = found["folder"].read("a.png", **reading)
        assert whole.dtype == (dtype if reading["keep_depth"] else np.uint8)
        for name, store in found.items():
            for top, left, height, width in ((0, 0, 20, 31), (3, 5, 8, 9), (19, 30, 1, 1), (12, 0, 8, 31)):
                part = store.crop(store.names[0], (top, left, height, width), **reading)
                assert np.array_equal(part, whole[top : top + height, left : left + width]), (name, reading)


def test_sizes_come_from_meta_info_alone(tmp_path):
    store = stores(tmp_path, picture(20, 31, seed=2))["raw"]
    (tmp_path / "raw/HR.lmdb/data.mdb").unlink()
    assert store.header("a")[:4] == (20, 31, False, False)
    other = tmp_path / "other.lmdb"
    write_lmdb(other, {"b": picture(8, 9, seed=1)})
    (other / "meta_info.txt").write_text("b.png\n")
    assert ImageStore(other).header("b")[:2] == (8, 9), "without a size there, the value says it"
    (other / "meta_info.txt").write_text("b.png (8,9,4) 1\nc d.x.png (5, 6, 1) 1\n\n")
    store = ImageStore(other)
    assert store.names == ["b", "c d"]
    assert store.header("b").alpha and store.header("c d")[:4] == (5, 6, False, True)


def test_a_meta_info_that_is_wrong_is_said_when_a_crop_is_not_there(tmp_path):
    store = stores(tmp_path, picture(20, 31, seed=2))["raw"]
    with pytest.raises(ValueError, match=r"image a of LMDB .*raw/HR.lmdb has no window \(16, 0, 8, 8\)"):
        store.crop("a", (16, 0, 8, 8))


def test_a_damaged_value_is_named(tmp_path):
    path = stores(tmp_path, picture(20, 31, seed=2))["raw"].root
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"a", transaction.get(b"a")[:-5])
    with pytest.raises(ValueError, match=r"image a of LMDB .*HR.lmdb is damaged: it has \d+ bytes and its header says"):
        ImageStore(path).crop("a", (0, 0, 8, 8))


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


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", [{"kind": "BI"}, {"kind": "BD"}, {"kind": "BD", "kernel_size": 23}], ids=str)
def test_what_is_in_reach_is_all_that_a_region_is_made_of(scale, kind):
    """Other values beyond the reach change nothing; and one pixel less would not do, at one scale at least."""
    degradation = Degradation(**kind)
    reach = degradation.reach(scale)
    size, top = 6 + 4 * reach, 2 * reach
    hr = picture(size * scale, size * scale, seed=1)
    changed = picture(size * scale, size * scale, seed=2)
    inner = slice((top - reach) * scale, (top + 6 + reach) * scale)
    changed[inner, inner] = hr[inner, inner]
    region = (top, top, 6, 6)
    whole = degradation.apply(hr, scale, region=region)
    assert np.array_equal(degradation.apply(changed, scale, region=region), whole)
    alone = degradation.apply(np.ascontiguousarray(hr[inner, inner]), scale, region=(reach, reach, 6, 6))
    assert np.array_equal(alone, whole)


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
    found = dict(results.get(timeout=60) for _ in ranks)
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


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
def test_each_value_becomes_the_float_that_a_division_gives(dtype, peak):
    values = np.arange(peak + 1, dtype=dtype).reshape(1, 16, -1)
    assert torch.equal(to_floats(values), torch.from_numpy(values).float() / peak)


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
