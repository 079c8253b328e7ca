"""Say whether LMDBs are what they were when they were made.

    python scripts/verify_lmdb.py datasets/DIV2K/train/HR.lmdb [...]

Any byte that changed is found by the checksums beside the data; of an LMDB without checksums, such as BasicSR's tools
make, every image is decoded and compared with meta_info.txt.
Exit code: 0 if all is well, 1 if something is wrong, 2 if there is no such LMDB.
"""

import argparse
import sys

from rcan_plugin.preparation.verify import verify


def main() -> int:
    """Print what is wrong with each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lmdb", nargs="+", metavar="LMDB")
    code = 0
    for path in parser.parse_args().lmdb:
        try:
            wrong = verify(path)
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            code = 2
            continue
        print(f"{path}: {'all is well' if not wrong else f'{len(wrong)} faults'}")
        for line in wrong:
            print(f"  {line}")
        code = max(code, int(bool(wrong)))
    return code


if __name__ == "__main__":
    sys.exit(main())
