"""`rcan convert-weights`: what it prints, writes and refuses."""

import pytest
import torch
import yaml

from rcan_plugin import cli, weights
from rcan_plugin.weights import networks
from tests.archs.rcan import official_layout, small_rcan
from tests.comparison import same
from tests.weights.built import THEIRS, built
from tests.weights.saved import save


@pytest.fixture
def convert(capsys, tmp_path, monkeypatch):
    """Run the command in the test's folder; returns what it prints, or with a `code` of 2 the error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, code: int = 0) -> str:
        assert cli.main(["convert-weights", *arguments]) == code
        out, err = capsys.readouterr()
        assert "Traceback" not in err and (code or not err)
        return err if code else out

    return call


@pytest.mark.parametrize("target", ["net.safetensors", "net.pth"])
def test_the_authors_file_is_read_named_and_written(target, convert, tmp_path):
    net = small_rcan(upscale=2)
    save(tmp_path / "authors.pt", official_layout(net))
    lines = convert("authors.pt", target).splitlines()
    assert lines[0] == "authors.pt: RCANArch, x2, 9,371 numbers, flat, with the key names of RCAN's authors"
    assert lines[1].startswith("  network_g: {type: RCANArch, num_in_ch: 3, num_out_ch: 3, num_feat: 8, num_group: 2, ")
    assert all(line.startswith("  note: ") for line in lines[2:-1]) and any("img_range: 255" in line for line in lines)
    assert lines[-1] == f"{target}: written, layout {'safetensors' if 'safe' in target else 'basicsr'}"
    assert same(weights.load(tmp_path / target).state_dict(), net.state_dict())


def test_what_spandrel_cannot_see_is_refused_with_the_reason(convert, tmp_path):
    save(tmp_path / "net.pth", {"params": small_rcan().state_dict()})
    refused = convert("net.pth", "out.pth", "--arguments", "res_scale=0.1", "--layout", "spandrel", code=2)
    assert refused.startswith("spandrel would give another image, or none: res_scale: 0.1")
    assert not (tmp_path / "out.pth").exists()
    assert "written, layout spandrel" in convert("net.pth", "out.pth", "--layout", "spandrel")


def test_the_copy_of_an_option_file_names_the_network(convert, tmp_path):
    """As BasicSR leaves it in the folder of an experiment, with three lines at its head."""
    net, option = built("EDSR"), {"name": "x", "network_g": {"type": "EDSR", **THEIRS["EDSR"]}}
    head = "# GENERATE TIME: Fri Nov 27 08:00:00 2026\n# CMD:\n# train.py -opt x.yml\n\n"
    (tmp_path / "x.yml").write_text(head + yaml.safe_dump(option))
    save(tmp_path / "net_g_5.pth", {"params": net.state_dict()})
    assert "its network is not known" in convert("net_g_5.pth", "out.safetensors", code=2)
    convert("net_g_5.pth", "out.safetensors", "--opt", "x.yml")
    assert same(weights.load(tmp_path / "out.safetensors").state_dict(), net.state_dict())
    assert "give one of them" in convert("net_g_5.pth", "o.pth", "--opt", "x.yml", "--network", "EDSR", code=2)
    refused = convert("net_g_5.pth", "o.pth", "--opt", "x.yml", "--arguments", "upscale=3", code=2)
    assert "net_g_5.pth: it does not fit EDSR: " in refused  # an argument by hand wins
    (tmp_path / "x.yml").write_text("name: x\n")
    assert "--opt x.yml: it has no network_g" in convert("net_g_5.pth", "o.pth", "--opt", "x.yml", code=2)


def test_a_network_by_hand_with_lists_and_flags(convert, tmp_path):
    arguments = {"num_feats": [6, 4], "bias": False}
    net = networks.build({"type": "SRCNNArch", **arguments})
    save(tmp_path / "net.pth", net.state_dict())
    written = ["num_feats=[6, 4]", "bias=false"]
    convert("net.pth", "out.safetensors", "--network", "SRCNNArch", "--arguments", *written)
    assert weights.read(tmp_path / "out.safetensors").arguments == arguments


@pytest.mark.parametrize("argument", ["num_feat", "=3", "num_feat=[1", "a b=1"])
def test_arguments_that_are_not_key_and_value_are_refused(argument, convert, tmp_path):
    save(tmp_path / "net.pth", {"params": small_rcan().state_dict()})
    assert "expected KEY=VALUE" in convert("net.pth", "out.pth", "--arguments", argument, code=2)


def test_weights_under_another_key_and_not_strict(convert, tmp_path):
    net, content = small_rcan(), {**small_rcan().state_dict(), "more": torch.ones(1)}
    save(tmp_path / "net.pth", {"a": content, "b": content})
    assert "give --param-key a (or b)" in convert("net.pth", "out.pth", code=2)
    assert "1 only in the file (more)" in convert("net.pth", "out.pth", "--param-key", "b", code=2)
    printed = convert("net.pth", "out.pth", "--param-key", "b", "--no-strict")
    assert ", under b\n" in printed and "note: 1 tensors of the file are not the network's" in printed
    assert same(weights.load(tmp_path / "out.pth").state_dict(), net.state_dict())


def test_the_output_is_checked_before_anything_is_read(convert, tmp_path):
    for target, message in {
        "out.onnx": "expected .pth, .pt or .safetensors",
        "none/out.pth": "OUT: none does not exist",
        "folder.pth": "folder.pth is a folder",
        "exists.pth": "exists.pth exists: choose another name, or give --overwrite",
    }.items():
        (tmp_path / "folder.pth").mkdir(exist_ok=True)
        (tmp_path / "exists.pth").write_text("mine")
        assert message in convert("missing.pth", target, code=2)
    assert (tmp_path / "exists.pth").read_text() == "mine"


def test_overwrite_replaces_even_the_input(convert, tmp_path):
    net = small_rcan()
    save(tmp_path / "net.pth", official_layout(net))
    convert("net.pth", "net.pth", "--overwrite")
    assert weights.read(tmp_path / "net.pth").layout == "under params"
    assert same(weights.load(tmp_path / "net.pth").state_dict(), net.state_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


def test_what_is_no_file_of_weights_is_named(convert, tmp_path):
    (tmp_path / "net.pth").write_text("hello")
    assert convert("net.pth", "out.pth", code=2).startswith("net.pth is not a file of weights")
    assert convert("gone.pth", "out.pth", code=2) == "gone.pth does not exist.\n"
