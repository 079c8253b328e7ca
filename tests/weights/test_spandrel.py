"""Weights written for spandrel, which chaiNNer and ComfyUI use: the same image there, or refused."""

import pytest
import spandrel
import torch

from rcan_plugin import weights
from rcan_plugin.weights import dialects
from tests.archs.rcan import small_rcan
from tests.archs.small import SMALL

NO_MEAN = [0.0, 0.0, 0.0]
SEEN = {
    "x2": {"upscale": 2},
    "x3": {"upscale": 3},
    "x8": {"upscale": 8},
    "x1": {"upscale": 1, "num_feat": 64},
    "range 1, no mean": {"img_range": 1, "rgb_mean": NO_MEAN},
    "range 255, no mean": {"rgb_mean": NO_MEAN},
    "another mean": {"rgb_mean": [0.5, 0.25, 0.75]},
    "gray": {"num_in_ch": 1, "num_out_ch": 1, "img_range": 1, "rgb_mean": [0.0]},
    "unshuffled": {"upscale": 2, "unshuffle": 2, "img_range": 1, "rgb_mean": NO_MEAN},
}
UNSEEN = {
    "activation": {"activation": "silu", "img_range": 1, "rgb_mean": NO_MEAN},  # with range 255 it is almost ReLU
    "activate_all": {"activate_all": True},
    "res_scale": {"res_scale": 0.5},
    "long_skip": {"long_skip": False},
    "short_skip": {"short_skip": False},
    "channel_attention": {"channel_attention": False},
    "transposed": {"upsampler": "transposed"},
    "nearest": {"upsampler": "nearest"},
    "num_in_ch 3 and num_out_ch 1": {"num_out_ch": 1},
    "img_range 1 with a mean": {"img_range": 1},
    "img_range 128": {"img_range": 128},
    "img_range 255 or a mean with 1 channels": {"num_in_ch": 1, "num_out_ch": 1},
    "num_feat 8 with upscale 1": {"upscale": 1},
    "upscale 1 times unshuffle 2": {"upscale": 1, "unshuffle": 2},
}


def opened(path) -> torch.nn.Module:
    """The network that spandrel makes of a file."""
    return spandrel.ModelLoader().load_from_file(path).model


@torch.no_grad()
def largest_difference(net, other) -> float:
    """Of two images out of the same one, whose values are about 1."""
    image = torch.rand(1, net.rgb_mean.shape[1], 13, 18, generator=torch.Generator().manual_seed(1))
    one, two = net(image), other(image.clone())  # spandrel's RCAN changes its input
    return float((one - two).abs().max()) if one.shape == two.shape else float("inf")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("case", SEEN)
def test_spandrel_gives_the_same_image(case, name, tmp_path):
    net = small_rcan(**SEEN[case]).eval()
    weights.save(tmp_path / name, net, layout="spandrel", **SMALL["RCANArch"] | SEEN[case])
    assert largest_difference(net, opened(tmp_path / name)) < 1e-5


@pytest.mark.parametrize("case", UNSEEN)
def test_what_spandrel_does_not_see_is_refused_and_would_be_wrong(case, tmp_path, monkeypatch):
    net, arguments = small_rcan(**UNSEEN[case]).eval(), SMALL["RCANArch"] | UNSEEN[case]
    with pytest.raises(ValueError, match="spandrel would give another image, or none: .*" + case):
        weights.save(tmp_path / "net.pth", net, layout="spandrel", **arguments)
    assert not list(tmp_path.iterdir())

    monkeypatch.setattr(dialects, "authors_reasons", lambda arguments: [])
    torch.save(dialects.to_authors(net.state_dict(), arguments), tmp_path / "forced.pth")
    try:
        other = opened(tmp_path / "forced.pth")
    except (RuntimeError, spandrel.UnsupportedModelError, KeyError):
        return
    assert largest_difference(net, other) > 1e-3


def test_basicsrs_layout_does_not_open_in_spandrel(tmp_path):
    weights.save(tmp_path / "net.pth", small_rcan(), **SMALL["RCANArch"])
    with pytest.raises(spandrel.UnsupportedModelError):
        opened(tmp_path / "net.pth")


def test_other_networks_are_refused_in_its_layout(tmp_path):
    other = weights.Weights({}, "VDSRArch", {})
    with pytest.raises(ValueError, match=r"VDSRArch"):
        weights.save(tmp_path / "net.pth", other, layout="spandrel")
