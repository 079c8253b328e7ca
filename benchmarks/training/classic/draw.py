"""Curves and a table of short training runs, from the logs that BasicSR wrote.

    pip install -e .[plots]
    python -m rcan_plugin.train -opt benchmarks/training/classic/FSRCNN_x3.yml   # each of the runs
    python benchmarks/training/classic/draw.py experiments/*_short

Prints the table, and draws curves.png beside this script, as `rcan plot-training` does.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from rcan_plugin.cli import _exit_codes

BICUBIC = {2: 33.66, 3: 30.39, 4: 28.42}  # Set5, EDSR paper, table 2
# Set5, trained on 91 images: FSRCNN by its paper, table 3; ESPCN by its readers. (Of SRCNN only 9-1-5 has one.)
PUBLISHED = {"FSRCNN_x3": 33.06, "ESPCN_x3": 32.55}


def main() -> int:
    """Draw and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path, help="experiments/NAME of a run")
    args = parser.parse_args()
    return _exit_codes.run(lambda: report(args.folders))


def report(folders: list[Path]) -> int:
    """Print the table and draw the curves."""
    from rcan_plugin.compare import curves, runs

    found = [runs.read(folder) for folder in folders]
    print("| run | scale | iterations | minutes | bicubic | PSNR | gain | published |\n" + "| --- " * 8 + "|")
    for run in found:
        run.name = run.name.removesuffix("_short")
        for (kind, set_name), series in run.series.items():
            if kind == runs.PSNR:
                scale = int((re.search(r"x(\d)$", set_name) or re.search(r"x(\d)$", run.name) or [0, 0])[1])
                last, bicubic = series.values[-1], BICUBIC[scale]
                print(
                    f"| {run.name} | x{scale} | {series.iterations[-1]:,} | {series.hours[-1] * 60:.0f} | {bicubic} "
                    f"| {last:.2f} | {last - bicubic:+.2f} | {PUBLISHED.get(run.name, '-')} |"
                )
    curves.draw(found, Path(__file__).parent / "curves.png", over="hours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
