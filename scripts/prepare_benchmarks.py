"""Lay out the test sets Set5, Set14, B100, Urban100 and Manga109 as option files name them: ROOT/Set5/HR, ...

    python scripts/prepare_benchmarks.py --root datasets/benchmark FOLDER_OR_ARCHIVE...

Takes them from folders, zip and tar archives as they are published: `Set5/HR` (EDSR's benchmark.tar), `Set5/GTmod12`
(BasicSR), `Set5/image_SRF_4` (SelfExSR), `OriginalTestData/Set5` and `HR/Set5/x4` (RCAN), or plain `Set5`. HR images
alone are taken: the LR is made of them on the fly.
Exit code: 0 if all sets found are there now, 1 if one was refused, 2 if the arguments are of no use.
"""

import argparse
import sys

from rcan_plugin.preparation.benchmarks import prepare_benchmarks


def main() -> int:
    """Say what was recognised, and what was done with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", metavar="FOLDER_OR_ARCHIVE", nargs="+", help="a test set, or what holds some")
    parser.add_argument("--root", default="datasets/benchmark", help="where to lay them out (default: %(default)s)")
    args = parser.parse_args()
    try:
        refused = prepare_benchmarks(args.paths, args.root)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
