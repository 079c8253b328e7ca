"""Curves and a table of short training runs, from the logs that BasicSR wrote.

    pip install -e .[plots]
    python -m rcan_plugin.train -opt benchmarks/training/FSRCNN_x3.yml   # each of the runs
    python benchmarks/training/draw.py experiments/*_short

Writes curves.png beside this script, and prints the table.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

BICUBIC = {2: 33.66, 3: 30.39, 4: 28.42}  # Set5, EDSR paper, table 2
# Set5, trained on 91 images: FSRCNN by its paper, table 3; ESPCN by its readers. (Of SRCNN only 9-1-5 has one.)
PUBLISHED = {"FSRCNN_x3": 33.06, "ESPCN_x3": 32.55}
_ITERATION = re.compile(r"\[epoch:\s*\d+, iter:\s*([\d,]+)")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ INFO")


@dataclass
class Curve:
    """PSNR of a validated set along a run."""

    minutes: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)


def read(folder: Path) -> dict[str, Curve]:
    """The curves of a run by the names of its sets."""
    curves: dict[str, Curve] = {}
    start, now, iteration, name = None, None, 0, ""
    for line in sorted(folder.glob("train_*.log"))[-1].read_text().splitlines():
        if found := _TIME.search(line):
            now = datetime.fromisoformat(found[1])
        if "Start training" in line:
            start = now
        if found := _ITERATION.search(line):
            iteration = int(found[1].replace(",", ""))
        if found := re.search(r"Validation (\S+)", line):
            name = found[1]
        if (found := re.search(r"# psnr: ([\d.]+)", line)) and start and now:
            curve = curves.setdefault(name, Curve())
            if iteration in curve.iterations:
                continue  # BasicSR validates once more at the end
            curve.minutes.append((now - start).total_seconds() / 60)
            curve.iterations.append(iteration)
            curve.psnr.append(float(found[1]))
    return curves


def main() -> int:
    """Draw and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path, help="experiments/NAME of a run")
    runs = {folder.name.removesuffix("_short"): read(folder) for folder in parser.parse_args().folders}
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        sys.exit("matplotlib is not installed: pip install -e .[plots]")
    plt.switch_backend("Agg")
    panels = [(run, set_name, curve) for run, curves in runs.items() for set_name, curve in curves.items()]
    columns = 3
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4.2 * columns, 3.1 * lines), squeeze=False, layout="tight")
    print("| run | scale | iterations | minutes | bicubic | PSNR | gain | published |\n" + "| --- " * 8 + "|")
    for axis, (run, set_name, curve) in zip(axes.flat, panels, strict=False):
        scale = int((re.search(r"x(\d)$", set_name) or re.search(r"x(\d)$", run) or [0, 0])[1])
        published = PUBLISHED.get(run)
        axis.plot(curve.minutes, curve.psnr, marker=".", color="tab:blue")
        axis.axhline(BICUBIC[scale], color="gray", linestyle=":", label=f"bicubic {BICUBIC[scale]}")
        if published:
            axis.axhline(published, color="tab:orange", linestyle="--", label=f"published {published}")
        axis.set(title=f"{run.split('_')[0]} x{scale}, Set5", xlabel="minutes", ylabel="PSNR on Y, dB")
        axis.legend(loc="lower right")
        axis.grid(alpha=0.3)
        last = curve.psnr[-1]
        print(
            f"| {run} | x{scale} | {curve.iterations[-1]:,} | {curve.minutes[-1]:.0f} | {BICUBIC[scale]} | {last:.2f} "
            f"| {last - BICUBIC[scale]:+.2f} | {published or '-'} |"
        )
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    figure.savefig(Path(__file__).parent / "curves.png", dpi=90)
    return 0


if __name__ == "__main__":
    sys.exit(main())
