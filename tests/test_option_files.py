"""The option files: one recipe, full-size networks, and two iterations of each by BasicSR itself."""

import copy
import re
import sys

import basicsr.test
import basicsr.train
import pytest
import torch
import yaml
from basicsr.archs import build_network

from tests.archs.rcan import official_layout
from tests.conftest import ROOT, read_options, shrink, write_options

ALL = sorted(file.stem for file in (ROOT / "options").glob("*_RCAN_*.yml") if not file.stem.startswith("quickstart"))
FAST = [file for file in ALL if file.endswith("_fast")]
FILES = [file for file in ALL if file not in FAST]
NAME = re.compile(r"(train|test)_RCAN_(?:(BD|DN)_)?x([234])")
PARAMETERS = {2: 15_444_643, 3: 15_629_283, 4: 15_592_355}  # of the authors' networks


def what(file: str) -> tuple[str, str, int]:
    """Phase, degradation and scale, as the file's name says."""
    match = NAME.fullmatch(file)
    assert match, file
    return match[1], match[2] or "BI", int(match[3])


def recipe(file: str) -> dict:
    """The file's options, with what its name says taken out after it was found to be so."""
    phase, kind, scale = what(file)
    opt = copy.deepcopy(read_options(file))
    assert opt.pop("name") == f"RCAN_{kind}_x{scale}"
    assert opt.pop("scale") == scale == opt["network_g"].pop("upscale")
    for dataset in opt["datasets"].values():
        assert dataset.pop("degradation") == {"type": kind}
    for metric in opt["val"]["metrics"].values():
        assert metric.pop("crop_border") == scale
    if phase == "train":
        assert opt["datasets"]["train"].pop("gt_size") == 48 * scale
    else:
        assert opt["path"].pop("pretrain_network_g") == f"experiments/RCAN_{kind}_x{scale}/models/net_g_latest.pth"
    return opt


def test_the_files_are_all_there():
    kinds = ("", "BD_")
    expected = {f"{phase}_RCAN_{kind}x{scale}" for phase in ("train", "test") for kind in kinds for scale in (2, 3, 4)}
    assert set(FILES) == expected | {"train_RCAN_DN_x3"}


def test_what_the_paper_does_not_have_says_so():
    texts = {file: (ROOT / "options" / f"{file}.yml").read_text() for file in FILES}
    extensions = {file for file, text in texts.items() if "extension of the paper" in text}
    assert extensions == {f"{phase}_RCAN_BD_x{scale}" for phase in ("train", "test") for scale in (2, 4)}


@pytest.mark.parametrize("phase", ["train", "test"])
def test_one_recipe_that_differs_only_where_names_say(phase):
    files = [file for file in FILES if file.startswith(phase)]
    for file in files:
        assert recipe(file) == recipe(files[0]), file


def test_the_recipe_is_the_papers():
    """As in the authors' `option.py` and `TrainRCAN_scripts.sh`: 1000 epochs of 1000 iterations, halved each 200."""
    opt = read_options("train_RCAN_x2")
    assert (opt["model_type"], opt["num_gpu"]) == ("SRModel", "auto")
    train = opt["datasets"]["train"]
    assert (train["batch_size_per_gpu"], train["use_hflip"], train["use_rot"]) == (16, True, True)
    assert opt["train"]["optim_g"] == {
        "type": "Adam", "lr": 1e-4, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0
    }  # fmt: skip
    assert opt["train"]["scheduler"] == {
        "type": "MultiStepLR", "milestones": [200_000, 400_000, 600_000, 800_000], "gamma": 0.5
    }  # fmt: skip
    assert (opt["train"]["total_iter"], opt["train"]["pixel_opt"]["type"]) == (1_000_000, "L1Loss")
    assert all(metric["test_y_channel"] for metric in opt["val"]["metrics"].values())


def test_the_fast_files_are_the_recipe_and_what_makes_it_fast():
    assert [f"train_RCAN_x{scale}_fast" for scale in (2, 3, 4)] == FAST
    for file in FAST:
        fast, plain = read_options(file), read_options(file.removesuffix("_fast"))
        features = {key: fast["train"].pop(key) for key in ("amp", "channels_last", "compile", "guard")}
        assert features == {
            "amp": "bf16", "channels_last": True, "compile": True, "guard": {"factor": 100, "stop_after": 100}
        }  # fmt: skip
        assert fast["train"]["optim_g"].pop("fused") is fast["datasets"]["train"].pop("pin_memory") is True
        assert (fast["val"].pop("pictures"), fast["logger"].pop("keep_last")) == (3, 5)
        assert fast.pop("name") == plain.pop("name") + "_fast"
        assert (fast.pop("model_type"), plain.pop("model_type")) == ("AcceleratedSRModel", "SRModel")
        assert fast == plain


@pytest.mark.parametrize("file", FAST)
def test_each_fast_file_runs_two_iterations(file, tiny, monkeypatch):
    options = shrink(read_options(file), tiny)
    del options["train"]["compile"]  # which takes minutes and a C++ compiler; the model's tests have it
    pipeline(monkeypatch, "train", tiny, options)
    folder = tiny / "experiments" / options["name"] / "models"
    assert {path.name for path in folder.iterdir()} == {"net_g_2.pth", "net_g_best.pth", "net_g_latest.pth"}
    saved = torch.load(folder / "net_g_2.pth", weights_only=True)["params"]
    assert all(tensor.isfinite().all() and tensor.dtype == torch.float32 for tensor in saved.values())


