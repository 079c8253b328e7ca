"""Draw loss, PSNR, learning rate and images a second of training runs.

    rcan plot-training experiments/RCAN_x2 experiments/EDSR_x2 --over hours --out training.svg

RUN is a folder experiments/NAME (all its train_*.log are read), a folder tb_logger/NAME (TensorBoard's event files,
which have neither learning rate nor images a second), or one such file.
Needs matplotlib: pip install matplotlib
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rcan_plugin.cli import _exit_codes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan plot-training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder or log of a run")
    parser.add_argument("--over", choices=("iterations", "hours"), default="iterations", help="horizontal axis")
    parser.add_argument(
        "--out", metavar="FILE", default="training.svg", help=".svg, .png or .pdf; %(default)s by default"
    )
    args = parser.parse_args(argv)
    return _exit_codes.run(lambda: draw(args), module="rcan_plugin.compare.curves")


def draw(args: argparse.Namespace) -> int:
    """Read the runs and draw them."""
    from rcan_plugin.compare import curves, runs

    found = [runs.read(path) for path in args.runs]
    path = curves.draw(found, args.out, args.over)
    print(f"{path}: {', '.join(run.name for run in found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
