"""ONNX files: the network's results at any size, what they say of themselves, and what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx as onnx_package
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rcan_plugin._version import __version__
from rcan_plugin.archs import NETWORKS
from rcan_plugin.weights import Weights, networks, onnx
from tests.archs.network_tests import image, stir
from tests.archs.small import SMALL

NAMES = [network.__name__ for network in NETWORKS]
RCAN = {**SMALL["RCANArch"], "num_group": 1, "num_block": 1}


def small(name: str, **arguments) -> Weights:
    """Weights under which every layer counts. VDSR, DRRN and MemNet at their scale of 1."""
    if name == "LumaOnly":
        arguments = {"network": {"type": "ESPCNArch", **SMALL["ESPCNArch"], "upscale": 2}}
    arguments = {**SMALL.get(name, {}), **arguments}
    network = stir(networks.build({"type": name, **arguments}))
    return Weights(network.state_dict(), name, arguments, path=Path("somewhere/net_g_latest.pth"))


def rcan(factor: float = 1, **arguments) -> Weights:
    """A small RCAN x2 whose output is about an image, its first features multiplied by a factor."""
    torch.manual_seed(0)
    arguments = {**RCAN, "upscale": 2, **arguments}
    state_dict = networks.build({"type": "RCANArch", **arguments}).state_dict()
    state_dict["conv_first.weight"] = state_dict["conv_first.weight"] * factor
    return Weights(state_dict, "RCANArch", arguments)


def run(path: Path, x: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["output"], {"input": x.numpy()})[0])


def shapes(path: Path) -> list[list[str | int]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [value.shape for value in (*session.get_inputs(), *session.get_outputs())]


class Given(Weights):
    """Weights of a network x1 that is no registered one."""

    network: nn.Module

    @classmethod
    def of(cls, forward) -> Weights:
        class Net(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return forward(x)

        weights = cls({}, "SRCNNArch", {"num_in_ch": 3, "upscale": 1})
        object.__setattr__(weights, "network", Net())
        return weights

    def build(self) -> nn.Module:
        return self.network


@pytest.mark.parametrize("name", NAMES)
def test_every_network_gives_its_results_at_other_sizes_and_batches(name, tmp_path):
    weights, path = small(name), tmp_path / "net.onnx"
    scale = 3 if name == "MDSRArch" else None
    exported = onnx.export(weights, path, scale=scale)
    scale = exported.scale
    channels = 3 if name in ("RCANArch", "MDSRArch", "LumaOnly") else 1
    size = [f"{scale}*height", f"{scale}*width"] if scale > 1 else ["height", "width"]
    assert shapes(path) == [["batch", channels, "height", "width"], ["batch", channels, *size]]
    x = image(3, channels, 9, 14)
    with torch.no_grad():
        expected = weights.build()(x, *([scale] if name == "MDSRArch" else []))
    assert expected.shape[2:] == (9 * scale, 14 * scale) and expected.std() > 0.02
    torch.testing.assert_close(run(path, x), expected, rtol=0, atol=5e-5)
    assert 0 < exported.difference < 1e-4 and exported.size is None and not exported.remarks
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize(
    "arguments",
    [{"unshuffle": 2}, {"upsampler": "nearest", "activation": "silu", "activate_all": True, "upscale": 3}],
    ids=str,
)
def test_variants_of_rcan(arguments, tmp_path):
    weights, x = rcan(**arguments), image(1, 3, 13, 11)
    onnx.export(weights, tmp_path / "net.onnx")
    with torch.no_grad():
        torch.testing.assert_close(run(tmp_path / "net.onnx", x), weights.build()(x), rtol=0, atol=5e-6)


def test_the_file_says_what_it_is(tmp_path):
    weights = small("MDSRArch")
    onnx.export(weights, tmp_path / "net.onnx", scale=2)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    found = session.get_modelmeta().custom_metadata_map
    assert json.loads(found.pop("arguments")) == weights.arguments
    assert found == {
        "network": "MDSRArch",
        "scale": "2",
        "range": "0 to 1",
        "precision": "fp32",
        "source": "net_g_latest.pth",
        "rcan_plugin": __version__,
    }


def test_a_fixed_size(tmp_path):
    weights, path, x = rcan(), tmp_path / "net.onnx", image(1, 3, 6, 11)
    assert onnx.export(weights, path, size=(6, 11)).size == (6, 11)
    assert shapes(path) == [[1, 3, 6, 11], [1, 3, 12, 22]]
    with torch.no_grad():
        torch.testing.assert_close(run(path, x), weights.build()(x), rtol=0, atol=5e-6)
    with pytest.raises(Exception, match="dimension"):
        run(path, image(1, 3, 6, 12))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("MDSRArch", {}, r"MDSRArch has the scales 2, 3, 4, an ONNX file has one: choose it \(--scale\)\.$"),
        ("MDSRArch", {"scale": 5}, r"scale is 5; MDSRArch has 2, 3, 4\.$"),
        ("ESPCNArch", {"scale": 2}, r"scale is 2; ESPCNArch has 3\.$"),
        ("ESPCNArch", {"size": (0, 5)}, r"size is \(0, 5\); expected height and width"),
        ("ESPCNArch", {"size": (5,)}, r"size is \(5,\); expected height and width"),
    ],
    ids=str,
)
def test_wrong_arguments(name, arguments, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        onnx.export(small(name), tmp_path / "net.onnx", **arguments)


SIZE = r": choose a fixed size \(--size HxW; in Python size=\(H, W\)\)\.$"


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda x: x * float(x.mean()), r"result for 1 x 3 x 16 x 16 differs from the network's by 0\.\d+, allowed is"),
        (lambda x: x.reshape(2, 3, 40, 24) if len(x) == 2 else x.clone(), r"ONNX Runtime does not compute an input of"),
        (
            lambda x: F.interpolate(x, [int(side) for side in x.shape[2:]]),
            r"output for 1 x 3 x 16 x 16 has another size",
        ),
        (lambda x: x.unflatten(3, (-1, 4)).flatten(3), r"itself does not take an image of 17 x 31 \("),
    ],
    ids=["constant value", "constant shape", "constant size", "multiples of 4"],
)
def test_a_network_whose_size_is_not_free_is_refused_and_an_earlier_file_stays(forward, words, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"earlier")
    with pytest.raises(ValueError, match=rf"net\.onnx is not written: .*{words}.*{SIZE}"):
        onnx.export(Given.of(forward), tmp_path / "net.onnx")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("net.onnx", b"earlier")]


def test_rounding_of_values_far_from_an_images_is_named_as_such(tmp_path):
    """No size is recommended: it would not help."""
    words = r"by .*, allowed is 0\.0001 \(values of the result reach [\de.+]+; images have 0 to 1\)\.$"
    with pytest.raises(ValueError, match=words):
        onnx.export(rcan(factor=1e5), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_with_a_fixed_size_it_is_exported(tmp_path):
    onnx.export(Given.of(lambda x: x.unflatten(3, (-1, 4)).flatten(3) * 2), tmp_path / "net.onnx", size=(5, 8))
    x = image(1, 3, 5, 8)
    assert torch.equal(run(tmp_path / "net.onnx", x), 2 * x)


def test_what_torch_cannot_export_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"net\.onnx is not written: torch cannot export SRCNNArch \(.+\)\.$"):
        onnx.export(Given.of(lambda x: torch.linalg.eigvals(x[..., :5, :5]).real.sum() + x), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", onnx.PACKAGES)
def test_a_missing_package_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeError, match=rf'^The package {name} is not installed: pip install "rcan_plugin\[onnx\]"'):
        onnx.export(rcan(), tmp_path / "net.onnx")


def test_weights_that_overflow_are_named_and_no_other_size_is_recommended(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"RCANArch gives values that are not finite for a test image: its weights are "
        r"damaged\.$",
    ):
        onnx.export(rcan(3e38), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


class TestHalf:
    """`fp16=True`."""

    def test_the_file_is_in_half_precision_with_ends_and_means_in_float32(self, tmp_path):
        weights, path, x = rcan(upscale=4), tmp_path / "net.onnx", image(2, 3, 11, 9)
        exported = onnx.export(weights, path, fp16=True)
        model = onnx_package.load(path)
        ends = [value.type.tensor_type.elem_type for value in (model.graph.input[0], model.graph.output[0])]
        assert ends == [onnx_package.TensorProto.FLOAT] * 2
        kinds = {value.data_type for value in model.graph.initializer if len(value.dims) == 4}
        assert kinds == {onnx_package.TensorProto.FLOAT16}
        pools = [node for node in model.graph.node if node.op_type == "GlobalAveragePool"]
        casts = {name for node in model.graph.node if node.op_type == "Cast" for name in node.output}
        assert len(pools) == 1 and pools[0].input[0] in casts
        with torch.no_grad():
            difference = (run(path, x) - weights.build()(x)).abs().max()
        assert 1e-6 < difference < 2e-3
        assert "precision" in {entry.key: entry.value for entry in model.metadata_props}
        assert {entry.key: entry.value for entry in model.metadata_props}["precision"] == "fp16"
        assert exported.difference < 1e-5 and "use a file without fp16" in exported.remarks[0]

    def test_a_network_that_returns_a_list_in_training(self, tmp_path):
        weights, x = small("LapSRNArch"), image(1, 1, 9, 8)
        onnx.export(weights, tmp_path / "net.onnx", fp16=True)
        with torch.no_grad():
            torch.testing.assert_close(run(tmp_path / "net.onnx", x), weights.build()(x), rtol=0, atol=0.01)

    def test_values_that_overflow_are_refused(self, tmp_path):
        """The network itself, and its file in float32, are fine with them."""
        weights = rcan(factor=1e3)
        with pytest.raises(
            ValueError, match=r"values inside the network reach \d\.\d+e\+05 .* up to 65504: export it w"
        ):
            onnx.export(weights, tmp_path / "net.onnx", fp16=True)
        assert not list(tmp_path.iterdir())

    def test_a_result_that_is_too_inexact_is_refused(self, tmp_path):
        weights = Given.of(lambda x: (x + 30000) - 30000 + 0 * x)
        with pytest.raises(
            ValueError, match=r"in fp16 the result for a test image differs by \d.*allowed is 0\.0078: e"
        ):
            onnx.export(weights, tmp_path / "net.onnx", fp16=True)
        assert not list(tmp_path.iterdir())


def test_numpy_is_what_the_runtime_takes(tmp_path):
    """A gray network, an image of one pixel."""
    onnx.export(small("ESPCNArch"), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"input": np.full((1, 1, 1, 1), 0.5, np.float32)})
    assert out.shape == (1, 1, 3, 3) and out.dtype == np.float32
