"""Identify the degradation that made the LR images of a folder or LMDB from the HR images of another.

    rcan identify HR_FOLDER LR_FOLDER

Prints one line for each group of pairs that were made in the same way, the largest group first, then the pairs outside
the largest group. If a group was not made by a degradation of the papers (BI, BD, DN), its line says how many values
differ, and which resizer of OpenCV, Pillow, torch or BasicSR, or JPEG of its result, five of its pairs look like.
Exit code: 0 if all pairs were made by one degradation of the papers; 1 if not; 2 if the folders cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rcan_plugin.cli import _exit_codes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan identify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("hr", metavar="HR_FOLDER")
    parser.add_argument("lr", metavar="LR_FOLDER")
    parser.add_argument(
        "--hr-template", metavar="T", help="pattern of HR names, such as {}_HR_x4; guessed if not given"
    )
    parser.add_argument("--lr-template", metavar="T", help="pattern of LR names, such as {}_LRBI_x4")
    args = parser.parse_args(argv)
    return _exit_codes.run(lambda: print_groups(args), module="rcan_plugin.preparation.survey")


def print_groups(args: argparse.Namespace) -> int:
    """Print the groups and the pairs outside of the largest; return the exit code."""
    from rcan_plugin.preparation.survey import survey

    groups = survey(args.hr, args.lr, hr_template=args.hr_template, lr_template=args.lr_template)
    total = sum(len(group.pairs) for group in groups)
    for group in groups:
        print(f"{len(group.pairs)} of {total} pairs: {group}")
    odd = [group for number, group in enumerate(groups) if number or not group.first.belongs]
    for group in odd:
        for name, identification in group.pairs.items():
            print(f"  does not fit: {name}: {identification}")
    return 1 if odd or not groups[0].first.of_papers else 0


if __name__ == "__main__":
    sys.exit(main())
