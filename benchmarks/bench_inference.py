"""Compare `Upscaler` with BasicSR's RCAN as shipped, image to image; and RCAN in tiles with RCAN on the whole image.

    python benchmarks/bench_inference.py --sizes 48 96 --repeats 7     # full size, minutes on two CPU cores
    python benchmarks/bench_inference.py --weights FILE --lr FOLDER --hr FOLDER --tiles 64 128

The first measures seconds (medians of rows timed in turns, and of the ratios of each round) and the most memory that
tensors take at a time. The second needs weights of RCAN, LR images, and their HR images in the same order: PSNR on Y,
without `scale` border pixels.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch

import rcan_plugin
from benchmarks.common import in_turns, machine, medians, seconds, table

rcan_plugin.register()

from basicsr.archs.rcan_arch import RCAN  # noqa: E402
from basicsr.metrics import calculate_psnr  # noqa: E402
from basicsr.utils import img2tensor, tensor2img  # noqa: E402

from rcan_plugin.archs.rcan_arch import RCANArch  # noqa: E402
from rcan_plugin.inference import Upscaler  # noqa: E402
from rcan_plugin.inference.memory import peak_bytes  # noqa: E402
from rcan_plugin.inference.precision import choose_device, has_bf16_units  # noqa: E402

Run = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[48, 96], help="sides of LR images")
    parser.add_argument("--upscale", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--weights", type=Path, help="compare tiles, with these weights")
    parser.add_argument("--lr", type=Path, help="folder of LR images")
    parser.add_argument("--hr", type=Path, help="folder of HR images")
    parser.add_argument("--tiles", type=int, nargs="+", default=[64, 128])
    args = parser.parse_args()
    print(machine() + "\n")
    if args.weights:
        if not (args.lr and args.hr):
            parser.error("--weights needs --lr and --hr")
        compare_tiles(args.weights, args.lr, args.hr, args.tiles)
    else:
        compare_with_basicsr(args.sizes, args.upscale, args.repeats)


def compare_with_basicsr(sizes: list[int], upscale: int, repeats: int) -> None:
    """Print seconds and memory of both, for RCAN of the paper's size with random weights."""
    torch.manual_seed(0)
    device = choose_device(None)
    theirs = RCAN(3, 3, num_block=20, upscale=upscale).eval().to(device)
    ours = RCANArch(upscale=upscale)
    ours.load_state_dict(theirs.state_dict())

    @torch.no_grad()
    def as_shipped(image: np.ndarray) -> np.ndarray:
        lq = img2tensor(image.astype(np.float32) / 255, bgr2rgb=False)[None].to(device)
        return tensor2img(theirs(lq), rgb2bgr=False)

    base = "BasicSR's RCAN"
    runs: dict[str, Run] = {base: as_shipped, "Upscaler, fp32": Upscaler(ours, precision="fp32")}
    if has_bf16_units(device):
        runs["Upscaler, bf16"] = Upscaler(ours, precision="bf16")
    rows = []
    for side in sizes:
        image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        calls = {name: functools.partial(seconds, functools.partial(run, image)) for name, run in runs.items()}
        times = in_turns(calls, repeats, warm_up=True, progress=f"{side}x{side}")
        expected = as_shipped(image).astype(int)
        for name, run in runs.items():
            ratio = statistics.median(own / their for own, their in zip(times[name], times[base], strict=True))
            memory = peak_bytes(functools.partial(run, image), device) / 2**20
            levels = np.abs(run(image).astype(int) - expected).max()
            rows.append(
                [f"{side}x{side}", name, f"{medians(times)[name]:.3f}", f"{ratio:.2f}", f"{memory:.0f}", levels]
            )
    print(table(["LR", "", "s", "ratio", "MiB", "largest difference of 255"], rows))


def compare_tiles(weights: Path, lr: Path, hr: Path, tiles: list[int]) -> None:
    """Print how tiles change the results of RCAN."""
    images, targets = ([_read(path) for path in sorted(folder.iterdir())] for folder in (lr, hr))
    whole = Upscaler(weights, precision="fp32")
    expected = [whole(image) for image in images]
    psnr = [_psnr(sr, target, whole.scale) for sr, target in zip(expected, targets, strict=True)]
    rows = [["whole", f"{statistics.mean(psnr):.3f}", "", "", ""]]
    for tile in tiles:
        in_tiles = Upscaler(weights, precision="fp32", tile=tile)
        results = [in_tiles(image) for image in images]
        values = [_psnr(sr, target, whole.scale) for sr, target in zip(results, targets, strict=True)]
        apart = [np.abs(a.astype(int) - b) for a, b in zip(results, expected, strict=True)]
        worst = min(own - at_once for own, at_once in zip(values, psnr, strict=True))
        mean, largest = statistics.mean(float(one.mean()) for one in apart), max(int(one.max()) for one in apart)
        rows.append([str(tile), f"{statistics.mean(values):.3f}", f"{worst:+.3f}", f"{mean:.3f}", str(largest)])
    print(f"{weights.name}, {len(images)} images\n")
    header = ["tile", "PSNR, dB", "worst image, dB", "mean difference of 255", "largest difference of 255"]
    print(table(header, rows))


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, path
    return np.ascontiguousarray(image[..., ::-1])


def _psnr(sr: np.ndarray, hr: np.ndarray, scale: int) -> float:
    return float(calculate_psnr(sr[..., ::-1], hr[..., ::-1], crop_border=scale, test_y_channel=True))


if __name__ == "__main__":
    main()
