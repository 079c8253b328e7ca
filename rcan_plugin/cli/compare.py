"""Compare networks and other methods on test sets, by option files.

    rcan compare options/compare/BI.yml

Writes PSNR, SSIM, parameters, multiply-adds, latency and memory to OUT/results.json, the upscaled images to
OUT/pictures, and tables, plots and a page beside them; OUT is the option file's `out`. Missing data and weights are
listed before the work. The same command resumes a stopped comparison; what has not changed is not computed again.
Exit code: 0 if all is done; 2 if something is wrong or missing; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rcan_plugin
from rcan_plugin.cli import _exit_codes

if TYPE_CHECKING:
    from rcan_plugin.compare import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="option file of a comparison")
    parser.add_argument(
        "--available", action="store_true", help="leave out weights, pictures and test sets that are not here"
    )
    parser.add_argument(
        "--force_yml", nargs="+", default=[], metavar="KEY=VALUE", help="change options: out=results/other"
    )
    args = parser.parse_args(argv)
    hint = " Run the same command again to resume."
    return _exit_codes.run(lambda: compare_files(args), hint, module="rcan_plugin.compare.run")


def compare_files(args: argparse.Namespace) -> int:
    """Run the comparison of each file; return the exit code. Mistakes in all files are printed before any work."""
    from rcan_plugin.compare.plan import make_plan
    from rcan_plugin.compare.run import compare
    from rcan_plugin.compare.spec import read_spec
    from rcan_plugin.options.mistakes import Mistakes

    plans, failed = {}, False
    for file in args.files:
        try:
            plans[file] = make_plan(read_spec(file, args.force_yml), args.available)
        except Mistakes as error:
            failed = True
            print_mistakes(file, error)
    if failed:
        return 2
    for file, plan in plans.items():
        try:
            report = compare(plan, say=print, before_work=rcan_plugin.register)
            print_report(report)
        except Mistakes as error:
            print_mistakes(file, error)
            return 2
    return 0


def print_mistakes(file: str, error: Exception) -> None:
    """Print the mistakes in an option file, and what is missing."""
    print(f"{file}:", file=sys.stderr)
    for line in str(error).splitlines():
        print(f"  {line}", file=sys.stderr)


def print_report(report: Report) -> None:
    """Print the means of each set, the published figures, and the marks."""
    results = report.results
    names: Mapping[str, str] = {method["id"]: method["name"] for method in results["methods"]}
    width = max(map(len, names.values()))
    for test_set in results["sets"]:
        print(f"{test_set['name']} x{test_set['scale']}: {test_set['identified']}")
        for row in results["rows"]:
            if row["set"] == test_set["id"]:
                print(f"  {names[row['method']]:<{width}}  {_values(row, results['metrics'])}")
    print(f"{report.folder}: {'written' if report.is_new else 'unchanged'}")


def _values(row: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for name, metric in metrics.items():
        value = row["mean"][name]
        parts.append(f"{metric['name']} " + ("inf" if value is None else f"{value:.{metric['digits']}f}"))
    notes = [*row["marks"], *([row["explanation"]] if row["explanation"] else [])]
    return "  ".join(parts) + (f"  ({'; '.join(notes)})" if notes else "")


if __name__ == "__main__":
    sys.exit(main())
