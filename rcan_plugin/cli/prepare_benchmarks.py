"""Lay out the test sets Set5, Set14, B100, Urban100 and Manga109 as option files name them: ROOT/Set5/HR, ...

    rcan prepare-benchmarks --root datasets/benchmark FOLDER_OR_ARCHIVE...

Reads folders, zip and tar archives as they are published: `Set5/HR` (EDSR's benchmark.tar), `Set5/GTmod12` (BasicSR),
`Set5/image_SRF_4` (SelfExSR), `OriginalTestData/Set5` and `HR/Set5/x4` (RCAN), or just `Set5`. Only HR images are used:
the LR is made from them on the fly.
Exit code: 0 if all sets found are in ROOT now; 1 if a set was refused; 2 if the arguments cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rcan_plugin.cli import _exit_codes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan prepare-benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", metavar="FOLDER_OR_ARCHIVE", nargs="+", help="a test set, or several")
    parser.add_argument("--root", default="datasets/benchmark", help="folder of the result (default: %(default)s)")
    args = parser.parse_args(argv)

    def prepare() -> int:
        from rcan_plugin.preparation.benchmarks import prepare_benchmarks

        return 1 if prepare_benchmarks(args.paths, args.root) else 0

    return _exit_codes.run(prepare, module="rcan_plugin.preparation.benchmarks")


if __name__ == "__main__":
    sys.exit(main())
