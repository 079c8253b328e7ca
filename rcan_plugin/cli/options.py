"""Copy the option files that come with the plugin, or print what option files may say.

    rcan options copy DIR               # all option files, into DIR and folders in it
    rcan options reference              # a page in Markdown: each key, its values, its default, what it is
    rcan options schema --out FILE      # JSON schema (draft 2020-12), for editors

The page and the schema cover the classes that are registered on this machine: networks, losses, metrics, data sets and
models, also of other plugins. No file is overwritten: if DIR has a file of the same name and other content, nothing is
copied.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import rcan_plugin
from rcan_plugin._files import kind_of, require_writable, written_beside
from rcan_plugin.cli import _exit_codes, stopping_at_once


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan options",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=["copy", "reference", "schema"], help="see above")
    parser.add_argument("folder", metavar="DIR", nargs="?", type=_folder, help="copy: where to; it is made if missing")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="reference, schema: write to a file; by default to standard output"
    )
    args = parser.parse_args(argv)
    if args.action == "copy":
        if args.folder is None or args.out is not None:
            parser.error("expected the folder to copy to: rcan options copy DIR")
        return _exit_codes.run(lambda: copy_files(args.folder))
    if args.folder is not None:
        parser.error(f"{args.action} takes no folder; a file to write to is --out FILE")
    return _exit_codes.run(lambda: print_options(args.action, args.out))


def _folder(text: str) -> Path:
    if not text:  # from an unset shell variable; `Path("")` would be the current folder
        raise argparse.ArgumentTypeError("it is an empty text; expected a folder, . for the current one")
    return Path(text)


def shipped() -> Path:
    """The folder of the option files: within the installed package, or `options/` beside it in a clone."""
    package = Path(rcan_plugin.__file__).parent
    installed = package / "option_files"  # made by setup.py
    return installed if installed.is_dir() else package.parent / "options"


def copy_files(folder: Path) -> int:
    """Copy the option files to a folder, print what was written, and return the exit code. Equal files are kept.

    Raises:
        ValueError: something else has the name of a file or folder to write. Then nothing was written.
        OSError: the folder cannot be written to.
    """
    source = shipped()
    names = sorted(path.relative_to(source) for path in source.rglob("*.yml"))
    if not names:
        raise ValueError(f"{source} has no option files: the installation is damaged; install the plugin again.")
    in_the_way = [
        f"  {path}: {kind_of(path)}; expected a folder"
        for path in sorted({folder / name.parent for name in names})
        if kind_of(path) not in ("nothing", "a folder")
    ]
    missing = []
    for name in names:
        kind = kind_of(folder / name)
        if kind == "nothing":
            missing.append(name)
        elif kind != "a file":
            in_the_way.append(f"  {folder / name}: {kind}; expected a file")
        elif (folder / name).read_bytes() != (source / name).read_bytes():
            in_the_way.append(f"  {folder / name}: a file with other content")
    if in_the_way:
        listed = "\n".join(in_the_way)
        raise ValueError(
            f"These are in the way, and nothing was written:\n{listed}\nMove them away, or choose another folder."
        )
    require_writable("Folder", folder)
    for name in missing:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with written_beside(folder / name) as beside:
            beside.write_bytes((source / name).read_bytes())
        print(folder / name)
    equal = len(names) - len(missing)
    print(f"{len(missing)} files written" + (f", {equal} were there already." if equal else "."))
    return 0


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
    with written_beside(out) as beside:
        beside.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
