"""`rcan export-onnx`: what it writes, prints and refuses."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from rcan_plugin import weights
from rcan_plugin.cli import export_onnx, main
from tests.archs.rcan import small_rcan
from tests.archs.small import SMALL
from tests.conftest import ROOT

ARGUMENTS = {**SMALL["RCANArch"], "upscale": 4}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with weights."""
    monkeypatch.chdir(tmp_path)
    weights.save("net_g_latest.pth", small_rcan(upscale=4), **ARGUMENTS)
    return tmp_path


def pixels(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_the_examples_of_the_page(folder, capsys):
    """`docs/onnx.md`: both examples run, and the second gives the network's picture."""
    writing, using = re.findall(r"```python\n(.*?)```", (ROOT / "docs/onnx.md").read_text(), re.S)
    exec(writing, {})
    assert float(capsys.readouterr().out) < 1e-5
    lr = pixels((7, 10, 3))
    Image.fromarray(lr).save("lr.png")
    exec(using, {})
    with torch.no_grad():
        expected = weights.load("net_g_latest.pth")(torch.from_numpy(lr.transpose(2, 0, 1)[None] / np.float32(255)))
    expected = (expected[0].permute(1, 2, 0).clamp(0, 1) * 255).round().numpy()
    found = np.asarray(Image.open("sr.png")).astype(np.float32)
    assert found.shape == (28, 40, 3) and expected.std() > 5
    assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 0.001


def test_what_is_printed(folder, capsys):
    assert main(["export-onnx", "net_g_latest.pth", "a.onnx", "--fp16", "--size", "9x12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("net_g_latest.pth: RCANArch, x4, ")
    assert re.fullmatch(
        r"a\.onnx: written, x4, input 9x12, 0\.\d MB; in float32 it differs from the network by at most \de-0[678]",
        lines[-2],
    )
    assert lines[-1].startswith("  note: fp16 differs from float32 by at most ")
    assert onnxruntime.InferenceSession("a.onnx").get_inputs()[0].shape == [1, 3, 9, 12]


def test_arguments_by_hand(folder, capsys):
    """Among them those of `rcan convert-weights`."""
    torch.save(small_rcan(upscale=4).state_dict(), "flat.pth")
    assert main(["export-onnx", "flat.pth", "a.onnx", "--arguments", "img_range=1"]) == 0
    assert "any height, width and batch" in capsys.readouterr().out
    found = onnxruntime.InferenceSession("a.onnx").get_modelmeta().custom_metadata_map
    assert '"img_range": 1' in found["arguments"] and found["source"] == "flat.pth"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["net_g_latest.pth", "a.pth"], "a.pth: expected a name that ends in .onnx."),
        (["net_g_latest.pth", "gone/a.onnx"], "OUT: gone does not exist"),
        (["net_g_latest.pth", "old.onnx"], "old.onnx exists: choose another name, or give --overwrite."),
        (["gone.pth", "a.onnx"], "gone.pth does not exist."),
        (["net_g_latest.pth", "a.onnx", "--scale", "2"], "scale is 2; RCANArch has 4."),
    ],
)
def test_what_is_refused(arguments, words, folder, capsys):
    Path("old.onnx").write_text("old")
    assert main(["export-onnx", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"net_g_latest.pth", "old.onnx"}
    assert Path("old.onnx").read_text() == "old"


def test_an_existing_file_is_replaced_when_told(folder):
    Path("old.onnx").write_text("old")
    assert main(["export-onnx", "net_g_latest.pth", "old.onnx", "--overwrite"]) == 0
    assert onnxruntime.InferenceSession("old.onnx").get_inputs()[0].shape == ["batch", 3, "height", "width"]


def test_a_missing_package_is_named_before_the_weights_are_read(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export-onnx", "gone.pth", "a.onnx"]) == 2
    assert capsys.readouterr().err == 'The package onnxruntime is not installed: pip install "rcan_plugin[onnx]".\n'


def test_overflow_in_fp16_ends_with_its_message(folder, capsys):
    network = small_rcan(upscale=4)
    with torch.no_grad():
        network.conv_first.weight.mul_(1e3)
    weights.save("big.pth", network, **ARGUMENTS)
    assert main(["export-onnx", "big.pth", "a.onnx", "--fp16"]) == 2
    assert "fp16 holds up to 65504: export it without fp16." in capsys.readouterr().err
    assert not Path("a.onnx").exists()


@pytest.mark.parametrize(("text", "size"), [("256x128", (256, 128)), ("1x1", (1, 1))])
def test_sizes(text, size):
    assert export_onnx.height_and_width(text) == size


@pytest.mark.parametrize("text", ["256", "256x", "0x5", "-1x4", "2.5x4", "256x256x3"])
def test_wrong_sizes(text, folder, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["export-onnx", "net_g_latest.pth", "a.onnx", f"--size={text}"])
    assert f"{text!r}; expected height and width such as 256x256" in capsys.readouterr().err


def test_the_script_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["export_onnx.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(ROOT / "scripts/export_onnx.py"), run_name="__main__")
    assert "export_onnx.py" in (out := capsys.readouterr().out) and "--fp16" in out
