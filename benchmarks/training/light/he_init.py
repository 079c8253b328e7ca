"""Write first weights of SRVGGNetCompact by He's initialisation (ICCV 2015, equation 15).

    python benchmarks/training/light/he_init.py     # the files that runs.yml names as pretrain_network_g

With torch's default initialisation the signal shrinks in each of the 16 or 24 layers. Within the budget of iterations,
Adam then does not improve on the initial result, an image upsampled by nearest neighbour.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import yaml
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
import rcan_plugin
from benchmarks.common import ROOT


def main() -> None:
    """Write the files."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rcan_plugin.register()
    from basicsr.archs import build_network

    runs = yaml.safe_load((Path(__file__).parent / "runs.yml").read_text())["runs"]
    for run in runs.values():
        if "path:pretrain_network_g" not in run:
            continue
        torch.manual_seed(0)
        network = build_network(dict(run["network_g"]))
        *inner, last = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        for convolution in inner:
            nn.init.kaiming_normal_(convolution.weight, a=0.25)  # the slope that PReLU begins with
            nn.init.zeros_(convolution.get_parameter("bias"))
        nn.init.normal_(last.weight, std=1e-3)  # the image is that of nearest neighbour at first
        nn.init.zeros_(last.get_parameter("bias"))
        file = ROOT / run["path:pretrain_network_g"]
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"params": network.state_dict()}, file)


if __name__ == "__main__":
    main()
