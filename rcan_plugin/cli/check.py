"""Check option files: all mistakes with their lines, and what this machine lacks.

    rcan check FILE...

A file with a data set `train` is checked as for training, others as for testing. Data, weights and GPUs that are not
here are listed, and are no mistakes. Nothing is built, moved or written.
Exit code: 0 if all files are understood; 1 if one has a mistake; 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import rcan_plugin
from rcan_plugin._files import require_file
from rcan_plugin.cli import _exit_codes, stopping_at_once


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="option file")
    parser.add_argument(
        "--force_yml", nargs="+", default=[], metavar="KEY:KEY=VALUE", help="change options: train:ema_decay=0.999"
    )
    args = parser.parse_args(argv)
    return _exit_codes.run(lambda: print_findings(args.files, args.force_yml))


def print_findings(files: Sequence[str], changes: Sequence[str]) -> int:
    """Print what there is to say about each file; return the exit code."""
    for file in files:
        require_file("option file", file)
    with stopping_at_once():
        rcan_plugin.register()  # before the import of BasicSR: see `train.main`
        import basicsr  # noqa: F401

        from rcan_plugin.options.examine import examine
    code = 0
    for file in files:
        findings = examine(file, changes)
        count = len(findings.mistakes)
        print(f"{file}: {count} mistake{'s' * (count > 1)}" if count else f"{file}: understood")
        for kind, lines in (("", findings.mistakes), ("not here: ", findings.missing), ("note: ", findings.notes)):
            for line in lines:
                print(f"  {kind}{line}")
        sys.stdout.flush()
        code = max(code, int(count > 0))
    return code


if __name__ == "__main__":
    sys.exit(main())