def test_the_test_sets_need_hr_folders_alone():
    datasets = read_options("test_RCAN_x4")["datasets"].values()
    assert [data["name"] for data in datasets] == ["Set5", "Set14", "B100", "Urban100", "Manga109"]
    assert all(
        "dataroot_lq" not in data and data["dataroot_gt"] == f"datasets/benchmark/{data['name']}/HR"
        for data in datasets
    )


@pytest.mark.parametrize("file", FILES)
def test_the_network_is_full_size(file):
    with torch.device("meta"):
        net = build_network(read_options(file)["network_g"])
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[what(file)[2]]


def pipeline(monkeypatch, module, folder, options):
    """BasicSR's own pipeline, in this process, as `-opt` would start it, in and into `folder`."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["program", "-opt", str(write_options(folder / "tiny.yml", options))])
    {"train": basicsr.train, "test": basicsr.test}[module].__dict__[f"{module}_pipeline"](str(folder))


@pytest.mark.parametrize("file", FILES)
def test_each_runs_two_iterations(file, tiny, monkeypatch, capsys):
    phase, kind, scale = what(file)
    name = f"RCAN_{kind}_x{scale}"
    options = shrink(read_options(file), tiny)
    if phase == "test":
        weights = tiny / "weights.pth"
        torch.save({"params": build_network(options["network_g"]).state_dict()}, weights)
        options["path"]["pretrain_network_g"] = str(weights)
    pipeline(monkeypatch, phase, tiny, options)
    if phase == "train":
        saved = torch.load(tiny / f"experiments/{name}/models/net_g_2.pth", weights_only=True)
        assert saved["params"]["conv_last.weight"].isfinite().all()
        state = torch.load(tiny / f"experiments/{name}/training_states/2.state", weights_only=True)
        assert state["iter"] == 2
        assert state["optimizers"][0]["param_groups"][0]["lr"] == 1e-4
    else:
        pictures = sorted(path.name for path in (tiny / f"results/{name}/visualization/Manga109").iterdir())
        assert pictures == [f"{i}_{name}.png" for i in range(3)]


def uncommented(file: str) -> dict:
    """The options with the commented lines of `path` brought in."""
    text = (ROOT / "options" / f"{file}.yml").read_text()
    path = text.split("\npath:\n")[1].split("\n\n")[0]
    return yaml.safe_load(text.replace(path, re.sub(r"# (pretrain_network_g|strict_load_g):", r"\1:", path)))


# What each file may start from, as the authors did, and what is then left as initialised.
STARTS = {
    "train_RCAN_x3": ("RCAN_BI_x2", 2, {"upsample.0.weight", "upsample.0.bias"}),
    "train_RCAN_x4": ("RCAN_BI_x2", 2, {"upsample.2.weight", "upsample.2.bias"}),
    "train_RCAN_BD_x2": ("RCAN_BI_x2", 2, set()),
    "train_RCAN_BD_x3": ("RCAN_BI_x3", 3, set()),
    "train_RCAN_BD_x4": ("RCAN_BI_x4", 4, set()),
    "train_RCAN_DN_x3": ("RCAN_BI_x3", 3, set()),
}


@pytest.mark.parametrize("file", STARTS)
def test_the_lines_that_start_from_other_weights(file, tiny, monkeypatch):
    source, scale, fresh = STARTS[file]
    options = uncommented(file)
    assert options["path"] == {
        "pretrain_network_g": f"experiments/{source}/models/net_g_latest.pth",
        "strict_load_g": not fresh,
        "resume_state": None,
    }
    options = shrink(options, tiny)
    options["train"]["optim_g"]["lr"] = 0.0
    start = build_network({**options["network_g"], "upscale": scale})
    weights = tiny / options["path"]["pretrain_network_g"]
    weights.parent.mkdir(parents=True)
    torch.save({"params": start.state_dict()}, weights)
    pipeline(monkeypatch, "train", tiny, options)
    trained = torch.load(tiny / f"experiments/{options['name']}/models/net_g_2.pth", weights_only=True)["params"]
    same = {key for key, tensor in start.state_dict().items() if torch.equal(trained[key], tensor)}
    assert set(trained) - same == fresh


def test_the_authors_file_loads_through_basicsr(tiny, monkeypatch):
    options = shrink(read_options("test_RCAN_x2"), tiny)
    source = build_network(options["network_g"])
    torch.save(official_layout(source, "module."), tiny / "RCAN_BIX2.pt")
    options["path"] |= {"pretrain_network_g": str(tiny / "RCAN_BIX2.pt"), "param_key_g": None}
    loaded = []
    monkeypatch.setattr(basicsr.test, "build_model", lambda opt: loaded.append(build(opt)) or loaded[0])
    from basicsr.models import build_model as build

    pipeline(monkeypatch, "test", tiny, options)
    for key, tensor in source.state_dict().items():
        assert torch.equal(loaded[0].net_g.state_dict()[key], tensor), key
