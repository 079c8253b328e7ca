"""Print the growth of peak memory from making and degrading an image, in bytes per byte of the image.

    python benchmarks/degradation_memory.py KIND SCALE SIDE

`bench_degradations.py` runs it in a new process per row. Linux only (/proc).
"""

from __future__ import annotations

import argparse

import numpy as np

from rcan_plugin.degradations import KINDS, degrade, noise_rng


def peak_bytes() -> int:
    """Peak resident memory of this process so far."""
    with open("/proc/self/status") as status:  # noqa: PTH123  # few imports: they count towards the peak
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def growth(kind: str, scale: int, side: int) -> float:
    """Bytes of peak memory per byte of a `side` x `side` RGB image, the image included."""
    rng = noise_rng(0, "") if kind == "DN" else None
    degrade(np.zeros((64, 64, 3), np.uint8), scale, kind, rng=rng)
    before = peak_bytes()
    hr = np.empty((side, side, 3), np.uint8)
    for row in hr:
        row[:] = np.random.default_rng(0).integers(0, 256, row.shape, np.uint8)
    degrade(hr, scale, kind, rng=rng)
    return (peak_bytes() - before) / hr.nbytes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", metavar="KIND", choices=KINDS, help="BI, BD or DN")
    parser.add_argument("scale", metavar="SCALE", type=int)
    parser.add_argument("side", metavar="SIDE", type=int, help="of the image in pixels")
    arguments = parser.parse_args()
    print(growth(arguments.kind, arguments.scale, arguments.side))
