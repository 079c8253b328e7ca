"""The explicit way to train and test, and what is looked for before anything is built or moved."""

import shutil

import pytest
import torch

from rcan_plugin.archs.rcan_arch import RCANArch
from tests.comparison import weights_changed
from tests.conftest import ROOT, link_basicsr, read_options, shrink, write_options


def tree(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def earlier_run(folder, kind="experiments", name="RCAN_BI_x4"):
    (folder / kind / name / "models").mkdir(parents=True)
    (folder / kind / name / "models/net_g_latest.pth").write_text("months of work")
    return tree(folder)


def test_the_literal_command_without_data_says_what_is_missing_and_moves_nothing(tmp_path, run):
    link_basicsr(tmp_path)
    shutil.copytree(ROOT / "options", tmp_path / "options")
    before = earlier_run(tmp_path)
    done = run("basicsr/train.py", "-opt", "options/train_RCAN_x4.yml", code=1)
    first, *missing, last = done.stderr.strip().splitlines()[-4:]
    assert first == "options/train_RCAN_x4.yml: 2 mistakes"
    for line, number, folder in zip(missing, (13, 25), ("train", "valid"), strict=True):
        assert line.startswith(f"  line {number}: datasets: {'val' if folder == 'valid' else folder}: data set DIV2K")
        assert f"dataroot_gt: folder datasets/DIV2K/{folder}/HR.lmdb does not exist" in line
        assert "`rcan prepare-div2k` makes it" in line
    assert last == "Nothing was built, moved or written."
    assert tree(tmp_path) == before
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ours", [True, False])
def test_our_launcher_looks_first_whatever_the_option_file_names(ours, tiny, run):
    options = shrink(read_options("train_RCAN_x4"), tiny)
    if ours:
        options["path"]["pretrain_network_g"] = "nowhere/net.pth"
        said = "path: pretrain_network_g: nowhere/net.pth does not exist"
    else:
        options["network_g"] = {"type": "MSRResNet", "num_feat": 8, "num_block": 1, "upscale": 4}
        options["network_g"] |= {"num_in_ch": 3, "num_out_ch": 3}
        for data in options["datasets"].values():
            del data["degradation"]
            data |= {"type": "PairedImageDataset", "dataroot_lq": "nowhere", "io_backend": {"type": "disk"}}
        said = "data set DIV2K: dataroot_lq: nowhere does not exist"
    write_options(tiny / "tiny.yml", options)
    before = earlier_run(tiny)
    done = run("-m", "rcan_plugin.train", "-opt", "tiny.yml", code=1)
    assert said in done.stderr and "Traceback" not in done.stderr
    assert tree(tiny) == before


def test_testing_looks_for_weights_before_results_are_moved(tiny, run):
    options = shrink(read_options("test_RCAN_x4"), tiny)
    write_options(tiny / "tiny.yml", options)
    before = earlier_run(tiny, "results")
    done = run("-m", "rcan_plugin.test", "-opt", "tiny.yml", code=1)
    assert "path: pretrain_network_g: experiments/RCAN_BI_x4/models/net_g_latest.pth does not exist" in done.stderr
    assert tree(tiny) == before


def test_basicsrs_stock_edsr_trains_on_a_raw_lmdb(tiny, run):
    """BasicSR's `options/train/EDSR/train_EDSR_Mx4.yml` with its lines "for lmdb", shrunk; only the data is ours."""
    (tiny / "HR/2.png").unlink()  # 41x43: BasicSR's class trains on multiples of the scale only
    for out in ("train", "val"):  # of one LMDB for both BasicSR's class says that it is open already
        run(ROOT / "scripts/create_lmdb.py", "HR", "--scales", "4", "--degradations", "BI", "--out", out)
    train, val = (
        {"type": "PairedImageDataset", "dataroot_gt": f"{out}/HR.lmdb", "dataroot_lq": f"{out}/LRBI_x4.lmdb"}
        for out in ("train", "val")
    )
    train |= {"name": "DIV2K", "filename_tmpl": "{}", "io_backend": {"type": "lmdb"}, "gt_size": 32}
    train |= {"use_hflip": True, "use_rot": True, "num_worker_per_gpu": 1, "batch_size_per_gpu": 2}
    train |= {"dataset_enlarge_ratio": 100, "prefetch_mode": None}
    network = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "upscale": 4}
    psnr = {"type": "calculate_psnr", "crop_border": 4, "test_y_channel": False}
    options = {
        "name": "EDSR", "model_type": "SRModel", "scale": 4, "num_gpu": 0, "manual_seed": 10,
        "datasets": {"train": train, "val": {"name": "Set5", **val, "io_backend": {"type": "lmdb"}}},
        "network_g": {**network, "res_scale": 1, "img_range": 255.0, "rgb_mean": [0.4488, 0.4371, 0.4040]},
        "path": {"pretrain_network_g": None, "strict_load_g": False, "resume_state": None},
        "train": {
            "ema_decay": 0.999,
            "optim_g": {"type": "Adam", "lr": 1e-4, "weight_decay": 0, "betas": [0.9, 0.99]},
            "scheduler": {"type": "MultiStepLR", "milestones": [200000], "gamma": 0.5},
            "total_iter": 2, "warmup_iter": -1,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        },
        "val": {"val_freq": 2, "save_img": False, "metrics": {"psnr": psnr}},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 1, "use_tb_logger": False},
        "dist_params": {"backend": "nccl", "port": 29500},
    }  # fmt: skip
    write_options(tiny / "edsr.yml", options)
    link_basicsr(tiny)
    done = run("basicsr/train.py", "-opt", "edsr.yml")
    assert "[epoch:  0, iter:       2" in done.stderr + done.stdout and "# psnr:" in done.stderr + done.stdout
    first, second = (tiny / f"experiments/EDSR/models/net_g_{iteration}.pth" for iteration in (1, 2))
    assert weights_changed(first, second)
    weights = torch.load(second, weights_only=True)
    assert weights.keys() == {"params", "params_ema"}


