"""The schema for editors and the reference say what the check of option files accepts."""

import copy
import json

import pytest
import yaml

from rcan_plugin.options import export
from rcan_plugin.options.examine import is_for_training
from rcan_plugin.options.schema import check_keys
from tests.conftest import ROOT, read_options

FILES = sorted(file for file in (ROOT / "options").rglob("*.yml") if file.parent.name != "compare")


@pytest.fixture(scope="module")
def errors():
    """A function that returns the errors that JSON schema finds in options."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(json.dumps(export.json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    return lambda options: list(validator.iter_errors(options))


def test_the_schema_accepts_every_option_file(errors):
    for file in FILES:
        assert errors(yaml.safe_load(file.read_text())) == [], file


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("nam",), "x", ()),
        (("model_type",), "SRModle", ("model_type",)),
        (("num_gpu",), "all", ("num_gpu",)),
        (("datasets", "trian"), {}, ("datasets",)),
        (("datasets", "train", "gt_sze"), 96, ("datasets", "train")),
        (("datasets", "train", "use_hflip"), "false", ("datasets", "train", "use_hflip")),
        (("datasets", "val", "use_rot"), True, ("datasets", "val")),
        (("datasets", "train", "degradation", "type"), "BX", ("datasets", "train", "degradation", "type")),
        (("network_g", "chanels"), 1, ("network_g",)),
        (("network_g", "type"), "RCANArhc", ("network_g", "type")),
        (("path", "pretrained_network_g"), "x", ("path",)),
        (("train", "optim_g", "lr"), "1e-4", ("train", "optim_g", "lr")),
        (("train", "optim_g", "layer_rates"), {}, ("train", "optim_g")),
        (("train", "scheduler", "gama"), 0.5, ("train", "scheduler")),
        (("train", "pixel_opt", "type"), "L3Loss", ("train", "pixel_opt", "type")),
        (("train", "amp"), "bf16", ("train",)),
        (("val", "metrics", "psnr", "test_y_chanel"), True, ("val", "metrics", "psnr")),
        (("val", "metrics", "psnr", "crop_border"), "scale", ("val", "metrics", "psnr", "crop_border")),
        (("logger", "keep_last"), 3, ("logger",)),
    ],
)
def test_the_schema_refuses_where_the_check_does(path, value, where, errors):
    options = copy.deepcopy(read_options("train_RCAN_x4"))
    section = options
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    assert check_keys(options, is_train=True)
    assert {tuple(error.absolute_path) for error in errors(options)} == {where}


def test_the_schema_has_our_models_own_values(errors):
    options = read_options("train_RCAN_x4_fast")
    options["train"]["optim_g"]["layer_rates"] = {"bias": 0.1}
    options["val"]["metrics"]["psnr"]["crop_border"] = "scale"
    assert errors(options) == [] and check_keys(options, is_train=True) == []


def test_a_discriminator_is_needed_only_for_training(errors):
    training, testing = read_options("others/train_SRGAN_x4"), read_options("test_RCAN_x4")
    del training["network_d"]
    assert [error.message for error in errors(training)] == ["'network_d' is a required property"]
    assert errors(testing | {"model_type": "SRGANModel"}) == []


def test_required_keys_depend_on_training_or_testing(errors):
    for name, path in (
        ("train_RCAN_x4", ("train",)),
        ("train_RCAN_x4", ("val", "val_freq")),
        ("train_RCAN_x4", ("network_g",)),
        ("train_RCAN_x4", ("datasets", "train", "batch_size_per_gpu")),
        ("test_RCAN_x4", ("val",)),
        ("test_RCAN_x4", ("val", "suffix")),
    ):
        options = read_options(name)
        if path == ("val", "suffix"):
            options["val"]["save_img"] = True
        section = options
        for key in path[:-1]:
            section = section[key]
        section.pop(path[-1], None)
        assert errors(options) and check_keys(options, is_for_training(options)), path


def test_the_reference_has_every_section_in_order_with_keys_defaults_and_readers():
    lines = export.reference().splitlines()
    headings = [line for line in lines if line.startswith("## ")]
    assert headings == [
        f"## {name}" for name in ("Top level", "datasets", "network_g", "path", "train", "val", "logger", "dist_params")
    ]
    for line in (
        "| `name` | a name without `/` of at most 200 bytes | required | name of the run and of its folder in "
        "experiments/ or results/ | all |",
        "| `degradation: sigma` | a number above 0, at most 100 | `1.6` | of BD's Gaussian, in pixels | type BD |",
        "| `num_feat` | a whole number | `64` | channels of the features |",
        "| `keep_last` | a whole number of 1 or more |  | checkpoints to keep; all by default | AcceleratedSRModel |",
        "### RCANArch",
        "#### Adam",
        "#### WarmupCosineLR",
        "#### CharbonnierLoss",
        "#### calculate_psnr",
    ):
        assert lines.count(line) >= 1, line
    table = lines[lines.index("## Top level") : lines.index("## datasets")]
    beyond = [line.split("`")[1] for line in table if "| a value |" in line]
    assert "queue_size" in beyond and beyond == sorted(beyond)  # in the same order in each process
    assert all(line.startswith(("|", "#")) or "|" not in line for line in lines)


def test_descriptions_are_first_sentences():
    keys = export.keys_of("networks", export.registered("networks")["RCANArch"])
    assert keys["upscale"].text.startswith("scale, 3 or a power of two")
    assert keys["rgb_mean"].text.endswith("subtracted from the input and added to the output")
    assert keys["short_skip"].text == keys["long_skip"].text != ""
