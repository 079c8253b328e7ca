"""Compare our degradations with BasicSR's `imresize`, on one thread, and count the values that differ from MATLAB's.

    python benchmarks/bench_degradations.py [REFERENCE]

REFERENCE is a folder of published pairs, set5/HR/x2, set5/LRBI_replicate/x2 and so on; without it nothing is counted.
BasicSR's function takes and returns floats. Its time is only that of the call, without the conversion from 8 bits to
floats and back; the times of this plugin include conversions.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when NumPy is imported
    os.environ[_variable] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.common import machine, median_seconds, run, table  # noqa: E402
from rcan_plugin import autoload  # noqa: E402
from rcan_plugin.degradations import KINDS, Degradation, imresize, noise_rng  # noqa: E402
from rcan_plugin.resampling.separable import Image  # noqa: E402

autoload.supply_functional_tensor()  # BasicSR needs it to import where the plugin is not installed
from basicsr.utils.matlab_functions import imresize as basicsr_imresize  # noqa: E402

HEIGHT, WIDTH = 1356, 2040  # an image of DIV2K
HUGE = 16384
MEMORY_SCRIPT = Path(__file__).with_name("degradation_memory.py")
POSITIONS = noise_rng(0, "places")
CROP = 48  # LR pixels of a training crop: 96, 144 and 192 in the HR image at x2, x3 and x4
SCALES = (2, 3, 4)


def photo_like(height: int, width: int) -> Image:
    """A random image of smooth shapes with sensor noise."""
    rng = np.random.default_rng(0)
    coarse = (rng.random((height // 12, width // 12, 3)) * 255).astype(np.uint8)
    shapes = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(shapes + rng.integers(-8, 9, shapes.shape), 0, 255).astype(np.uint8)


def print_times(repeats: int) -> None:
    """Print the times of whole images and of training crops."""
    hr = photo_like(HEIGHT, WIDTH)
    floats = hr.astype(np.float32) / 255
    print(f"{WIDTH}x{HEIGHT} RGB, 8 bits, one thread, medians of {repeats} in ms\n")
    rows = []
    for scale in SCALES:
        calls: dict[str, Callable[[], object]] = {"BasicSR": partial(basicsr_imresize, floats, 1 / scale)}
        for kind in KINDS:
            calls[kind] = partial(Degradation(kind).apply, hr, scale, rng=noise_rng(0, ""))
        ms = {name: value * 1e3 for name, value in median_seconds(calls, repeats).items()}
        cells = [f"{ms['BasicSR']:.1f}", f"{ms['BI']:.1f}", f"{ms['BasicSR'] / ms['BI']:.1f}"]
        rows.append([f"x{scale}", *cells, f"{ms['BD']:.1f}", f"{ms['BD'] / ms['BI']:.2f}", f"{ms['DN']:.1f}"])
    print(table(["scale", "BasicSR imresize", "BI", "BasicSR / BI", "BD", "BD / BI", "DN"], rows))
    print("\nA training crop from that image, at random positions, medians of 500 in ms\n")
    rows = []
    for scale in SCALES:
        times = median_seconds({kind: partial(degrade_random_crop, hr, kind, scale) for kind in KINDS}, 500)
        rows.append([f"x{scale}", f"{CROP * scale}x{CROP * scale}", *(f"{times[k] * 1e3:.2f}" for k in KINDS)])
    print(table(["scale", "HR crop", *KINDS], rows))


def degrade_random_crop(hr: Image, kind: str, scale: int) -> Image:
    """The LR crop at a random position of an HR image."""
    top, left = (int(POSITIONS.integers(side // scale - CROP)) for side in hr.shape[:2])
    return Degradation(kind).apply(hr, scale, rng=POSITIONS, region=(top, left, CROP, CROP))


def reference_pairs(folder: Path) -> Iterator[tuple[Image, Image]]:
    """HR and LR images of one reference folder."""
    for path in sorted(folder.iterdir()):
        name = path.name.replace("_LRBI_", "_HR_").replace("_LRBD_", "_HR_")
        pair = [cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in (folder.parents[1] / "HR" / folder.name / name, path)]
        if pair[0] is None or pair[1] is None:
            raise SystemExit(f"cannot read {path} or its HR image {name}")
        yield pair[0], pair[1]


def basicsr_8_bits(hr: Image, scale: int) -> Image:
    """BasicSR's `imresize`, rounded to 8 bits."""
    out = basicsr_imresize(hr.astype(np.float32) / 255, 1 / scale)
    return np.clip(np.rint(out * 255), 0, 255).astype(np.uint8).reshape(-(-hr.shape[0] // scale), -1, *hr.shape[2:])


def print_differences(reference: Path) -> None:
    """Print how many values differ from the published LR files."""
    rows = []
    for folder in sorted(reference.glob("*/LR*/x*")):
        scale, (kind, origin) = int(folder.name[1:]), folder.parent.name[2:].split("_")
        total = ours = theirs = largest = 0
        for hr, lr in reference_pairs(folder):
            if kind == "BI":
                degraded = imresize(hr, 1 / scale, border=origin)
                errors = np.abs(basicsr_8_bits(hr, scale).astype(int) - lr)
                theirs += int(np.count_nonzero(errors))
                largest = max(largest, int(errors.max()))
            else:
                degraded = Degradation(kind).apply(hr, scale)
            total += lr.size
            ours += int(np.count_nonzero(degraded != lr))
        peer = [f"{theirs} ({100 * theirs / total:.1f} %)", largest] if kind == "BI" else ["-", "-"]
        rows.append([folder.relative_to(reference), total, ours, *peer])
    print("\nValues that differ from the published files\n")
    print(table(["folder", "values", "ours", "BasicSR", "largest difference of BasicSR"], rows))


def print_memory(side: int) -> None:
    """Print the peak memory of degrading a huge image, each in a new process."""
    if not Path("/proc/self/status").exists():
        print("\nPeak memory is not measured: this system has no /proc.")
        return
    rows = []
    for kind in KINDS:
        commands = [[sys.executable, str(MEMORY_SCRIPT), kind, str(scale), str(side)] for scale in SCALES]
        rows.append([kind, *(f"{float(run(command)):.2f}" for command in commands)])
    print(f"\nPeak memory of a process, relative to the {side}x{side} RGB image that it holds and degrades\n")
    print(table(["", *(f"x{scale}" for scale in SCALES)], rows))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("reference", nargs="?", type=Path, help="folder with published pairs to compare with")
    parser.add_argument("--repeats", type=int, default=15, help="repeats of each timing (default 15)")
    parser.add_argument("--huge", type=int, default=HUGE, help=f"side of the image for peak memory (default {HUGE})")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(machine("numpy") + "\n")
    print_times(arguments.repeats)
    if arguments.reference:
        print_differences(arguments.reference)
    print_memory(arguments.huge)


if __name__ == "__main__":
    main()
