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
    starts = [
        line.partition(" is 64")[0].partition("datasets/DIV2K")[0].partition(" does")[0] for line in findings.missing
    ]
    assert (
        starts
        == [
            "line 12: datasets: train: data set DIV2K: dataroot_gt: folder ",
            "line 25: datasets: val: data set DIV2K_valid: dataroot_gt: folder ",
            "line 34: path: pretrain_network_g: gone.pth",
            "num_gpu:",
        ]
        or starts
    )
    assert list(tmp_path.iterdir()) == []


def test_mistakes_of_the_file_come_before_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    findings = examine(ESPCN, ["train:total_iter=-5", "network_g:chanels=1"])
    assert len(findings.mistakes) >= 2
    assert "total_iter: is -5" in findings.mistakes[1] + findings.mistakes[0]
    assert findings.missing == []


def test_data_that_do_not_fit_are_a_mistake(tiny, monkeypatch):
    monkeypatch.chdir(tiny)
    options = shrink(read_options("others/train_ESPCN_x2"), tiny)
    assert examine(write_options(tiny / "a.yml", options)).mistakes == []
    options["datasets"]["train"]["gt_size"] = 64
    mistakes = examine(write_options(tiny / "b.yml", options)).mistakes
    assert len(mistakes) == 1 and "gt_size" in mistakes[0] and "64" in mistakes[0]


def test_examining_leaves_the_process_as_it_was(tiny, monkeypatch):
    monkeypatch.chdir(tiny)
    monkeypatch.setattr(sys, "argv", ["program", "argument"])
    path = write_options(tiny / "a.yml", shrink(read_options("others/train_ESPCN_x2"), tiny))
    states = str(read_random_states())
    log = logging.getLogger("basicsr")
    before = log.disabled, list(log.handlers), sorted(tiny.rglob("*"))
    first = examine(path)
    assert str(read_random_states()) == states
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
