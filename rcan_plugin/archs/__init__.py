"""Networks: one file each, pure torch modules, usable without BasicSR."""

from rcan_plugin.archs.drcn_arch import DRCNArch
from rcan_plugin.archs.drrn_arch import DRRNArch
from rcan_plugin.archs.espcn_arch import ESPCNArch
from rcan_plugin.archs.fsrcnn_arch import FSRCNNArch
from rcan_plugin.archs.lapsrn_arch import LapSRNArch
from rcan_plugin.archs.luma_only import LumaOnly
from rcan_plugin.archs.mdsr_arch import MDSRArch
from rcan_plugin.archs.memnet_arch import MemNetArch
from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.archs.srcnn_arch import SRCNNArch
from rcan_plugin.archs.vdsr_arch import VDSRArch

NETWORKS = (
    RCANArch, SRCNNArch, FSRCNNArch, ESPCNArch, VDSRArch, DRCNArch, LapSRNArch, DRRNArch, MemNetArch, MDSRArch, LumaOnly
)  # fmt: skip
"""What an option file may name as `network_g: type`."""
