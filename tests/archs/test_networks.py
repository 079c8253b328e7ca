"""The list of networks, and that each has its tests."""

from pathlib import Path

import pytest

from rcan_plugin.archs import NETWORKS, LumaOnly
from rcan_plugin.archs.rcan_arch import RCANArch
from tests.archs.small import SMALL

ARCHS = [network for network in NETWORKS if network is not LumaOnly]
FOLDER = Path(__file__).parents[2] / "rcan_plugin/archs"


def test_networks_are_found_by_the_names_of_their_files():
    assert RCANArch in ARCHS
    assert len(ARCHS) == len(list(FOLDER.glob("*_arch.py"))) == len(set(NETWORKS)) - 1
    for network in ARCHS:
        module = network.__name__.removesuffix("Arch").lower() + "_arch"
        assert network.__module__ == f"rcan_plugin.archs.{module}"


@pytest.mark.parametrize("network", ARCHS)
def test_every_network_has_a_test_file_and_small_arguments(network):
    file = Path(__file__).with_name(f"test_{network.__module__.rpartition('.')[2]}.py")
    assert "(NetworkTests)" in file.read_text() or ", NetworkTests)" in file.read_text()
    assert network.__name__ in SMALL
