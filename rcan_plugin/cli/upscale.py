"""Upscale pictures with a network that was trained here or elsewhere.

    rcan upscale cat.jpg -o cat_x4.png --scale 4                         # with the light RCAN that comes with this
    rcan upscale cat.jpg -o cat_x4.png --weights RCAN_x4.pth             # with your own
    rcan upscale photos -o larger --weights RCAN_x4.pth                  # a folder and its subfolders
    find . -name '*.png' | rcan upscale - -o larger --weights RCAN_x4.pth

Network, arguments and scale are read from the weights. For one picture OUTPUT is a file, otherwise a folder. Results
have the format of their picture, or PNG if that format cannot be written. Transparency, 16 bits, gray, colour profile
and EXIF are kept. Existing results are kept, so that the same command resumes a stopped run.
Exit code: 0; 1 if pictures could not be upscaled (all of them are printed); 2 if another error ended it; 130 after
Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rcan_plugin.cli import _exit_codes, stopping_at_once
from rcan_plugin.cli.convert_weights import add_network_arguments, reading_arguments

if TYPE_CHECKING:
    from rcan_plugin.upscaling.inputs import Inputs
    from rcan_plugin.upscaling.plan import Plan
    from rcan_plugin.upscaling.run import Outcome, Upscaler

STOPPED = " Written results are complete; run the same command again (without --overwrite) to resume."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan upscale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="picture or folder; -: a list of them on stdin")
    parser.add_argument("-o", "--output", required=True, help="file for one picture, otherwise a folder")
    parser.add_argument(
        "--weights", metavar="FILE", help=".pth, .pt or .safetensors; by default a light RCAN (--scale 2, 3 or 4)"
    )
    results = parser.add_argument_group("results")
    results.add_argument("--format", metavar="F", help="format of all results: png, jpg, tif, webp, ...")
    results.add_argument(
        "--quality", type=_whole(1, 100), metavar="N", help="1 to 100, for JPEG and WebP (default 95) and AVIF (90)"
    )
    results.add_argument("--suffix", default="", metavar="S", help="appended to the names: _x4 makes cat_x4.png")
    results.add_argument("--overwrite", action="store_true", help="replace results that exist")
    results.add_argument(
        "--max-pixels", type=_whole(1), metavar="N", help="refuse pictures with more pixels (default 178956970)"
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--tile",
        type=_tile,
        default="auto",
        metavar="T",
        help="auto: the whole picture, or the largest tiles that fit in memory; N: tiles of N pixels; none: no tiles",
    )
    network.add_argument(
        "--exact", action="store_true", help="never use tiles that change the result, even if this is slower"
    )
    network.add_argument(
        "--ensemble", action="store_true", help="mean over eight flips and rotations: better, takes 8 times as long"
    )
    network.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto")
    network.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    network.add_argument(
        "--scale",
        type=_whole(2),
        metavar="N",
        help="needed without --weights, and for networks with several scales (MDSR) or any scale (VDSR, DRRN, MemNet)",
    )
    network.add_argument("--compile", action="store_true", help="compile the network's blocks (GPU)")
    add_network_arguments(parser.add_argument_group("network, if the file of weights does not name it"))
    args = parser.parse_args(argv)
    return _exit_codes.run(lambda: upscale(args), STOPPED, "rcan_plugin.upscaling.run")


def upscale(args: argparse.Namespace) -> int:
    """Check everything that can be checked before the work, then upscale. Returns the exit code."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from rcan_plugin.pictures import MAX_PIXELS
    from rcan_plugin.upscaling.headers import read_headers, refuse_unfit
    from rcan_plugin.upscaling.inputs import printable
    from rcan_plugin.upscaling.run import Outcome, Run

    inputs, plan = _plan(args)
    _print_what_is_left_out(inputs, plan)
    if not plan.jobs:
        print("Nothing is left to upscale.")
        return _report(Outcome(failures=inputs.failures))
    headers = read_headers([job.source for job in plan.jobs])
    upscaler = _upscaler(args)
    max_pixels = args.max_pixels or MAX_PIXELS
    refuse_unfit(plan.jobs, headers, upscaler.scale, max_pixels)
    run = Run(upscaler, quality=args.quality, max_pixels=max_pixels, say=_say)
    run.outcome.failures.update(inputs.failures)
    try:
        with logging_redirect_tqdm([logging.getLogger("basicsr")]):  # messages about tiles and memory
            run(plan.jobs, {path: header.width * header.height for path, header in headers.items()})
    finally:
        print(f"Upscaled {len(run.outcome.written)} of {len(plan.jobs)} pictures: {printable(args.output)}.")
        code = _report(run.outcome)
    return code


