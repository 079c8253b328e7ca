"""What the check of an option file refuses before anything is moved, and which option files it leaves alone."""

import os
import re

import pytest
import yaml

from rcan_plugin.options.check import checked
from rcan_plugin.options.notes import notes
from tests.conftest import ROOT, shrink, write_options
from tests.options.wrong import MISSING, changed, evaluation, refused, stock, training, understood
from tests.rights import forbidden

PROJECT_FILES = sorted(file for file in (ROOT / "options").rglob("*.yml") if file.parent.name != "compare")


@pytest.fixture
def parse(tiny, monkeypatch):
    """Check an option file in `tiny` with BasicSR's `parse_options`: `parse(options, "--debug", is_train=False)`."""
    from basicsr.utils import options as basicsr_options

    monkeypatch.chdir(tiny)
    monkeypatch.setattr("sys.excepthook", None)
    monkeypatch.setattr("logging.raiseExceptions", True)

    def call(options, *arguments, is_train=True, only_ours=False):
        path = options if isinstance(options, str) else str(write_options(tiny / "o.yml", options))
        monkeypatch.setattr("sys.argv", ["program", "-opt", path, *arguments])
        return checked(basicsr_options.parse_options, only_ours=only_ours)(str(tiny), is_train=is_train)

    return call


def message(parse, *arguments, **settings) -> str:
    with pytest.raises(SystemExit) as ended:
        parse(*arguments, **settings)
    return str(ended.value)


@pytest.mark.parametrize("path", PROJECT_FILES, ids=lambda path: path.stem)
def test_every_file_of_the_project_is_understood(path, tmp_path):
    options = yaml.safe_load(path.read_text())
    small = shrink(options, tmp_path)["network_g"]  # the networks' own sizes are those of the same constructor
    kept = {key: value for key, value in small.items() if key in options["network_g"]}
    options["network_g"] = {**options["network_g"], **kept}
    understood(tmp_path / "o.yml", options, is_train="train" in options["datasets"])


WRONG = {
    "train__ampp": ("bf16", "train: ampp", "Did you mean amp?"),
    "network_g__chanels": (1, "network_g: chanels: is 1; RCANArch has no such argument", ""),
    "val__self_ensamble": (True, "val: self_ensamble: is true", "Did you mean self_ensemble?"),
    "path__pretrained_network_g": ("a.pth", "path: pretrained_network_g", "Did you mean pretrain_network_g?"),
    "val__metrics__psnr__test_y_chanel": (True, "psnr: test_y_chanel", "Did you mean test_y_channel?"),
    "datasets__train__use_hflip": ("false", 'datasets: train: use_hflip: is "false"; expected true or false', "quotes"),
    "val__metrics__psnr__better": ("highest", "better: is highest; expected higher or lower", ""),
    "train__scheduler__milestones": ("2,3", "train: scheduler: milestones", "[2, 3]"),
    "train__optim_g__lr": (float("inf"), "train: optim_g: lr: is .inf; expected a number", ""),
    "train__total_iter": (-5, "train: total_iter: is -5; expected a whole number from 1 to", ""),
    "datasets__train__gt_size": (15, "gt_size: is 15; expected a multiple of scale 2", ""),
    "network_g__upscale": (4, "disagrees with network_g: upscale 4", ""),
    "network_g__num_in_ch": (1, "network_g", ""),
    "name": ("../../x", "name: is ../../x", ""),
    "train__warmup_iter": (9, "train: warmup_iter: is 9, more than total_iter 4", ""),
    "train__optim_g__betas": ([0.9, 2.0], "train: optim_g", "beta"),
    "train__pixel_opt__reduction": ("average", "train: pixel_opt", "average"),
    "model_type": ("SRModle", "model_type: is SRModle", "Did you mean SRModel?"),
    "datasets__train__batch_size_per_gpu": (MISSING, "datasets: train: batch_size_per_gpu: the key is missing", ""),
    "val__save_img": (MISSING, "val: save_img: the key is missing", ""),
    "logger__use_tb_logger": (MISSING, "logger: use_tb_logger: the key is missing", ""),
}


@pytest.mark.parametrize("place", WRONG)
def test_a_mistake_is_named_with_key_value_and_remedy(place, tmp_path):
    value, *parts = WRONG[place]
    (text,) = refused(tmp_path / "o.yml", changed(training("AcceleratedSRModel"), **{place: value}))
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(
    ("model", "place", "value"),
    [("SRModel", "val__self_ensemble", True), ("SRModel", "train__amp", "bf16"), ("SRModel", "logger__keep_last", 3)],
)
def test_keys_that_the_model_does_not_read(model, place, value, tmp_path):
    (text,) = refused(tmp_path / "o.yml", changed(training(model), **{place: value}))
    assert f"{place.split('__')[1]}: is" in text and "write model_type: AcceleratedSRModel" in text
    understood(tmp_path / "o.yml", changed(training("AcceleratedSRModel"), **{place: value}))


def test_schedules_against_the_length_of_the_run(tmp_path):
    path, options = tmp_path / "o.yml", training("AcceleratedSRModel")
    cosine = {"type": "CosineAnnealingRestartLR", "periods": [2], "restart_weights": [1]}
    assert (
        "periods: is [2], together 2; expected total_iter 4"
        in refused(path, changed(options, train__scheduler=cosine))[0]
    )
    warm = {"type": "WarmupCosineLR", "total": 3, "warmup": 1}
    assert "total: is 3, less than total_iter 4" in refused(path, changed(options, train__scheduler=warm))[0]
    late = changed(options, train__scheduler__milestones=[9])
    assert "milestones: is [9], and total_iter is 4" in refused(path, late)[0]
    understood(path, late, "train:total_iter=2")  # a shorter run of the same file


