"""Convert a file of weights: BasicSR's .pth, safetensors, the RCAN authors' layout.

    rcan convert-weights net_g_latest.pth RCAN_x4.safetensors
    rcan convert-weights RCAN_BIX4.pt RCAN_x4.pth                          # the authors' file, for BasicSR
    rcan convert-weights net_g_latest.pth RCAN_x4.pth --layout spandrel    # for chaiNNer, ComfyUI
    rcan convert-weights net_g_latest.pth EDSR_x2.safetensors --opt experiments/EDSR_x2/train_EDSR_x2.yml

Reads weights of RCAN from its authors' code, BasicSR, traiNNer-redux, neosr and RCAN-it, and of every network that
BasicSR registers. The network's name and arguments are taken from the file (safetensors and checkpoints of
AcceleratedSRModel hold them); for other files of RCAN from the tensors; otherwise from --opt, or from --network and
--arguments. What the file does not say and is assumed is printed as a note; --arguments overrides it.
Exit code: 0 if the file was written; 2 if not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rcan_plugin._files import kind_of, require_folder
from rcan_plugin.cli import _exit_codes

LAYOUTS = {
    "basicsr": "under `params`, for BasicSR",
    "authors": "RCAN with its authors' key names",
    "spandrel": "the same, if spandrel (chaiNNer, ComfyUI) gives the same image",
    "safetensors": "the network's own key names",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan convert-weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="IN", type=Path, help="file of weights")
    parser.add_argument("target", metavar="OUT", type=Path, help="file to write: .safetensors, .pth or .pt")
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        help=f"{'; '.join(f'{name}: {text}' for name, text in LAYOUTS.items())}. By default safetensors for "
        ".safetensors, else basicsr",
    )
    add_network_arguments(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    args = parser.parse_args(argv)
    return _exit_codes.run(lambda: convert(args), module="rcan_plugin.weights.saving")


def add_network_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the arguments that `read_weights` and `reading_arguments` take."""
    parser.add_argument("--network", metavar="NAME", help="name of the network, as under network_g: type")
    parser.add_argument(
        "--arguments", metavar="KEY=VALUE", nargs="+", default=[], help="arguments of the network: img_range=1"
    )
    parser.add_argument("--opt", metavar="FILE", type=Path, help="option file whose network_g it is")
    parser.add_argument(
        "--param-key", metavar="KEY", help="key of the weights in their file; by default params_ema or params"
    )
    parser.add_argument(
        "--no-strict",
        dest="strict",
        action="store_false",
        help="leave out tensors that the network lacks; those that the file lacks keep their initial values",
    )


def read_weights(source: Path, args: argparse.Namespace) -> Any:
    """Read a file of weights by the arguments of `add_network_arguments`, and print network, scale and layout.

    Returns:
        `Weights`.

    Raises:
        FileNotFoundError, ValueError: those of `weights.read`, or an argument is wrong.
    """
    from rcan_plugin import weights
    from rcan_plugin.options.values import as_yaml

    read = weights.read(source, **reading_arguments(args))
    scales = ", ".join(f"x{scale}" for scale in read.scales)
    numbers = sum(tensor.numel() for tensor in read.state_dict.values())
    print(f"{source}: {read.name}, {scales}, {numbers:,} numbers, {read.layout}")
    print(f"  network_g: {as_yaml(read.option)}")
    for remark in read.remarks:
        print(f"  note: {remark}")
    return read


def reading_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `weights.read` that the arguments of `add_network_arguments` give.

    Raises:
        FileNotFoundError, ValueError: one of them is wrong.
    """
    from rcan_plugin import autoload

    autoload.supply_functional_tensor()  # before BasicSR is imported for its networks
    name, arguments = network_of(args)
    reading = {"name": name, "param_key": args.param_key, "strict": args.strict}
    if clashing := arguments.keys() & {"path", *reading}:
        raise ValueError(f"--arguments {min(clashing)}=...: no network has an argument of this name.")
    return {**arguments, **reading}


def network_of(args: argparse.Namespace) -> tuple[str | None, dict[str, Any]]:
    """Name and arguments of the network that `--network`, `--arguments` and `--opt` give.

    Raises:
        ValueError: they contradict each other or cannot be read.
    """
    from rcan_plugin.options import read
    from rcan_plugin.options.mistakes import Mistake

    name, arguments = args.network, {}
    if args.opt:
        if name:
            raise ValueError("--network and --opt: give one of them; --arguments may change arguments of --opt.")
        option = read.read(args.opt).options.get("network_g")
        if not isinstance(option, dict) or not isinstance(option.get("type"), str):
            raise ValueError(
                f"--opt {args.opt}: it has no network_g with a type; give the option file of the training."
            )
        arguments = dict(option)
        name = arguments.pop("type")
    for argument in args.arguments:
        key, equals, written = argument.partition("=")
        value = read.read_value(written.strip())
        if not equals or not key.strip().isidentifier() or isinstance(value, Mistake):
            raise ValueError(f"--arguments {argument}: expected KEY=VALUE, such as img_range=1 or rgb_mean=[0,0,0].")
        arguments[key.strip()] = value
    return name, arguments


def require_target(target: Path, overwrite: bool) -> None:
    """Check that a file can be written, and does not exist unless `overwrite` is set.

    Raises:
        FileNotFoundError, ValueError: the message says what to do.
    """
    require_folder("OUT", target.parent, "make it, or choose another place")
    if (kind := kind_of(target)) not in ("nothing", "a file"):
        raise ValueError(f"{target} is {kind}; expected the name of a file to write.")
    if kind == "a file" and not overwrite:
        raise ValueError(f"{target} exists: choose another name, or give --overwrite.")


def convert(args: argparse.Namespace) -> int:
    """Read, print what was read, write; return the exit code."""
    from rcan_plugin import weights
    from rcan_plugin.weights.saving import layout_of

    layout = layout_of(args.target, args.layout)
    require_target(args.target, args.overwrite)
    weights.save(args.target, read_weights(args.source, args), layout=layout)
    print(f"{args.target}: written, layout {layout}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
