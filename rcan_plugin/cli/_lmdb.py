"""Shared by the commands that make LMDBs: options, the job they describe, the lines printed at the end, exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rcan_plugin.cli import _exit_codes

if TYPE_CHECKING:  # at run time these are imported where they are used, so that `--help` is quick
    from rcan_plugin.preparation.prepare import Job
    from rcan_plugin.preparation.targets import Target


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `job` reads."""
    parser.add_argument("--scales", type=int, nargs="+", default=[], metavar="S", choices=(2, 3, 4, 8))
    parser.add_argument(
        "--degradations", nargs="+", default=[], metavar="D", choices=("BI", "BD", "DN"),
        help="LR images to have at each scale: BI, BD, DN; by default HR images only, which the option files need",
    )  # fmt: skip
    parser.add_argument(
        "--codec", choices=("raw", "png"), default="raw", help="raw: read at memory speed; png: smaller, slow to read"
    )
    parser.add_argument(
        "--sub-images", type=int, nargs=2, metavar=("SIZE", "STEP"),
        help="cut all images into squares, such as 480 240; raw LMDBs do not need it",
    )  # fmt: skip
    parser.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be used")


def job(args: argparse.Namespace, out: Path) -> Job:
    """Return the job that the options describe.

    Raises:
        ValueError: only one of --scales and --degradations is given.
    """
    from rcan_plugin.degradations import Degradation
    from rcan_plugin.degradations.record import Recipe
    from rcan_plugin.preparation.prepare import Job

    if bool(args.scales) != bool(args.degradations):
        raise ValueError("--scales and --degradations go together: LR images of each kind at each scale.")
    return Job(
        out,
        [Recipe(Degradation(kind)) for kind in dict.fromkeys(args.degradations)],
        sorted(set(args.scales)),
        args.codec,
        args.sub_images and tuple(args.sub_images),
        args.skip_bad,
    )


def print_option_lines(out: Path, targets: Sequence[Target]) -> None:
    """Print the lines that name the LMDBs in an option file."""
    rows = [(f"dataroot_gt: {out / 'HR.lmdb'}", "by itself: LR images are made on the fly" if targets[1:] else "")]
    for target in targets[1:]:
        degradation = target.recipe.degradation if target.recipe else None
        border = f", border: {degradation.border}" if degradation and degradation.border != "replicate" else ""
        note = f"degradation: {{type: {degradation.kind}{border}}}" if degradation else f"x{target.scale}"
        rows.append((f"dataroot_lq: {out / target.name}.lmdb", note))
    width = max(len(line) for line, _ in rows)
    print("Lines for option files:")
    for line, note in rows:
        print(f"    {line:<{width}}  # {note}" if note else f"    {line}")


def run(command: Callable[[], None]) -> int:
    """Run a command that makes LMDBs.

    Returns:
        0; 1 if images cannot be used (all of them are printed); 2 if another error ended it; 130 after Ctrl-C.
    """

    def listing_unusable_images() -> int:
        from rcan_plugin.preparation.items import UnusableImagesError

        try:
            command()
        except UnusableImagesError as error:
            for image in error.images:
                print(image, file=sys.stderr)
            print(
                f"{error}. Nothing was written: repair or remove them; --skip-bad leaves them out, if others remain.",
                file=sys.stderr,
            )
            return 1
        return 0

    module = "rcan_plugin.preparation.prepare"
    return _exit_codes.run(listing_unusable_images, " Run the same command again to resume.", module)
