"""What the scripts that make LMDBs share: their options, their last words, their exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rcan_plugin.degradations import Degradation
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.images.decode import BadImageError, look
from rcan_plugin.images.sources import Source
from rcan_plugin.preparation.plan import Bad
from rcan_plugin.preparation.prepare import BadImagesError, Job
from rcan_plugin.preparation.targets import CODECS, Target


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `job`."""
    parser.add_argument("--scales", type=int, nargs="+", default=[], metavar="S", choices=(2, 3, 4, 8))
    parser.add_argument(
        "--degradations", nargs="+", default=[], metavar="D", choices=("BI", "BD", "DN"),
        help="LR images to have at each of the scales: BI, BD, DN; without, HR alone, as the option files need it",
    )  # fmt: skip
    parser.add_argument(
        "--codec", choices=CODECS, default="raw", help="raw: read at memory speed; png: smaller, and slow to read"
    )
    parser.add_argument(
        "--sub-images", type=int, nargs=2, metavar=("SIZE", "STEP"),
        help="cut all images into squares, such as 480 240; raw LMDBs do not need it",
    )  # fmt: skip
    parser.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be used")


def job(args: argparse.Namespace, out: Path) -> Job:
    """The job that the options say.

    Raises:
        ValueError: only one of --scales and --degradations is given.
    """
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


def scale_of(hr: Sequence[Source], lr: Sequence[Source]) -> int:
    """By how much LR images are smaller, taken all together.

    Raises:
        BadImagesError: none of the HR, or of the LR images can be used.
        ValueError: not by 2, 3, 4 or 8.
    """
    sides, bad = [], []
    for sources in (hr, lr):
        total = count = 0
        for source in sources:
            try:
                head = look(source)
            except BadImageError as error:
                bad.append(Bad(source.place, str(error)))
                continue
            total, count = total + head.height + head.width, count + 1
        if not count:
            raise BadImagesError(bad)
        sides.append(total / count)
    ratio = sides[0] / sides[1]
    scale = round(ratio)
    if scale not in (2, 3, 4, 8) or abs(ratio - scale) > 0.1 * scale:
        raise ValueError(
            f"{lr[0].place} and the other LR images are smaller than the HR images by {ratio:.3g}, on average; "
            "expected 2, 3, 4 or 8: name the folder of one scale."
        )
    return scale


def say_how_to_use(out: Path, targets: Sequence[Target]) -> None:
    """Print the lines that name the data in an option file."""
    rows = [(f"dataroot_gt: {out / 'HR.lmdb'}", "alone: the LR is made on the fly" if targets[1:] else "")]
    for target in targets[1:]:
        degradation = target.recipe.degradation if target.recipe else None
        border = f", border: {degradation.border}" if degradation and degradation.border != "replicate" else ""
        note = f"degradation: {{type: {degradation.kind}{border}}}" if degradation else f"x{target.scale}"
        rows.append((f"dataroot_lq: {out / target.name}.lmdb", note))
    width = max(len(line) for line, _ in rows)
    print("Option files name it so:")
    for line, note in rows:
        print(f"    {line:<{width}}  # {note}" if note else f"    {line}")


def run(action: Callable[[], None]) -> int:
    """Do it, and turn what goes wrong into words.

    Returns:
        0; 1 where images cannot be used; 2 where it cannot be done for another reason; 130 after Ctrl-C.
    """
    try:
        action()
    except BadImagesError as error:
        for one in error.bad:
            print(one, file=sys.stderr)
        print(
            f"{error}. Nothing was written: mend them; --skip-bad leaves them out, if others remain.", file=sys.stderr
        )
        return 1
    except (OSError, RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except MemoryError:
        said = "There is not enough memory: close other programs, and run the same command again to go on."
        print(said, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to go on.", file=sys.stderr)
        return 130
    return 0
