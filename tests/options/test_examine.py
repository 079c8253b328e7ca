"""Option files are examined one after another: mistakes, what is missing here, no trace for the next."""

import logging
import sys

import pytest
import torch

from rcan_plugin.data import scan
from rcan_plugin.options.examine import examine, is_for_training
from rcan_plugin.training.random_states import read_random_states
from tests.conftest import ROOT, read_options, shrink, write_options

ESPCN = ROOT / "options/others/train_ESPCN_x2.yml"


def test_missing_data_and_weights_are_no_mistakes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    findings = examine(ESPCN, ["path:pretrain_network_g=gone.pth", "num_gpu=64"])
    assert findings.mistakes == [] and findings.notes == []
    for line, start in zip(
        findings.missing,
        (
            "line 13: datasets: train: data set DIV2K: dataroot_gt: folder datasets/DIV2K/train/HR.lmdb does not exist",
            "line 26: datasets: val: data set DIV2K_valid: dataroot_gt: folder datasets/DIV2K/valid/HR.lmdb does not",
            "line 39: path: pretrain_network_g: gone.pth does not exist",
            "num_gpu: is 64, and this machine has ",
        ),
        strict=True,
    ):
        assert line.startswith(start)
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_mistakes_is_not_compared_with_the_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    findings = examine(ESPCN, ["train:total_iter=-5", "network_g:chanels=1"])
    assert [line.partition(";")[0] for line in findings.mistakes] == [
        "line 33: network_g: chanels: is 1",
        "line 42: train: total_iter: is -5",
    ]
    assert findings.missing == []


def test_data_that_do_not_fit_are_a_mistake(tiny, monkeypatch):
    monkeypatch.chdir(tiny)
    options = shrink(read_options("others/train_ESPCN_x2"), tiny)
    assert examine(write_options(tiny / "a.yml", options)).mistakes == []
    options["datasets"]["train"]["gt_size"] = 64
    mistakes = examine(write_options(tiny / "b.yml", options)).mistakes
    assert len(mistakes) == 1 and "gt_size" in mistakes[0] and "64" in mistakes[0]


def random_states():
    python, numpy, torchs, _ = read_random_states()
    return python, numpy["state"]["pos"], numpy["state"]["key"].tolist(), torchs.tolist()


def test_examining_leaves_the_process_as_it_was(tiny, monkeypatch):
    monkeypatch.chdir(tiny)
    monkeypatch.setattr(sys, "argv", ["program", "argument"])
    options = shrink(read_options("others/train_ESPCN_x2"), tiny) | {"manual_seed": 12345}
    path = write_options(tiny / "a.yml", options)
    states = random_states()
    log = logging.getLogger("basicsr")
    before = log.disabled, list(log.handlers), sorted(tiny.rglob("*"))
    first = examine(path)
    assert random_states() == states
    assert (log.disabled, list(log.handlers), sorted(tiny.rglob("*"))) == before
    assert sys.argv == ["program", "argument"] and scan._kept == {} and not torch.distributed.is_initialized()
    assert examine(path) == first


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"datasets": {"train": {}, "val": {}}}, True),
        ({"datasets": {"test_1": {}}}, False),
        ({"datasets": {"val": {}}}, False),
        ({"datasets": {"trian": {}}, "train": {}}, True),
        ({"datasets": {"test": {}}, "train": {}}, False),
        ({"datasets": 3}, False),
    ],
)
def test_the_data_sets_tell_training_from_testing(options, expected):
    assert is_for_training(options) is expected
