"""Check that LMDBs are unchanged since they were made.

    rcan verify-lmdb datasets/DIV2K/train/HR.lmdb [...]

The checksums beside the data reveal any changed byte. If an LMDB has no checksums, such as one made by BasicSR's tools,
every image is decoded and compared with meta_info.txt instead; because this does not find every change, the exit code
is then 1.
Exit code: 0 if nothing has changed, 1 if there are faults or no checksums, 2 if there is no such LMDB.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rcan_plugin._files import describe_error
from rcan_plugin.cli import _exit_codes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan verify-lmdb",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("lmdb", nargs="+", metavar="LMDB")
    args = parser.parse_args(argv)
    return _exit_codes.run(lambda: verify_all(args.lmdb), module="rcan_plugin.preparation.verify")


def verify_all(paths: Sequence[str]) -> int:
    """Print the faults of each LMDB; return the exit code."""
    from rcan_plugin.preparation.verify import verify

    code = 0
    for path in paths:
        try:
            faults = verify(path)
        except (OSError, ValueError) as error:
            print(describe_error(error), file=sys.stderr)
            code = 2
            continue
        print(f"{path}: {len(faults) or 'no'} fault{'s' * (len(faults) != 1)}")
        for fault in faults:
            print(f"  {fault}")
        code = max(code, int(bool(faults)))
    return code


if __name__ == "__main__":
    sys.exit(main())
