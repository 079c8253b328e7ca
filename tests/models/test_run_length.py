"""Option files whose run would end before `total_iter`, with our data set and with others."""

import cv2
import numpy as np
import pytest

from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.scan import forget_scans, keep_scan
from rcan_plugin.models.run_length import check_run_length
from tests.comparison import names_all

OURS = {"type": "DegradationPairedDataset", "degradation": {"type": "BI"}, "gt_size": 8, "scale": 2}
STOCK = {"type": "PairedImageDataset", "io_backend": {"type": "disk"}}


@pytest.fixture
def options(tmp_path):
    for folder in ("HR", "LR"):
        (tmp_path / folder).mkdir()
        for number in range(31):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    data = {
        "name": "mine", "phase": "train", "dataroot_gt": str(tmp_path / "HR"), "use_hflip": True, "use_rot": True,
        "batch_size_per_gpu": 16,
    }  # fmt: skip
    yield {"dist": False, "world_size": 1, "num_gpu": 0, "train": {"total_iter": 100}, "datasets": {"train": data}}
    forget_scans()


@pytest.mark.parametrize("kind", ["ours", "stock"])
def test_a_run_that_would_end_early_is_refused(kind, options, tmp_path):
    data = options["datasets"]["train"]
    data |= OURS if kind == "ours" else {**STOCK, "dataroot_lq": str(tmp_path / "LR")}
    if kind == "ours":
        keep_scan(DatasetOptions.read(data))
    with pytest.raises(ValueError) as caught:
        check_run_length(options, None, all_epochs=False)
    assert names_all(caught.value, "data set mine: 31 images with dataset_enlarge_ratio 1 in batches of 16 would end")
    assert names_all(caught.value, "at iteration 51 of 100", "set dataset_enlarge_ratio to 6, or use `rcan train`")
    check_run_length(options, None, all_epochs=True)
    data["dataset_enlarge_ratio"] = 6
    if kind == "ours":
        keep_scan(DatasetOptions.read(data))
    check_run_length(options, None, all_epochs=False)
    with pytest.raises(ValueError) as caught:
        check_run_length(options, {"epoch": 9, "iter": 20}, all_epochs=False)
    assert names_all(
        caught.value, "resumed at iteration 20 in epoch 9", "would end at iteration 31 of 100", "to 0.51, or"
    )


def test_a_set_that_fills_no_batch_is_refused_by_every_trainer(options, tmp_path):
    data = options["datasets"]["train"]
    data |= {**STOCK, "dataroot_lq": str(tmp_path / "LR"), "batch_size_per_gpu": 20}
    options |= {"dist": True, "world_size": 2}
    for all_epochs, ratio in ((True, 2), (False, 9)):
        with pytest.raises(ValueError) as caught:
            check_run_length(options, None, all_epochs)
        assert names_all(caught.value, "31 images", "fill no batch of 20 on 2 processes", f"to {ratio}")
    (tmp_path / "LR/7.png").unlink()
    with pytest.raises(ValueError, match=r"data set mine: PairedImageDataset cannot be built: .*different"):
        check_run_length(options, None, all_epochs=True)