def test_train_resume_and_test_under_the_current_folder(tiny, run):
    """The first run ends at 2 iterations; resumed without a GPU it goes on to 4, strictly; then it is tested."""
    options = shrink(read_options("train_RCAN_x2"), tiny)
    write_options(tiny / "tiny.yml", options)
    (tiny / "elsewhere").mkdir()
    elsewhere = tiny / "elsewhere"
    run("-m", "rcan_plugin.train", "-opt", "../tiny.yml", cwd=elsewhere)
    models = elsewhere / "experiments/RCAN_BI_x2/models"
    assert sorted(path.name for path in models.iterdir()) == ["net_g_2.pth", "net_g_latest.pth"]
    assert any((elsewhere / "tb_logger/RCAN_BI_x2").iterdir())

    options["train"]["total_iter"] = 4
    options["path"]["strict_load_g"] = False
    write_options(tiny / "tiny.yml", options)
    no_autoload = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}  # the explicit way needs none
    done = run("-m", "rcan_plugin.train", "-opt", "../tiny.yml", "--auto_resume", cwd=elsewhere, env=no_autoload)
    assert "Resuming training from epoch: 0, iter: 2." in done.stderr + done.stdout
    assert weights_changed(models / "net_g_2.pth", models / "net_g_4.pth")
    assert "strict_load_g: True" in done.stderr + done.stdout

    testing = shrink(read_options("test_RCAN_x2"), tiny)
    write_options(tiny / "test.yml", testing)
    done = run("-m", "rcan_plugin.test", "-opt", "../test.yml", cwd=elsewhere, env={"RCAN_PLUGIN_AUTOLOAD": "0"})
    assert "Validation Set5" in done.stderr + done.stdout
    assert len(list((elsewhere / "results/RCAN_BI_x2/visualization/Set5").iterdir())) == 3

    state = elsewhere / "experiments/RCAN_BI_x2/training_states/4.state"
    state.write_bytes(state.read_bytes()[:1000])
    (models / "net_g_2.pth").unlink()
    before = tree(elsewhere)
    done = run("-m", "rcan_plugin.train", "-opt", "../tiny.yml", "--auto_resume", cwd=elsewhere, code=1)
    said = [line for line in done.stderr.splitlines() if "cannot be resumed from" in line]
    assert len(said) == 2 and "4.state cannot be read" in said[0] and said[1].endswith("net_g_2.pth does not exist.")
    assert (
        "RCAN_BI_x2/training_states can be resumed from: name another" in done.stderr and "Traceback" not in done.stderr
    )
    assert tree(elsewhere) == before


def test_strict_is_passed_on_by_basicsr(tmp_path):
    """With `strict_load_g: true`, BasicSR's `load_network` refuses x2's weights for x3."""
    from basicsr.models.base_model import BaseModel

    small = {"num_feat": 8, "num_group": 1, "num_block": 1, "squeeze_factor": 4}
    torch.save({"params": RCANArch(upscale=2, **small).state_dict()}, tmp_path / "x2.pth")
    model = BaseModel({"num_gpu": 0, "is_train": False})
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_network(RCANArch(upscale=3, **small), tmp_path / "x2.pth", strict=True)
    model.load_network(RCANArch(upscale=3, **small), tmp_path / "x2.pth", strict=False)
