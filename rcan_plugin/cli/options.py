"""Print what option files may say.

    rcan options reference              # a page in Markdown: each key, its values, its default, what it is
    rcan options schema --out FILE      # JSON schema (draft 2020-12), for editors

Both know the classes that are registered here: networks, losses, metrics, data sets and models of other plugins too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import rcan_plugin
from rcan_plugin.cli import _exit_codes, stopping_at_once


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan options",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("form", choices=["reference", "schema"], help="a page in Markdown, or JSON schema")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write to a file; by default to standard output")
    args = parser.parse_args(argv)
    return _exit_codes.run(lambda: print_options(args.form, args.out))


def print_options(form: str, out: Path | None) -> int:
    """Print the page or the schema, or write it to a file; return the exit code."""
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise ValueError(f"--out {out}: expected a file in a folder that exists.")
    with stopping_at_once():
        rcan_plugin.register()  # before the import of BasicSR: see `train.main`
        import basicsr  # noqa: F401

        from rcan_plugin.options import export
    text = (
        export.reference() if form == "reference" else json.dumps(export.json_schema(), indent=1, sort_keys=True) + "\n"
    )
    if out is None:
        sys.stdout.write(text)
        return 0
    beside = out.with_name(f"{out.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
