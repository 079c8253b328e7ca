"""Options of the networks that `gpu.py` and `bench_train.py` measure. Imports nothing heavy."""

from __future__ import annotations

import copy
from typing import Any

RGB = {"num_in_ch": 3, "num_out_ch": 3}
RCAN = {**RGB, "num_feat": 64, "num_group": 10, "num_block": 20, "squeeze_factor": 16}
NETWORKS: dict[str, dict[str, Any]] = {
    "EDSR": {"type": "EDSR", **RGB, "num_feat": 64, "num_block": 16},
    "SwinIR": {
        "type": "SwinIR", "img_size": 48, "window_size": 8, "embed_dim": 60, "depths": [6] * 4, "num_heads": [6] * 4,
        "mlp_ratio": 2, "upsampler": "pixelshuffledirect", "resi_connection": "1conv",
    },
}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "RCAN": {"num_feat": 16, "num_group": 1, "num_block": 1, "squeeze_factor": 8},
    "EDSR": {"num_feat": 8, "num_block": 1},
    "SwinIR": {"img_size": 8, "window_size": 4, "embed_dim": 12, "depths": [1], "num_heads": [2]},
}
"""What makes the networks tiny, for dry runs."""

OURS: dict[str, Any] = {"amp": "bf16", "channels_last": True, "guard": {"factor": 100, "stop_after": 100}}
"""`train` section of our rows, as in the `_fast` option files."""


def network(name: str, scale: int, dry_run: bool, **more: Any) -> dict[str, Any]:
    """Options of a network: `RCAN` (BasicSR's), `RCANArch`, `EDSR` or `SwinIR`."""
    options = {"type": name, **RCAN} if name in ("RCAN", "RCANArch") else copy.deepcopy(NETWORKS[name])
    if dry_run:
        options |= SMALL["RCAN" if name == "RCANArch" else name]
    return {**options, "upscale": scale, **more}
