"""Data, weights, states, GPUs and folders that are missing or do not fit are named before a run begins."""

import os
import shutil

import pytest
import torch
from basicsr.utils.options import parse_options

from rcan_plugin.options.check import checked
from rcan_plugin.options.files import unreachable
from rcan_plugin.training import checkpoints
from tests.archs.rcan import small_rcan
from tests.conftest import write_options
from tests.data.tiny import picture, write
from tests.options.wrong import BASES, MISSING, RCAN, changed, stock, training
from tests.weights.saved import save

SIZES = [(40, 48), (56, 40), (44, 44)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with images and the output of an earlier run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.excepthook", None)
    for name, scale in (("HR", 1), ("LR", 2), ("LR4", 4)):
        for seed, (height, width) in enumerate(SIZES):
            write(tmp_path / name / f"{seed}.png", picture(height // scale, width // scale, seed))
    (tmp_path / "EMPTY").mkdir()
    shutil.copytree(tmp_path / "LR", tmp_path / "FEW")
    (tmp_path / "FEW/0.png").unlink()
    for name, text in (("meta.txt", "0.png (40,48,3)\n"), ("gone.txt", "9.png (40,48,3)\n"), ("empty.txt", "")):
        (tmp_path / name).write_text(text)
    for name in ("models", "training_states", "visualization"):
        (tmp_path / "experiments/run" / name).mkdir(parents=True)
    save(tmp_path / "w.pth", {"params": small_rcan(**{key: RCAN[key] for key in RCAN if key != "type"}).state_dict()})
    return tmp_path


def checked_options(folder, monkeypatch, options, *arguments, is_train=True, only_ours=False):
    """The options that BasicSR's pipeline would get."""
    write_options(folder / "o.yml", options)
    monkeypatch.setattr("sys.argv", ["rcan", "-opt", "o.yml", *arguments])
    return checked(parse_options, only_ours)(str(folder), is_train)[0]


def refusal(folder, monkeypatch, options, *arguments, **how) -> str:
    """The message; nothing may have changed."""
    write_options(folder / "o.yml", options)
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        checked_options(folder, monkeypatch, options, *arguments, **how)
    assert sorted(folder.rglob("*")) == before
    text = str(ended.value)
    assert text.startswith("\no.yml: ") and text.endswith("\nNothing was built, moved or written.")
    return text


FILES = [
    (
        "SRModel",
        {"datasets__train__dataroot_gt": "no"},
        "datasets: train: data set t: dataroot_gt: folder no does not exist",
    ),
    ("SRModel", {"datasets__val__dataroot_gt": "EMPTY"}, "datasets: val: data set v: "),
    ("stock", {"datasets__val__dataroot_lq": "no"}, "datasets: val: data set v: dataroot_lq: no does not exist"),
    ("stock", {"datasets__val__dataroot_lq": "FEW"}, "lq and gt datasets have different number of images: 2, 3."),
    ("stock", {"datasets__train__dataroot_lq": "LR4"}, "HR/0.png is 40x48 and LR4/0.png is 10x12; expected 20x24 for"),
    ("SRModel", {"datasets__train__dataroot_lq": "LR4"}, "is 40x48 and "),
    ("stock", {"datasets__train__gt_size": 44}, "HR/0.png is 40x48, smaller than gt_size 44: lower gt_size."),
    ("SRModel", {"datasets__train__gt_size": 44}, "is 40x48, smaller than gt_size 44: remove it or lower gt_size."),
    ("stock", {"datasets__val__meta_info_file": "gone.txt"}, "data set v: LR/9.png does not exist"),
    ("stock", {"datasets__val__meta_info_file": "empty.txt"}, "datasets: val: data set v has no images."),
    ("stock", {"datasets__val__meta_info_file": "no.txt"}, "val: data set v: meta_info_file: no.txt does not exist"),
    ("stock", {"datasets__val__meta_info_file": "HR"}, "val: data set v: meta_info_file: HR is a folder"),
    ("SRModel", {"datasets__train__batch_size_per_gpu": 100}, "set dataset_enlarge_ratio to 34 or more."),
    (
        "SRModel",
        {"val__metrics__psnr__crop_border": 1000},
        "val: metrics: psnr: crop_border: is 1000, which leaves 0x0 p",
    ),
    ("stock", {"val__metrics__psnr__crop_border": 20}, "is 20, which leaves 0x8 pixels of an image of 40x48 in v, too"),
    ("SRModel", {"val__metrics__psnr": {"type": "calculate_ssim", "crop_border": 15}}, "too few for calculate_ssim."),
    ("stock", {"val__metrics__psnr": {"type": "calculate_niqe", "crop_border": 0}}, "too few for calculate_niqe."),
    ("SRModel", {"path__pretrain_network_g": "no.pth"}, "path: pretrain_network_g: no.pth does not exist"),
    ("SRModel", {"path__pretrain_network_g": "w.pth", "network_g__num_feat": 16}, "path: pretrain_network_g: w.pth"),
    ("SRModel", {"path__resume_state": "no.state"}, "path: resume_state: no.state is no file"),
    ("SRModel", {"num_gpu": 99}, "num_gpu: is 99, and this machine has "),
    (
        "test",
        {"datasets__test_1__dataroot_gt": "no"},
        "datasets: test_1: data set v: dataroot_gt: folder no does not exist",
    ),
    ("test", {"path__pretrain_network_g": "HR"}, "path: pretrain_network_g: HR is a folder"),
]


@pytest.mark.parametrize(("base", "changes", "expected"), FILES, ids=[str(entry[1])[:60] for entry in FILES])
def test_what_is_missing_or_does_not_fit(base, changes, expected, folder, monkeypatch):
    text = refusal(folder, monkeypatch, changed(BASES[base](), **changes), is_train=base != "test")
    assert expected in text and "1 mistake\n  " in text, text


def test_weights_that_basicsr_downloads(folder, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(folder / "hub"))
    monkeypatch.setattr("rcan_plugin.options.files.unreachable", lambda url: f"no way to {url[:24]}")
    options = changed(training(), train__perceptual_opt={"type": "PerceptualLoss", "layer_weights": {"conv5_4": 1}})
    kept = folder / "hub/checkpoints/vgg19-dcbb9e9d.pth"
    text = refusal(folder, monkeypatch, options)
    assert "train: perceptual_opt: needs VGG's weights, which cannot be downloaded (no way to https://" in text
    assert f"save https://download.pytorch.org/models/vgg19-dcbb9e9d.pth as {kept}." in text
    kept.parent.mkdir(parents=True)
    kept.touch()
    checked_options(folder, monkeypatch, options)


def test_a_file_that_cannot_be_downloaded(tmp_path):
    assert unreachable((tmp_path / "gone").as_uri()) is not None
    (tmp_path / "here").touch()
    assert unreachable((tmp_path / "here").as_uri()) is None


def test_without_a_gpu(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    real = changed(stock(), model_type="RealESRNetModel", high_order_degradation=False)
    assert "model_type: is RealESRNetModel, which needs a GPU" in refusal(folder, monkeypatch, real)
    capturable = changed(stock(), train__optim_g__capturable=True)
    assert "train: optim_g: capturable: is true, which needs a GPU" in refusal(folder, monkeypatch, capturable)
    prefetch = {"datasets__train__prefetch_mode": "cuda", "datasets__train__pin_memory": True}
    text = refusal(folder, monkeypatch, changed(stock(), num_gpu=1, **prefetch))
    assert "num_gpu: is 1, and this machine has 0: write auto, or 0 for the CPU." in text
    assert "datasets: train: prefetch_mode: is cuda, and this machine has no GPU: write ~." in text


def test_several_gpus_without_a_launcher(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    text = refusal(folder, monkeypatch, changed(stock(), num_gpu="auto"))
    assert "num_gpu: is 2 without a launcher. BasicSR would use DataParallel" in text
    assert "`torchrun --nproc_per_node 2 basicsr/train.py -opt FILE --launcher pytorch`" in text


def test_a_launcher_without_its_environment(folder, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    text = refusal(folder, monkeypatch, stock(), "--launcher", "pytorch")
    assert "--launcher: is pytorch, and RANK is not in the environment: start with torchrun --nproc_per_node N" in text


def write_state(folder, options, iteration: int = 3) -> None:
    """A state of a run with these options, and its weights."""
    arguments = {key: value for key, value in options["network_g"].items() if key != "type"}
    net = small_rcan(**arguments)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = {"epoch": 0, "iter": iteration, "optimizers": [optimizer.state_dict()], "schedulers": [{}]}
    checkpoints.save(state, folder / f"experiments/run/training_states/{iteration}.state")
    checkpoints.save({"params": net.state_dict()}, folder / f"experiments/run/models/net_g_{iteration}.pth")


STATE = "experiments/run/training_states/3.state"
RESUMES = [
    ({"network_g__num_feat": 16}, "net_g_3.pth does not fit network_g, RCANArch: size mismatch for conv_first.weight"),
    ({"network_g__num_group": 2}, "net_g_3.pth does not fit network_g, RCANArch: Missing key(s) in state_dict:"),
    ({"network_g__upscale": 4, "scale": 4}, "net_g_3.pth does not fit network_g, RCANArch: "),
    (
        {"train__optim_g": {"type": "RMSprop", "lr": 1e-4}},
        "its optimizer does not fit network_g and train: optim_g: typ",
    ),
    ({"train__optim_g__amsgrad": True}, "its optimizer does not fit network_g and train: optim_g: type Adam"),
    ({"name": "other"}, "folder of the run to resume: "),
    (
        {"train__total_iter": 2},
        "train: total_iter: is 2, and the state to resume from is of iteration 3: nothing would",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), RESUMES, ids=[str(entry[0])[:60] for entry in RESUMES])
def test_a_resume_with_another_option_file(changes, expected, folder, monkeypatch):
    options = BASES["ours"]()
    write_state(folder, options)
    text = refusal(folder, monkeypatch, changed(options, path__resume_state=STATE, **changes))
    assert expected in text, text


def test_resumes_that_go_on(folder, monkeypatch, capsys):
    options = changed(BASES["ours"](), path__resume_state=STATE)
    write_state(folder, options)
    for changes in (
        {},
        {"train__optim_g__lr": 1e-5, "train__scheduler__milestones": [1]},
        {
            "train__optim_g": {"type": "AdamW", "lr": 1e-4},
            "train__total_iter": 3,
            "val": MISSING,
            "datasets__val": MISSING,
        },
        {"model_type": "SRModel", "path__pretrain_network_g": "no.pth"},
        {"path__ignore_resume_networks": ["network_g"]},
    ):
        opt = checked_options(folder, monkeypatch, changed(options, **changes))
        assert opt["path"]["resume_state"] == STATE
    shown = changed(options, path__resume_state=None, network_g__num_feat=16)
    assert "no state in experiments/run/training_states can be resumed from" in refusal(
        folder, monkeypatch, shown, "--auto_resume"
    )
    assert f"{STATE} cannot be resumed from: " in capsys.readouterr().err


def test_basicsrs_own_train_py_resumes_only_on_a_gpu(folder, monkeypatch):
    def no_gpu():
        raise RuntimeError("Found no NVIDIA driver on your system.")

    options = changed(BASES["ours"](), path__resume_state=STATE, datasets__train__dataset_enlarge_ratio=9)
    write_state(folder, options)
    monkeypatch.setattr(torch.cuda, "current_device", no_gpu)
    text = refusal(folder, monkeypatch, options, only_ours=True)
    assert "path: resume_state: BasicSR's train.py resumes only on a GPU, and this machine has none: use `rcan" in text
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert checked_options(folder, monkeypatch, options, only_ours=True)["path"]["resume_state"] == STATE


def test_what_is_there_passes(folder, monkeypatch, capsys):
    before = sorted(os.walk(folder))
    write_options(folder / "o.yml", stock())
    for base in ("SRModel", "ours", "stock"):
        opt = checked_options(folder, monkeypatch, BASES[base]())
        assert opt["datasets"]["train"]["scale"] == 2 and opt["num_gpu"] == 0
    opt = checked_options(folder, monkeypatch, BASES["test"](), is_train=False)
    assert opt["path"]["results_root"] == str(folder / "results/run")
    assert sorted(os.walk(folder))[1:] == before[1:]
    assert capsys.readouterr().err == ""
    untested = changed(BASES["test"](), path__pretrain_network_g=None, val__metrics__psnr__test_y_channel=MISSING)
    checked_options(folder, monkeypatch, untested, is_train=False)
    said = capsys.readouterr().err
    assert "the network is tested with random weights" in said and "without test_y_channel: true it is of RGB" in said
