"""Reads RCAN's arguments from the shapes of its weights (keys of BasicSR's `RCAN` and of `RCANArch`)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

BLOCK = r"body\.(\d+)\.residual_group\.(\d+)\.rcab\.0\.weight"


def arguments(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """The arguments of `RCANArch` that shapes tell; none if the weights are not RCAN's.

    `upscale` is that of the sub-pixel upsampler; it is left out for another one.
    """
    blocks = [match for key in weights if (match := re.fullmatch(BLOCK, key))]
    first, last = weights.get("conv_first.weight"), weights.get("conv_last.weight")
    if not blocks or first is None or last is None:
        return {}
    num_feat, num_in_ch = first.shape[:2]
    found = {
        "num_in_ch": num_in_ch,
        "num_out_ch": last.shape[0],
        "num_feat": num_feat,
        "num_group": 1 + max(int(match[1]) for match in blocks),
        "num_block": 1 + max(int(match[2]) for match in blocks),
    }
    squeezed = weights.get("body.0.residual_group.0.rcab.3.attention.1.weight")
    if squeezed is not None:
        found["squeeze_factor"] = num_feat // squeezed.shape[0]
    steps = [value.shape[0] / num_feat for key, value in weights.items() if re.fullmatch(r"upsample\.\d+\.weight", key)]
    if steps and all(step in (4, 9) for step in steps):
        found["upscale"] = math.isqrt(int(math.prod(steps)))
    return found
