"""Say which degradation made the LR images of a folder or LMDB from the HR images of another.

    python scripts/identify_degradation.py HR_FOLDER LR_FOLDER

One line for each group of pairs that were made the same way, the largest group first, then the pairs outside it.
Exit code: 0 if all pairs fit, 1 if some do not, 2 if the folders cannot be read.
"""

import argparse
import sys

from rcan_plugin.preparation.survey import survey


def main() -> int:
    """Print the groups and the odd ones out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hr", metavar="HR_FOLDER")
    parser.add_argument("lr", metavar="LR_FOLDER")
    parser.add_argument(
        "--hr-template", metavar="T", help="how HR names are made, such as {}_HR_x4; found out by itself"
    )
    parser.add_argument("--lr-template", metavar="T", help="how LR names are made, such as {}_LRBI_x4")
    args = parser.parse_args()
    try:
        groups = survey(args.hr, args.lr, hr_template=args.hr_template, lr_template=args.lr_template)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    total = sum(len(group.pairs) for group in groups)
    for group in groups:
        print(f"{len(group.pairs)} of {total} pairs: {group}")
    odd = [group for i, group in enumerate(groups) if i or not group.first.belongs]
    for group in odd:
        for name, found in group.pairs.items():
            print(f"  does not fit: {name}: {found}")
    return 1 if odd else 0


if __name__ == "__main__":
    sys.exit(main())
