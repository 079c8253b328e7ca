"""Options printed with their defaults are an option file that means the same."""

import ast
import sys
from pathlib import Path

import pytest
import yaml

from rcan_plugin.options import contradictions, keys
from rcan_plugin.options.check import checked
from rcan_plugin.options.contradictions import check_contradictions
from rcan_plugin.options.defaults import as_option_file
from rcan_plugin.options.examine import is_for_training
from rcan_plugin.options.schema import check_keys
from tests.conftest import INSTALLED, ROOT, read_options

FILES = sorted(file for file in (ROOT / "options").rglob("*.yml") if file.parent.name != "compare")


def one_of_each_kind():
    """An option file of each program, model, network and degradation; the files of other scales are equal to it."""
    kinds = {}
    for file in FILES:
        options = yaml.safe_load(file.read_text())
        degradations = str([data.get("degradation") for data in options["datasets"].values()])
        key = is_for_training(options), options["model_type"], options["network_g"]["type"], degradations
        kinds.setdefault(key, (file, options))
    return kinds.values()


def contains(whole, part):
    """Whether a mapping has all keys and values of another."""
    return all(
        contains(whole[key], value) if isinstance(value, dict) else whole[key] == value for key, value in part.items()
    )


def unmarked(text):
    """The options of a printed file without the lines of defaults."""
    return yaml.safe_load("".join(line for line in text.splitlines(True) if not line.endswith("  # default\n")))


def test_every_option_file_printed_is_understood_and_means_the_same(monkeypatch):
    monkeypatch.setattr(contradictions, "check_network", lambda *arguments: [])  # seconds for each file
    for file, options in one_of_each_kind():
        is_train = is_for_training(options)
        text = as_option_file(options, is_train)
        printed = yaml.safe_load(text)
        assert check_keys(printed, is_train) == [], file
        assert check_contradictions(printed, is_train, set()) == [], file
        assert contains(printed, options) and unmarked(text) == options, file
        assert yaml.safe_load(as_option_file(printed, is_train)) == printed, file


def test_defaults_are_those_of_the_classes_and_sections():
    options = read_options("train_RCAN_DN_x3")
    printed = yaml.safe_load(as_option_file(options, is_train=True))
    assert printed["network_g"]["res_scale"] == 1.0 and "res_scale" not in options["network_g"]
    assert printed["train"]["scheduler"]["restarts"] == [0]
    assert printed["train"]["ema_decay"] == 0 and printed["find_unused_parameters"] is False
    assert printed["path"]["param_key_g"] == "params" and printed["val"]["pbar"] is False
    assert printed["num_gpu"] == "auto" and printed["val"]["metrics"]["psnr"]["better"] == "higher"
    degradation = printed["datasets"]["train"]["degradation"]
    assert degradation["type"] == "DN" and degradation["seed"] == 0 and "sigma" not in degradation
    assert "guard" not in printed["train"] and "use_rot" not in printed["datasets"]["val"]
    assert "amp" not in printed["train"]  # SRModel does not read it


def test_nested_networks_and_keys_of_our_model():
    options = read_options("train_RCAN_x4_fast")
    options["network_g"] = {"type": "LumaOnly", "network": {"type": "VDSRArch"}}
    printed = yaml.safe_load(as_option_file(options, is_train=True))
    assert printed["network_g"]["network"]["num_feat"] == 64
    assert printed["train"]["grad_accum"] == 1 and printed["val"]["amp"] is None


@pytest.mark.parametrize(("name", "debug"), [("run", True), ("debug_run", False)])
def test_debug_changes_what_basicsr_changes(name, debug):
    options = {**read_options("quickstart_RCAN_x2"), "name": name}
    printed = yaml.safe_load(as_option_file(options, True, debug))
    assert printed["name"] == "debug_run" and printed["val"]["val_freq"] == 8
    assert printed["logger"]["print_freq"] == 1 and printed["logger"]["save_checkpoint_freq"] == 8
    assert options["val"]["val_freq"] != 8


@pytest.mark.parametrize("only_ours", [True, False])
def test_print_options_prints_and_ends_before_basicsr_is_asked(only_ours, tmp_path, monkeypatch, capsys):
    def parse_options(root_path, is_train=True):
        raise AssertionError("BasicSR's parse_options was called")

    monkeypatch.chdir(tmp_path)
    file = ROOT / "options/others/train_ESPCN_x2.yml"
    monkeypatch.setattr(sys, "argv", ["train", "--print-options", "-opt", str(file), "--force_yml", "name=other"])
    with pytest.raises(SystemExit) as ended:
        checked(parse_options, only_ours)(str(tmp_path))
    assert not ended.value.code and list(tmp_path.iterdir()) == []
    assert unmarked(capsys.readouterr().out) == {**yaml.safe_load(file.read_text()), "name": "other"}


def test_defaults_in_the_tables_are_basicsrs():
    """Of each `options.get("key", default)` in BasicSR's data, models and trainer."""
    named = {}
    for table in (
        keys.TOP,
        keys.DATASET,
        keys.TRAINING_DATA,
        keys.LOADER,
        keys.PATH,
        keys.TRAIN,
        keys.VAL,
        keys.METRIC,
    ):
        named |= {name: key.default for name, key in table.items() if key.default not in (None, keys.REQUIRED)}
    found = {}
    for path in [*(INSTALLED / "models").glob("*.py"), INSTALLED / "data/__init__.py", INSTALLED / "train.py"]:
        for node in ast.walk(ast.parse(Path(path).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                match node.args:
                    case [ast.Constant(value=str(name)), default] if name in named:
                        found.setdefault(name, set()).add(ast.literal_eval(default))
    assert {"ema_decay", "warmup_iter", "pbar", "pin_memory", "param_key_g", "net_d_iters", "better"} <= found.keys()
    assert found == {name: {named[name]} for name in found}
