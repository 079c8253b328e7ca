"""RCAN's option files: the paper's recipe, full-size networks, and weights to start from."""

import copy
import functools
import json
import re

import pytest
import torch
import yaml
from basicsr.archs import build_network

from tests.archs.rcan import official_layout
from tests.conftest import ROOT, read_options, shrink

ALL = sorted(file.stem for file in (ROOT / "options").glob("*_RCAN_*.yml") if not file.stem.startswith("quickstart"))
FAST = [file for file in ALL if file.endswith("_fast")]
LOW_MEMORY = "train_RCAN_x4_low_memory"
FILES = [file for file in ALL if file not in [*FAST, LOW_MEMORY]]
NAME = re.compile(r"(train|test)_RCAN_(?:(BD|DN)_)?x([234])")
PARAMETERS = {2: 15_444_643, 3: 15_629_283, 4: 15_592_355}  # of the authors' networks


def what(file: str) -> tuple[str, str, int]:
    """Phase, degradation and scale in the file's name."""
    match = NAME.fullmatch(file)
    assert match, file
    return match[1], match[2] or "BI", int(match[3])


def recipe(file: str) -> dict:
    """The file's options without those that its name says, after checking that they agree."""
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


def test_what_the_paper_does_not_have_is_marked():
    texts = {file: (ROOT / "options" / f"{file}.yml").read_text().replace("\n# ", " ") for file in FILES}
    extensions = {file for file, text in texts.items() if "extension of the paper" in text}
    assert extensions == {f"{phase}_RCAN_BD_x{scale}" for phase in ("train", "test") for scale in (2, 4)}


@pytest.mark.parametrize("phase", ["train", "test"])
def test_one_recipe_that_differs_only_where_names_say(phase):
    files = [file for file in FILES if file.startswith(phase)]
    for file in files:
        assert recipe(file) == recipe(files[0]), file


def test_the_recipe_is_the_papers():
    """`option.py` and `TrainRCAN_scripts.sh` of the authors: 1000 epochs of 1000 iterations, rate halved every 200."""
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
        features = {key: fast["train"].pop(key) for key in ("amp", "channels_last", "cuda_graph", "guard")}
        assert features == {
            "amp": "bf16", "channels_last": True, "cuda_graph": True, "guard": {"factor": 100, "stop_after": 100}
        }  # fmt: skip
        assert fast["train"]["optim_g"].pop("fused") is fast["datasets"]["train"].pop("pin_memory") is True
        assert (fast["val"].pop("pictures"), fast["logger"].pop("keep_last")) == (3, 5)
        assert fast["network_g"].pop("kernels") == "triton"
        assert fast.pop("name") == plain.pop("name") + "_fast"
        assert (fast.pop("model_type"), plain.pop("model_type")) == ("AcceleratedSRModel", "SRModel")
        assert fast == plain


def test_the_low_memory_file_is_the_fast_one_with_checkpoints():
    low, fast = read_options(LOW_MEMORY), read_options("train_RCAN_x4_fast")
    assert (low.pop("name"), fast.pop("name")) == ("RCAN_BI_x4_low_memory", "RCAN_BI_x4_fast")
    assert (low["network_g"].pop("use_checkpoint"), fast["network_g"].pop("use_checkpoint")) == (True, False)
    assert low["val"].pop("amp") == "bf16"
    assert low == fast


def test_the_test_sets_need_only_hr_folders():
    datasets = read_options("test_RCAN_x4")["datasets"].values()
    assert [data["name"] for data in datasets] == ["Set5", "Set14", "B100", "Urban100", "Manga109"]
    assert all(
        "dataroot_lq" not in data and data["dataroot_gt"] == f"datasets/benchmark/{data['name']}/HR"
        for data in datasets
    )


@pytest.mark.parametrize("file", FILES)
def test_the_network_is_full_size(file):
    network = read_options(file)["network_g"]
    network.pop("use_checkpoint", None)  # it adds no parameters
    assert count_parameters(json.dumps(network)) == PARAMETERS[what(file)[2]]


@functools.cache
def count_parameters(network: str) -> int:
    """Parameters of `network_g`, given as JSON: most files have the same."""
    with torch.device("meta"):
        net = build_network(json.loads(network))
    return sum(parameter.numel() for parameter in net.parameters())


def uncommented(file: str) -> dict:
    """The options with the commented lines of `path` uncommented."""
    text = (ROOT / "options" / f"{file}.yml").read_text()
    path = text.split("\npath:\n")[1].split("\n\n")[0]
    return yaml.safe_load(text.replace(path, re.sub(r"# (pretrain_network_g|strict_load_g):", r"\1:", path)))


# The network that each file's comments start from, its scale, and the tensors that do not fit and stay as initialised.
STARTS = {
    "train_RCAN_x3": ("RCAN_BI_x2", 2, {"upsample.0.weight", "upsample.0.bias"}),
    "train_RCAN_x4": ("RCAN_BI_x2", 2, {"upsample.2.weight", "upsample.2.bias"}),
    "train_RCAN_BD_x2": ("RCAN_BI_x2", 2, set()),
    "train_RCAN_BD_x3": ("RCAN_BI_x3", 3, set()),
    "train_RCAN_BD_x4": ("RCAN_BI_x4", 4, set()),
    "train_RCAN_DN_x3": ("RCAN_BI_x3", 3, set()),
}


@pytest.mark.parametrize("file", STARTS)
def test_the_lines_that_start_from_other_weights(file, tiny, pipeline):
    source, scale, fresh = STARTS[file]
    options = uncommented(file)
    assert options["path"] == {
        "pretrain_network_g": f"experiments/{source}/models/net_g_latest.pth",
        "strict_load_g": not fresh,
        "resume_state": None,
    }
    options = shrink(options, tiny)
    options["train"]["optim_g"]["lr"] = 1e-30
    start = build_network({**options["network_g"], "upscale": scale})
    weights = tiny / options["path"]["pretrain_network_g"]
    weights.parent.mkdir(parents=True)
    torch.save({"params": start.state_dict()}, weights)
    pipeline("train", options)
    trained = torch.load(tiny / f"experiments/{options['name']}/models/net_g_2.pth", weights_only=True)["params"]
    same = {key for key, tensor in start.state_dict().items() if torch.equal(trained[key], tensor)}
    assert set(trained) - same == fresh


def test_the_authors_file_loads_through_basicsr(tiny, pipeline):
    options = shrink(read_options("test_RCAN_x2"), tiny)
    source = build_network(options["network_g"])
    torch.save(official_layout(source, "module."), tiny / "RCAN_BIX2.pt")
    options["path"] |= {"pretrain_network_g": str(tiny / "RCAN_BIX2.pt"), "param_key_g": None}
    model, _ = pipeline("test", options)
    for key, tensor in source.state_dict().items():
        assert torch.equal(model.net_g.state_dict()[key], tensor), key
