"""PSNR of trained RCANs with local pooling: the attention's mean over a window around each pixel, not the whole image.

Chu et al., "Improving Image Restoration by Revisiting Global Information Aggregation", ECCV 2022: a network is trained
on patches and tested on whole images, whose means are distributed differently.

    python benchmarks/training/local_pooling.py experiments/light_g3b4f32/models/net_g_latest.pth --windows 18 27 48
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import rcan_plugin
from rcan_plugin import weights
from rcan_plugin.archs.rcan_arch import ChannelAttention
from rcan_plugin.cli import _exit_codes


class LocalMean(nn.Module):
    """Mean over a window of `size` pixels, or of the image where it is smaller; windows are kept inside the image.

    Input and output: N x C x H x W.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        rows, columns = min(self.size, height), min(self.size, width)
        means = F.avg_pool2d(F.avg_pool2d(x, (rows, 1), 1), (1, columns), 1)
        top, left = (rows - 1) // 2, (columns - 1) // 2
        padding = (left, columns - 1 - left, top, rows - 1 - top)
        return F.pad(means, padding, mode="replicate")


def main() -> int:
    """Read the arguments, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="WEIGHTS", help="of RCANs")
    parser.add_argument("--windows", nargs="+", type=int, default=[18, 27, 48, 96], metavar="N", help="LR pixels")
    args = parser.parse_args()
    if min(args.windows) < 1:
        parser.error(f"--windows: {min(args.windows)} is too small; expected 1 LR pixel or more")
    return _exit_codes.run(lambda: print_table(args.files, args.windows))


def print_table(files: Sequence[str], windows: Sequence[int]) -> int:
    """Print PSNR on Y without `scale` border pixels, with windows as the difference from that of the whole image."""
    print(f"| network | set | whole image | {' | '.join(map(str, windows))} |")
    print("| --- " * (3 + len(windows)) + "|")
    for file in files:
        given = weights.read(file)
        for name in ("Set5", "Set14"):
            images = _images(name, given.scale)
            values = [_psnr(given.build(), images, given.scale)]
            for window in windows:
                network = given.build()
                for module in network.modules():
                    if isinstance(module, ChannelAttention):
                        module.attention[0] = LocalMean(window)
                values.append(_psnr(network, images, given.scale))
            cells = [f"{values[0]:.3f}", *(f"{value - values[0]:+.3f}" for value in values[1:])]
            print(f"| {Path(file).parents[1].name} | {name} | {' | '.join(cells)} |", flush=True)
    return 0


def _images(name: str, scale: int) -> list[dict[str, Tensor]]:
    rcan_plugin.register()
    from basicsr.data import build_dataset

    folder = f"datasets/benchmark/{name}/HR"
    options = {"name": name, "type": "DegradationPairedDataset", "dataroot_gt": folder, "phase": "val", "scale": scale}
    images = build_dataset({**options, "degradation": {"type": "BI"}})
    return [images[index] for index in range(len(images))]


@torch.no_grad()
def _psnr(network: nn.Module, images: list[dict[str, Tensor]], scale: int) -> float:
    from basicsr.metrics import calculate_psnr
    from basicsr.utils import tensor2img

    network = network.eval().to(memory_format=torch.channels_last)
    results = [tensor2img(network(image["lq"][None])) for image in images]
    references = [tensor2img(image["gt"][None]) for image in images]
    pairs = zip(results, references, strict=True)
    return statistics.mean(calculate_psnr(*pair, crop_border=scale, test_y_channel=True) for pair in pairs)


if __name__ == "__main__":
    sys.exit(main())
