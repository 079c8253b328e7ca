"""Every option file runs by BasicSR's own pipeline, shrunk to two iterations of a small network, and trains it."""

import cv2
import numpy as np
import pytest
import torch
from basicsr.archs import build_network, vgg_arch
from torchvision.models.vgg import make_layers

from tests.conftest import ROOT, Ran, read_options, shrink

RCAN = sorted(file.stem for file in (ROOT / "options").glob("*_RCAN_*.yml") if not file.stem.startswith("quickstart"))
OTHERS = sorted(f"others/{file.stem}" for file in (ROOT / "options/others").iterdir())
VARIANTS = sorted(file.stem for file in (ROOT / "options").glob("train_RCAN[a-z]*.yml"))  # RCANit, RCANlight
SHORT = sorted(f"../benchmarks/training/classic/{f.stem}" for f in (ROOT / "benchmarks/training/classic").glob("*.yml"))


def assert_trained(ran: Ran, saved: dict[str, torch.Tensor]) -> None:
    """The saved weights are the model's, finite, and all changed: in MDSR those of the scales that were drawn."""
    assert saved.keys() == ran.initial.keys()
    assert all(torch.equal(tensor, saved[key]) for key, tensor in ran.model.net_g.state_dict().items())
    assert all(tensor.isfinite().all() for tensor in saved.values())
    unchanged = {key for key, tensor in ran.initial.items() if torch.equal(tensor, saved[key])}
    if ran.model.opt["network_g"]["type"] == "MDSRArch":
        branches = [{key for key in saved if f".x{scale}." in key} for scale in (2, 3, 4)]
        not_drawn = [keys for keys in branches if keys <= unchanged]
        assert len(not_drawn) < len(branches)
        unchanged = unchanged.difference(*not_drawn)
    assert not unchanged


@pytest.mark.parametrize("file", RCAN)
def test_rcan_runs_two_iterations(file, tiny, pipeline):
    options = shrink(read_options(file), tiny)
    # As many channels in the attention as outside: with fewer, all its ReLUs can be zero, and it does not train.
    options["network_g"]["squeeze_factor"] = 1
    name, models = options["name"], tiny / "experiments" / options["name"] / "models"
    if file.startswith("test"):
        torch.save({"params": build_network(options["network_g"]).state_dict()}, tiny / "weights.pth")
        options["path"]["pretrain_network_g"] = str(tiny / "weights.pth")
        pipeline("test", options)
        pictures = sorted(path.name for path in (tiny / f"results/{name}/visualization/Manga109").iterdir())
        assert pictures == [f"{i}_{name}.png" for i in range(3)]
        return
    options["train"].pop("compile", None)  # it takes minutes and a C++ compiler; the tests of the model run it
    ran = pipeline("train", options)
    saved = torch.load(models / "net_g_2.pth", weights_only=True)["params"]
    assert_trained(ran, saved)
    assert all(tensor.dtype == torch.float32 for tensor in saved.values())
    state = torch.load(models.parent / "training_states/2.state", weights_only=True)
    assert state["iter"] == 2
    assert state["optimizers"][0]["param_groups"][0]["lr"] == 1e-4
    best = {"net_g_best.pth"} if file.endswith(("_fast", "_low_memory")) else set()
    assert {path.name for path in models.iterdir()} == {"net_g_2.pth", "net_g_latest.pth"} | best


@pytest.fixture
def small_vgg(monkeypatch):
    """Give BasicSR a VGG19 of random weights and a sixteenth of the channels, which is not downloaded."""

    def vgg19(pretrained):
        torch.manual_seed(0)
        net = torch.nn.Module()
        channels = [size if size == "M" else size // 16 for size in vgg_arch.vgg.cfgs["E"]]
        net.features = make_layers(channels)
        return net

    monkeypatch.setattr(vgg_arch.vgg, "vgg19", vgg19)
    monkeypatch.setattr("rcan_plugin.options.files.unreachable", lambda url: None)


@pytest.mark.parametrize("file", [*OTHERS, *VARIANTS, *SHORT])
def test_others_run_two_iterations(file, tiny, pipeline, small_vgg):
    options = shrink(read_options(file), tiny)
    if file in VARIANTS:
        options["train"].pop("compile")  # as above
    if options["train"].pop("freeze", None):
        assert options["path"].pop("pretrain_network_g")
    if file == "others/train_SRGAN_x4":  # its discriminator takes 128 pixels
        for path in (tiny / "HR").iterdir():
            assert cv2.imwrite(str(path), np.tile(cv2.imread(str(path)), (4, 4, 1))[:136, :136])
        options["datasets"]["train"]["gt_size"] = 128
        options["network_d"]["num_feat"] = 4
        torch.save({"params": build_network(options["network_g"]).state_dict()}, tiny / "start.pth")
        options["path"]["pretrain_network_g"] = str(tiny / "start.pth")
    ran = pipeline("train", options)
    saved = torch.load(tiny / "experiments" / options["name"] / "models/net_g_2.pth", weights_only=True)["params"]
    assert_trained(ran, saved)
    sets = [data["name"] for name, data in options["datasets"].items() if name != "train"]
    best = ran.model.best_metric_results
    assert list(best) == sets
    assert all(np.isfinite(metrics["psnr"]["val"]) and metrics["psnr"]["val"] > 3 for metrics in best.values())
