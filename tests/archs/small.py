"""Constructor arguments that make each network small, by class name; for the tests of networks and of option files."""

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "RCANArch": {"num_feat": 8, "num_group": 2, "num_block": 2, "squeeze_factor": 4},
    "SRCNNArch": {"num_feats": [6, 4]},
    "FSRCNNArch": {"num_feat": 7, "num_shrunk": 3, "num_map": 2},
    "ESPCNArch": {"num_feats": [6, 4]},
    "VDSRArch": {"num_feat": 6, "num_layers": 4},
    "DRCNArch": {"num_feat": 6, "num_recursion": 3},
    "LapSRNArch": {"num_feat": 6, "depth": 2},
    "DRRNArch": {"num_feat": 6, "num_unit": 3},
    "MemNetArch": {"num_feat": 4, "num_block": 3, "num_recursion": 2},
    "MDSRArch": {"num_feat": 4, "num_block": 2},
}
