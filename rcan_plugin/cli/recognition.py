"""Measure how well a classifier recognises objects in upscaled images, as in the last table of RCAN's paper.

    rcan recognition --images ILSVRC2012_val --labels val.txt --first 1000 \\
        --classifier resnet50 --classifier-weights resnet50-0676ba61.pth --weights RCAN=RCAN_BIX4.pt EDSR=edsr_x4.pth

Each image is cropped to 224x224 as torchvision evaluates classifiers, reduced to 56x56 (BI x4), and upscaled by each
network. The table has top-1 and top-5 errors of the classifier for bicubic, each network and the original images, with
the differences from bicubic. It is printed, and written to OUT/recognition.md, .csv and .json.
The list has lines NAME CLASS, classes from 0 as in ImageNet's val.txt, or is a CSV file. Nothing is downloaded; the
address of torchvision's weights is in torchvision.models.ResNet50_Weights.IMAGENET1K_V1.url, for example.
Predictions are kept in OUT/predictions: the same command resumes a stopped run, and with other networks or images only
new predictions are computed.
Exit code: 0; 2 if something is wrong or missing; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rcan_plugin.cli import _exit_codes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan recognition",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", required=True, type=Path, metavar="FOLDER", help="images, also in subfolders")
    parser.add_argument("--labels", required=True, type=Path, metavar="FILE", help="lines NAME CLASS, or CSV")
    parser.add_argument(
        "--first", type=_whole, metavar="N", help="only the first N lines of the list (the paper: 1000)"
    )
    parser.add_argument("--classifier", required=True, metavar="NAME", help="a model of torchvision, such as resnet50")
    parser.add_argument("--classifier-weights", required=True, type=Path, metavar="FILE", help=".pth or .safetensors")
    parser.add_argument(
        "--weights", nargs="+", default=[], metavar="[NAME=]FILE", help="networks; the name is the file's by default"
    )
    parser.add_argument("--out", type=Path, default=Path("results/recognition"), help="%(default)s by default")
    parser.add_argument("--resize", type=_whole, default=256, metavar="N", help="shorter side (default %(default)s)")
    parser.add_argument(
        "--crop", type=_whole, default=224, metavar="N", help="side of the center crop (default %(default)s)"
    )
    parser.add_argument(
        "--scale", type=_whole, default=4, metavar="N", help="the networks' scale (default %(default)s)"
    )
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    args = parser.parse_args(argv)
    hint = " Predictions are kept; run the same command again to resume."
    return _exit_codes.run(lambda: recognise(args), hint, module="rcan_plugin.recognition.table")


def recognise(args: argparse.Namespace) -> int:
    """Classify, print the table, write it."""
    from rcan_plugin.recognition import run, table
    from rcan_plugin.recognition.classifier import View

    task = run.Task(
        images=args.images,
        labels=args.labels,
        classifier=args.classifier,
        classifier_weights=args.classifier_weights,
        weights=named(args.weights),
        out=args.out,
        view=View(args.resize, args.crop),
        scale=args.scale,
        first=args.first,
        device=args.device,
    )
    results = run.run(task)
    print(table.plain(results))
    print(", ".join(map(str, table.write(results))))
    return 0


def named(arguments: Sequence[str]) -> dict[str, Path]:
    """Return the files by name, from arguments `FILE` or `NAME=FILE`.

    Raises:
        ValueError: two have the same name.

    >>> named(["RCAN=models/net_g_latest.pth", "EDSR_x4.pth"])
    {'RCAN': PosixPath('models/net_g_latest.pth'), 'EDSR_x4': PosixPath('EDSR_x4.pth')}
    """
    files: dict[str, Path] = {}
    for argument in arguments:
        name, equals, file = argument.partition("=")
        if not equals or Path(argument).exists():
            name, file = Path(argument).stem, argument
        if name in files:
            raise ValueError(f"--weights: {files[name]} and {file} are both {name}: name them, NAME=FILE.")
        if not name or not file:
            raise ValueError(f"--weights: {argument!r} has no {'file' if name else 'name'}; expected NAME=FILE.")
        files[name] = Path(file)
    return files


def _whole(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of 1 or more")


if __name__ == "__main__":
    sys.exit(main())
