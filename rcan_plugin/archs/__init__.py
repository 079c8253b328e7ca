"""Networks: one file each, pure torch modules, usable without BasicSR."""

from .drcn_arch import DRCNArch
from .drrn_arch import DRRNArch
from .espcn_arch import ESPCNArch
from .fsrcnn_arch import FSRCNNArch
from .lapsrn_arch import LapSRNArch
from .luma_only import LumaOnly
from .mdsr_arch import MDSRArch
from .memnet_arch import MemNetArch
from .rcan_arch import RCANArch
from .srcnn_arch import SRCNNArch
from .vdsr_arch import VDSRArch

NETWORKS = (
    RCANArch, SRCNNArch, FSRCNNArch, ESPCNArch, VDSRArch, DRCNArch, LapSRNArch, DRRNArch, MemNetArch, MDSRArch, LumaOnly
)  # fmt: skip
"""What an option file may name as `network_g: type`."""
