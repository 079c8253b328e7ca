"""Small networks by name, those of this project and of BasicSR, and what they are built with."""

import torch
from torch import nn

from rcan_plugin.weights import networks
from tests.archs.small import SMALL

VDSR = SMALL["VDSRArch"]
ARGUMENTS = {**SMALL, "LumaOnly": {"network": {"type": "VDSRArch", **VDSR, "upscale": 2}}}
THEIRS = {
    "EDSR": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "upscale": 2},
    "MSRResNet": {"num_feat": 8, "num_block": 1, "upscale": 3},
    "SRVGGNetCompact": {"num_feat": 8, "num_conv": 2, "upscale": 4},
    "SwinIR": {
        "img_size": 8, "window_size": 8, "depths": [1], "embed_dim": 8, "num_heads": [2], "mlp_ratio": 2,
        "upsampler": "pixelshuffledirect", "upscale": 2,
    },
    "RRDBNet": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "num_grow_ch": 4, "scale": 2},
}  # fmt: skip


def built(name: str, seed: int = 0) -> nn.Module:
    """The small network of this name."""
    torch.manual_seed(seed)
    return networks.build({"type": name, **{**ARGUMENTS, **THEIRS}[name]}).eval()
