"""The network in a file of weights, for colour pictures and one scale."""

import pytest
import torch

from rcan_plugin import weights
from rcan_plugin.archs import LumaOnly
from rcan_plugin.archs.espcn_arch import ESPCNArch
from rcan_plugin.archs.mdsr_arch import MDSRArch
from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.archs.vdsr_arch import VDSRArch
from rcan_plugin.upscaling.network import load
from tests.archs.small import SMALL


@pytest.fixture
def saved(tmp_path):
    """Save the weights of a small network. Returns the path and the network."""

    def save(network: type, **arguments):
        arguments = {**SMALL[network.__name__], **arguments}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = network(**arguments).eval()
        weights.save(tmp_path / "w.safetensors", module, **arguments)
        return tmp_path / "w.safetensors", module

    return save


def same(first, second, *arguments) -> bool:
    lq = torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        return torch.equal(first(lq, *arguments), second(lq, *arguments))


def test_a_network_for_colours_is_as_it_was_saved(saved):
    path, network = saved(RCANArch, upscale=2)
    said = []
    assert same(load(path, None, said.append), network) and same(load(path, 2, said.append), network)
    with pytest.raises(ValueError, match=r"w\.safetensors: RCANArch has scale 2; --scale is 4\."):
        load(path, 4, said.append)


def test_a_network_of_one_channel_enlarges_the_luma(saved):
    path, network = saved(ESPCNArch, num_in_ch=1, upscale=3)
    said = []
    assert same(load(path, None, said.append), LumaOnly(network))
    assert said[-1].endswith(
        "ESPCNArch has one channel: it upscales the luma, bicubic interpolation upscales the chroma."
    )


def test_networks_of_any_scale_need_one(saved):
    path, network = saved(VDSRArch)
    with pytest.raises(
        ValueError, match=r"VDSRArch upscales by any whole number: choose one with --scale, such as 2\."
    ):
        load(path, None, print)
    larger = VDSRArch(**SMALL["VDSRArch"], upscale=3)
    larger.load_state_dict(network.state_dict())
    assert same(load(path, 3, print), LumaOnly(larger.eval()))


def test_networks_of_several_scales_need_one_of_them(saved):
    path, network = saved(MDSRArch, scales=[2, 3])
    with pytest.raises(ValueError, match="MDSRArch has the scales 2, 3: choose one with --scale"):
        load(path, None, print)
    with pytest.raises(ValueError, match="MDSRArch has scale 2, 3; --scale is 4"):
        load(path, 4, print)
    assert same(load(path, 3, print), network, 3)
