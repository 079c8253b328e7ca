"""Check option files: all mistakes with their lines, and what this machine lacks.

    rcan check FILE...

A file with a data set `train` is checked for training, a file with `methods` and `sets` as that of a comparison, others
for testing. Data, weights and GPUs that this machine lacks are listed, but do not count as mistakes. Nothing is built,
moved or written.
Exit code: 0 if all files are understood; 1 if one has a mistake; 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import rcan_plugin
from rcan_plugin._files import require_file
from rcan_plugin.cli import _exit_codes, stopping_at_once

if TYPE_CHECKING:
    from rcan_plugin.options.examine import Findings


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
    """Print the findings about each file; return the exit code."""
    for file in files:
        require_file("option file", file)
    with stopping_at_once():
        rcan_plugin.register()  # before the import of BasicSR: see `train.main`
        import basicsr  # noqa: F401

        from rcan_plugin.compare.spec import is_comparison
        from rcan_plugin.options.examine import examine
    code = 0
    for file in files:
        findings = examine_comparison(file, changes) if is_comparison(file) else examine(file, changes)
        count = len(findings.mistakes)
        print(f"{file}: {count} mistake{'s' * (count > 1)}" if count else f"{file}: understood")
        for kind, lines in (("", findings.mistakes), ("not here: ", findings.missing), ("note: ", findings.notes)):
            for line in lines:
                print(f"  {kind}{line}")
        sys.stdout.flush()
        code = max(code, int(count > 0))
    return code


def examine_comparison(file: str, changes: Sequence[str]) -> Findings:
    """Check the option file of a comparison, and whether this machine has what it names."""
    from rcan_plugin.compare.plan import make_plan
    from rcan_plugin.compare.spec import read_spec
    from rcan_plugin.options.examine import Findings
    from rcan_plugin.options.mistakes import Mistakes

    try:
        spec = read_spec(file, changes)
    except Mistakes as error:
        return Findings(str(error).splitlines())
    try:
        make_plan(spec)
    except Mistakes as error:
        return Findings(missing=str(error).splitlines())
    return Findings()


if __name__ == "__main__":
    sys.exit(main())
