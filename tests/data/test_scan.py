"""The files of a data set are scanned once: by the check of an option file, for the data set that is built next."""

import os

import pytest
import torch

from rcan_plugin.data import scan as scan_module
from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.data.scan import forget_scans, keep_scan
from rcan_plugin.images.environments import close_environments
from rcan_plugin.images.store import ImageStore
from rcan_plugin.options.files import check_files
from tests.data.tiny import options, picture, write_lmdb
from tests.rights import forbidden


@pytest.fixture
def headers(monkeypatch):
    """The names of the images whose headers are read, in order."""
    names = []
    read = ImageStore.header

    def header(self, name):
        names.append(name)
        return read(self, name)

    monkeypatch.setattr(ImageStore, "header", header)
    yield names
    forget_scans()


def test_a_kept_scan_is_taken_once(folders, headers):
    opt = options(folders, "train")
    keep_scan(DatasetOptions.read(opt))
    assert len(headers) == 6, "three pairs"
    dataset = DegradationPairedDataset(opt)
    assert len(headers) == 6 and len(dataset) == 3 and dataset[0]["gt"].shape == (3, 16, 16)
    DegradationPairedDataset(opt)
    assert len(headers) == 12, "files may have changed since"


def test_a_kept_scan_is_not_for_other_options(folders, headers):
    keep_scan(DatasetOptions.read(options(folders, "train")))
    DegradationPairedDataset(options(folders, "train", gt_size=18))
    assert len(headers) == 12
    keep_scan(DatasetOptions.read(options(folders)))
    forget_scans()
    DegradationPairedDataset(options(folders))
    assert len(headers) == 24


def test_the_check_of_an_option_file_scans_for_the_data_set_built_next(folders, headers):
    opt = {"name": "run", "model_type": "SRModel", "num_gpu": 0, "dist": False, "is_train": False, "path": {}}
    opt |= {"datasets": {"train": options(folders, "train"), "val": options(folders)}}
    opt["path"]["results_root"] = str(folders / "results/run")
    assert check_files(opt, "tiny.yml", all_epochs=True) == []
    assert len(headers) == 12
    for data in opt["datasets"].values():
        DegradationPairedDataset(dict(data))
    assert len(headers) == 12
    assert scan_module._kept == {}


def test_a_kept_scan_is_checked_against_the_processes_that_train(folders, headers, monkeypatch):
    opt = options(folders, "train", batch_size_per_gpu=3)
    keep_scan(DatasetOptions.read(opt))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match=r"tiny: 2 samples an epoch .* 2 processes.*enlarge_ratio to 2 or more"):
        DegradationPairedDataset(opt)


def test_messages_come_when_the_data_set_is_built(folders, caplog):
    opt = options(folders, keep_depth=True)
    with caplog.at_level("INFO", logger="basicsr"):
        keep_scan(DatasetOptions.read(opt))
        assert not caplog.records
        DegradationPairedDataset(opt)
    assert "16 bits" in caplog.text


def test_an_lmdb_that_cannot_be_read_through_is_refused_with_the_data_set_and_the_option(tmp_path):
    root = tmp_path / "HR.lmdb"
    write_lmdb(root, {"a": picture(60, 80, seed=1), "b": picture(60, 80, seed=2)})
    of = options(tmp_path, dataroot_gt=str(root), dataroot_lq=None, degradation={"type": "BI"}, io_backend=None)
    start = f"data set tiny: dataroot_gt: .*{root.name}"
    with forbidden(root / "data.mdb"), pytest.raises(PermissionError, match=rf"{start}/data.mdb: permission denied: "):
        DegradationPairedDataset(of)  # before it is open in this process
    assert len(DegradationPairedDataset(of)) == 2
    with (root / "meta_info.txt").open("a") as lines:
        lines.write("c.png (60,80,3) 1\n")
    with pytest.raises(ValueError, match=rf"{start}: meta_info.txt names 1 images .* does not hold, such as 'c'"):
        DegradationPairedDataset(of)
    close_environments()
    os.truncate(root / "data.mdb", 20_000)
    with pytest.raises(ValueError, match=rf"{start}/data.mdb is cut short: it has 20000 bytes"):
        DegradationPairedDataset(of)