def _plan(args: argparse.Namespace) -> tuple[Inputs, Plan]:
    from pathlib import Path

    from rcan_plugin._files import require_file
    from rcan_plugin.pictures import SUFFIXES, is_picture_name, output_format
    from rcan_plugin.pictures.formats import FORMATS
    from rcan_plugin.upscaling.inputs import find
    from rcan_plugin.upscaling.plan import Names, plan

    if not args.output:
        raise ValueError("--output is an empty text; expected a file or a folder.")
    if "/" in args.suffix or "\0" in args.suffix:
        raise ValueError(f"--suffix is {args.suffix!r}; expected a part of a file name, such as _x4.")
    form = None if args.format is None else output_format("", format=args.format)
    if args.weights is None:
        args.weights = _light(args)
    require_file("--weights", args.weights)
    inputs = find(args.inputs, Path(args.output), is_picture_name, sys.stdin.buffer if "-" in args.inputs else ())
    if not inputs.found and not inputs.failures:
        others = f", but {inputs.ignored_in_words()}" if inputs.ignored else ""
        raise ValueError(f"The inputs hold no picture (looked for {', '.join(sorted(SUFFIXES))}){others}.")
    planned = plan(args.inputs, inputs.found, Names(args.output, args.suffix, form), args.overwrite)
    formats = {output_format("", path=job.output) for job in planned.jobs}
    if args.quality is not None and formats and all(FORMATS[name].quality is None for name in formats):
        lossy = ", ".join(name for name, form in FORMATS.items() if form.quality is not None)
        raise ValueError(f"--quality is for {lossy}; the results are {', '.join(sorted(formats))}: drop it.")
    return inputs, planned


def _light(args: argparse.Namespace) -> str:
    from rcan_plugin import weights

    scale = args.scale
    of_other_weights = {"--network": args.network, "--arguments": args.arguments, "--opt": args.opt}
    of_other_weights |= {"--param-key": args.param_key, "--no-strict": not args.strict}
    if given := [flag for flag, value in of_other_weights.items() if value]:
        raise ValueError(f"{', '.join(given)}: for weights of your own; add --weights FILE.")
    if scale not in weights.LIGHT_SCALES:
        scales = ", ".join(map(str, weights.LIGHT_SCALES))
        raise ValueError(
            f"--scale is {scale or 'missing'}; expected one of {scales} for the light RCAN that comes with the "
            "project; or give another network with --weights."
        )
    return str(weights.light(scale))


def _print_what_is_left_out(inputs: Inputs, plan: Plan) -> None:
    if inputs.ignored:
        print(f"Ignored because of their suffix: {inputs.ignored_in_words()}.")
    if plan.results:
        print(f"Ignored as results of other inputs: {len(plan.results)}.")
    if plan.existing:
        from rcan_plugin.upscaling.inputs import printable

        first = printable(plan.existing[0])
        print(f"Skipped since the result exists: {len(plan.existing)} (first: {first}). --overwrite replaces them.")


def _upscaler(args: argparse.Namespace) -> Upscaler:
    with stopping_at_once():
        importlib.import_module("rcan_plugin.inference.upscaler")
        network = importlib.import_module("rcan_plugin.upscaling.network")
    from rcan_plugin.inference.upscaler import Upscaler

    given = reading_arguments(args)
    upscaler = Upscaler(
        network.load(args.weights, args.scale, print, **given),
        tile=args.tile,
        exact=args.exact,
        ensemble=args.ensemble,
        precision=args.precision,
        device=args.device,
        compile=args.compile,
        scale=args.scale,
    )
    precision = "float32" if upscaler.precision is None else str(upscaler.precision).removeprefix("torch.")
    print(f"{args.weights}: x{upscaler.scale}, on {upscaler.device}, in {precision}.")
    return upscaler


def _say(text: str) -> None:
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


def _report(outcome: Outcome) -> int:
    """Print what failed. Returns the exit code."""
    from rcan_plugin.upscaling.inputs import printable

    if outcome.failures:
        print(f"Not upscaled, {len(outcome.failures)}:", file=sys.stderr)
    for path, reason in outcome.failures.items():
        print(f"  {printable(path)}: {printable(reason)}", file=sys.stderr)
    if outcome.stopped:
        print(f"The run was stopped, since every other picture would fail, too: {outcome.stopped}", file=sys.stderr)
    return 1 if outcome.failures else 0


def _tile(text: str) -> str | int | None:
    if text in ("auto", "none"):
        return None if text == "none" else text
    if text.isascii() and text.isdigit() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}; expected auto, none or a number of pixels")


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argument's type: a whole number in a range."""

    def convert(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text) and (most is None or int(text) <= most):
            return int(text)
        bounds = f"from {least} to {most}" if most is not None else f"of {least} or more"
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number {bounds}")

    return convert


if __name__ == "__main__":
    sys.exit(main())
