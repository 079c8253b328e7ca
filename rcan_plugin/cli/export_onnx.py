"""Export a network as an ONNX file, for ONNX Runtime and what is built on it.

    rcan export-onnx net_g_latest.pth RCAN_x4.onnx
    rcan export-onnx RCAN_BIX4.pt RCAN_x4_256.onnx --size 256x256    # for runtimes that need a fixed size
    rcan export-onnx MDSR.safetensors MDSR_x2.onnx --scale 2

Input and output are float32, N x C x H x W, RGB, range 0 to 1; height, width and batch are free. The network is found
as `rcan convert-weights --help` describes. ONNX Runtime runs the file at three sizes before it is renamed into place;
if a result differs from the network's by more than 0.0001 of the range 0 to 1, nothing is written.
`--fp16` halves the file, and memory and time on GPUs. fp16 holds values up to 65,504. RCAN computes in a range of 255;
if its values exceed the limit, images are black or damaged. Therefore test images are computed in fp16 first; if a
value is too large, or a result differs by more than 2/255, nothing is written.
Exit code: 0 if the file was written; 2 if not.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rcan_plugin.cli import _exit_codes
from rcan_plugin.cli.convert_weights import add_network_arguments, read_weights, require_target


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan export-onnx",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="WEIGHTS", type=Path, help="file of weights")
    parser.add_argument("target", metavar="OUT", type=Path, help="file to write: .onnx")
    parser.add_argument("--scale", type=int, metavar="N", help="scale, of a network that has several (MDSR)")
    parser.add_argument(
        "--size", type=height_and_width, metavar="HxW", help="fixed size of the input, batch 1: 256x256"
    )
    parser.add_argument("--fp16", action="store_true", help="store and compute in half precision; see above")
    add_network_arguments(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    args = parser.parse_args(argv)
    return _exit_codes.run(lambda: export(args), module="rcan_plugin.weights.onnx")


def height_and_width(text: str) -> tuple[int, int]:
    """Read HxW."""
    if not (match := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)):
        raise argparse.ArgumentTypeError(f"{text!r}; expected height and width such as 256x256")
    return int(match[1]), int(match[2])


def export(args: argparse.Namespace) -> int:
    """Read the weights, write the file, print what it is; return the exit code."""
    from rcan_plugin.weights import onnx

    onnx.require_packages()
    if args.target.suffix.lower() != ".onnx":
        raise ValueError(f"{args.target}: expected a name that ends in .onnx.")
    require_target(args.target, args.overwrite)
    exported = onnx.export(
        read_weights(args.source, args), args.target, scale=args.scale, size=args.size, fp16=args.fp16
    )
    size = "input {}x{}".format(*exported.size) if exported.size else "any height, width and batch"
    megabytes = args.target.stat().st_size / 1e6
    print(
        f"{args.target}: written, x{exported.scale}, {size}, {megabytes:.1f} MB; in float32 it differs from the "
        f"network by at most {exported.difference:.1g}"
    )
    for remark in exported.remarks:
        print(f"  note: {remark}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
