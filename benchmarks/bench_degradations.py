"""Time our degradations beside BasicSR's `imresize`, on one thread, and count what differs from MATLAB.

    python benchmarks/bench_degradations.py [REFERENCE]

REFERENCE is a folder of published pairs, set5/HR/x2, set5/LRBI_replicate/x2 and so on; without it nothing is counted.
BasicSR's function takes floats and returns floats: its time is that of the call alone, without the conversion of 8 bits
to floats and back that it needs and ours contains.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when NumPy is imported
    os.environ[_variable] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from rcan_plugin import autoload  # noqa: E402
from rcan_plugin.degradations import KINDS, Degradation, imresize, noise_rng  # noqa: E402
from rcan_plugin.resampling.separable import Image  # noqa: E402

autoload.supply_functional_tensor()  # where the plugin is not installed, BasicSR does not import without
from basicsr.utils.matlab_functions import imresize as basicsr_imresize  # noqa: E402

HEIGHT, WIDTH = 1356, 2040  # an image of DIV2K
HUGE = 16384
PLACES = noise_rng(0, "places")
CROP = {2: 48, 3: 48, 4: 48}  # LR pixels of a training crop: 96, 144 and 192 in the HR image

PEAK = """
import sys
import numpy as np
from rcan_plugin.degradations import degrade, noise_rng
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
kind, scale, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = noise_rng(0, "") if kind == "DN" else None
degrade(np.zeros((64, 64, 3), np.uint8), scale, kind, rng=rng)
before = peak()
hr = np.empty((size, size, 3), np.uint8)
for line in hr:
    line[:] = np.random.default_rng(0).integers(0, 256, line.shape, np.uint8)
degrade(hr, scale, kind, rng=rng)
print((peak() - before) / hr.nbytes)
"""


def photo_like(height: int, width: int) -> Image:
    """Soft shapes under sensor noise."""
    rng = np.random.default_rng(0)
    coarse = (rng.random((height // 12, width // 12, 3)) * 255).astype(np.uint8)
    shapes = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(shapes + rng.integers(-8, 9, shapes.shape), 0, 255).astype(np.uint8)


def medians(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Milliseconds of each call; they take turns, so that a noisy moment of the machine hits them all."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(times) for name, times in taken.items()}


def print_times(repeats: int) -> None:
    hr = photo_like(HEIGHT, WIDTH)
    floats = hr.astype(np.float32) / 255
    print(f"{WIDTH}x{HEIGHT} RGB, 8 bits, one thread, medians of {repeats} in ms\n")
    print("| scale | BasicSR imresize | BI | BasicSR / BI | BD | BD / BI | DN |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for scale in CROP:
        calls: dict[str, Callable[[], object]] = {"BasicSR": partial(basicsr_imresize, floats, 1 / scale)}
        for kind in KINDS:
            calls[kind] = partial(Degradation(kind).apply, hr, scale, rng=noise_rng(0, ""))
        ms = medians(calls, repeats)
        print(
            f"| x{scale} | {ms['BasicSR']:.1f} | {ms['BI']:.1f} | {ms['BasicSR'] / ms['BI']:.1f} "
            f"| {ms['BD']:.1f} | {ms['BD'] / ms['BI']:.2f} | {ms['DN']:.1f} |"
        )
    print("\nA training crop out of that image, at random places, medians of 500 in ms\n")
    print("| scale | HR crop | BI | BD | DN |")
    print("| --- | --- | --- | --- | --- |")
    for scale, size in CROP.items():
        ms = medians({kind: partial(crop_anywhere, hr, kind, scale, size) for kind in KINDS}, 500)
        print(f"| x{scale} | {size * scale}x{size * scale} | {ms['BI']:.2f} | {ms['BD']:.2f} | {ms['DN']:.2f} |")


def crop_anywhere(hr: Image, kind: str, scale: int, size: int) -> Image:
    top, left = (int(PLACES.integers(side // scale - size)) for side in hr.shape[:2])
    return Degradation(kind).apply(hr, scale, rng=PLACES, region=(top, left, size, size))


def reference_pairs(folder: Path) -> Iterator[tuple[Image, Image]]:
    for path in sorted(folder.iterdir()):
        name = path.name.replace("_LRBI_", "_HR_").replace("_LRBD_", "_HR_")
        pair = [cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in (folder.parents[1] / "HR" / folder.name / name, path)]
        if pair[0] is None or pair[1] is None:
            raise SystemExit(f"cannot read {path} or its HR image {name}")
        yield pair[0], pair[1]


def basicsr_8_bits(hr: Image, scale: int) -> Image:
    out = basicsr_imresize(hr.astype(np.float32) / 255, 1 / scale)
    return np.clip(np.rint(out * 255), 0, 255).astype(np.uint8).reshape(-(-hr.shape[0] // scale), -1, *hr.shape[2:])


def print_differences(reference: Path) -> None:
    print("\nValues that differ from the published files\n")
    print("| folder | values | ours | BasicSR | largest difference of BasicSR |")
    print("| --- | --- | --- | --- | --- |")
    for folder in sorted(reference.glob("*/LR*/x*")):
        scale, (kind, origin) = int(folder.name[1:]), folder.parent.name[2:].split("_")
        total = ours = theirs = largest = 0
        for hr, lr in reference_pairs(folder):
            if kind == "BI":
                mine = imresize(hr, 1 / scale, border=origin)
                theirs_off = np.abs(basicsr_8_bits(hr, scale).astype(int) - lr)
                theirs += int(np.count_nonzero(theirs_off))
                largest = max(largest, int(theirs_off.max()))
            else:
                mine = Degradation(kind).apply(hr, scale)
            total += lr.size
            ours += int(np.count_nonzero(mine != lr))
        peer = f"{theirs} ({100 * theirs / total:.1f} %) | {largest}" if kind == "BI" else "- | -"
        print(f"| {folder.relative_to(reference)} | {total} | {ours} | {peer} |")


def print_memory(size: int) -> None:
    if not Path("/proc/self/status").exists():
        print("\nThe peak memory of a process is read from /proc, which this system has not.")
        return
    print(f"\nPeak memory of a process over the {size}x{size} RGB image that it holds and degrades\n")
    print("| | x2 | x3 | x4 |\n| --- | --- | --- | --- |")
    for kind in KINDS:
        peaks = []
        for scale in (2, 3, 4):
            command = [sys.executable, "-c", PEAK, kind, str(scale), str(size)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            peaks.append(f"{float(done.stdout):.2f}")
        print(f"| {kind} | {' | '.join(peaks)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("reference", nargs="?", type=Path, help="folder with published pairs to compare with")
    parser.add_argument("--repeats", type=int, default=15, help="of each timing (default 15)")
    parser.add_argument("--huge", type=int, default=HUGE, help=f"side of the image for peak memory (default {HUGE})")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print_times(arguments.repeats)
    if arguments.reference:
        print_differences(arguments.reference)
    print_memory(arguments.huge)


if __name__ == "__main__":
    main()