def test_all_mistakes_at_once_and_a_key_that_is_allowed(tmp_path):
    path = tmp_path / "o.yml"
    options = changed(training(), train__mine=1, val__val_freq="often", scale=0)
    assert len(refused(path, options)) == 3
    understood(path, changed(training(), train__mine=1, allow=["train: mine"]))


def test_code_in_a_file_or_an_argument_is_refused(tmp_path):
    path, marker = tmp_path / "o.yml", tmp_path / "ran"
    text = yaml.safe_dump(training()) + f"x: !!python/object/apply:os.mkdir ['{marker}']\n"
    assert "!!python/object/apply:os.mkdir would run code" in refused(path, text)[0]
    change = f"train:total_iter=__import__('os').mkdir('{marker}')"
    assert "total_iter" in refused(path, training(), change)[0]
    key = f"\"]=__import__('os').mkdir('{marker}') or opt[\"name=1"
    assert "no code reads this key" in refused(path, training(), key)[0]
    assert not marker.exists()


def test_basicsr_gets_what_was_read_with_the_changes_of_the_command_line(parse, tiny):
    opt, namespace = parse(training() | {"name": "changed"}, "--force_yml", "train:optim_g:lr=3e-4", "name=other")
    assert (opt["name"], opt["train"]["optim_g"]["lr"], namespace.opt) == ("other", 3e-4, str(tiny / "o.yml"))


def test_data_and_weights_that_are_missing_are_named_and_nothing_is_moved(parse, tiny):
    before = sorted(path.name for path in tiny.iterdir())
    options = changed(training(), datasets__val__dataroot_gt="nowhere", path__pretrain_network_g="gone.pth")
    text = message(parse, options)
    assert "datasets: val: data set v: dataroot_gt: folder nowhere does not exist" in text
    assert "path: pretrain_network_g: gone.pth does not exist" in text and "2 mistakes" in text
    assert text.endswith("Nothing was built, moved or written.")
    assert sorted(path.name for path in tiny.iterdir()) == sorted([*before, "o.yml"])
    text = message(
        parse, changed(evaluation(), datasets__test_1__dataroot_gt="datasets/benchmark/Set5/HR"), is_train=False
    )
    assert "`rcan prepare-benchmarks FOLDER_OR_ARCHIVE`" in text


def test_gpus_that_are_not_there_and_borders_that_leave_nothing(parse):
    assert "num_gpu: is 9, and this machine has" in message(parse, training() | {"num_gpu": 9})
    text = message(parse, changed(training(), val__metrics__psnr__crop_border=1000))
    assert "val: metrics: psnr: crop_border: is 1000, which leaves 0x0 pixels of an image of 40x48 in v" in text


def test_a_launcher_without_its_environment(parse, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert "--launcher: is pytorch, and RANK is not in the environment" in message(
        parse, training(), "--launcher", "pytorch"
    )


def test_files_of_others_are_left_to_basicsr(parse, monkeypatch):
    options = stock() | {"whatever": 1}
    opt, _ = parse(options, only_ours=True)
    assert opt["whatever"] == 1
    assert "whatever" in message(parse, options)


def test_an_option_file_that_cannot_be_read(parse, tiny):
    assert "does not exist" in message(parse, "gone.yml")
    os.mkfifo(tiny / "fifo.yml")
    assert "FIFO" in message(parse, "fifo.yml")
    assert "is a folder" in message(parse, "HR")
    (tiny / "secret.yml").touch()
    with forbidden(tiny / "secret.yml"):
        assert "permission denied" in message(parse, "secret.yml")


def test_what_may_not_be_read_is_refused_before_anything_is_moved(parse, tiny):
    (tiny / "w.pth").touch()
    options = changed(training(), path__pretrain_network_g="w.pth")
    for path in ("HR", "HR/1.png", "w.pth"):
        with forbidden(tiny / path):
            assert re.search(rf"{path}\b.*: [Pp]ermission denied", message(parse, options))


def test_metrics_on_rgb_are_remarked_on(parse, capsys):
    parse(changed(training(), val__metrics__psnr__test_y_channel=MISSING))
    assert "val: metrics: psnr: without test_y_channel: true it is of RGB" in capsys.readouterr().err


def test_niqe_whose_worst_weights_would_count_as_best_is_remarked_on():
    metrics = {"niqe": {"type": "calculate_niqe", "crop_border": 2}}
    options = {"name": "run", "is_train": True, "datasets": {"val": {}}, "val": {"metrics": metrics}}
    (note,) = notes(options)
    assert note.startswith("val: metrics: niqe: a lower NIQE is better; without better: lower")
    metrics["niqe"]["better"] = "lower"
    assert not list(notes(options))


def test_wrapping_twice_checks_once():
    def parse_options():
        return {}, None

    assert checked(checked(parse_options)).__wrapped__ is parse_options


def test_of_several_processes_one_prints(parse, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as ended:
        parse(changed(training(), scal=2))
    assert ended.value.code == 1


@pytest.mark.parametrize(
    "content", [b"", b"- a\n", b"text\n", b"\x89PNG\r\n", b"[" * 3000, "name: a\n".encode("utf-16")]
)
def test_files_that_are_no_option_files_at_all(content, parse, tiny):
    (tiny / "o.yml").write_bytes(content)
    assert message(parse, "o.yml", only_ours=True).startswith("\no.yml: 1 mistake\n  ")
