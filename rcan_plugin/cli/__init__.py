"""Command line programs, one module a command; `rcan COMMAND` starts them.

This module imports no room of the package and few other modules, so that `rcan --help` is quick and `stopping_at_once`
is active soon after the start.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence

from rcan_plugin._files import report_uncaught
from rcan_plugin._version import __version__

COMMANDS = {
    "train": "train with BasicSR, from any folder and on any machine",
    "test": "test with BasicSR, from any folder and on any machine",
    "check": "check option files: all mistakes, and what this machine lacks",
    "options": "copy the option files; print their keys, as a page or JSON schema",
    "upscale": "upscale pictures and folders of them with a trained network",
    "doctor": "show what is installed and registered, and how to correct it",
    "prepare-div2k": "make LMDBs from the DIV2K archives, or download them first",
    "prepare-benchmarks": "lay out Set5, Set14, B100, Urban100 and Manga109",
    "create-lmdb": "make LMDBs from a folder, a zip archive or pairs of images",
    "verify-lmdb": "compare LMDBs with their checksums",
    "identify": "identify the degradation that made a folder of LR images",
    "compare": "compare networks on test sets: tables, plots, a page",
    "convert-weights": "convert weights: BasicSR, safetensors, the RCAN authors' layout",
    "export-onnx": "export a network as an ONNX file, compared with the network",
    "recognition": "recognise objects in upscaled images: top-1 and top-5 errors",
    "plot-training": "draw loss, PSNR, learning rate and speed of training runs",
}
"""Commands and what they do. `NAME` is `main(argv)` of the module `rcan_plugin.cli.NAME`, with `_` for `-`."""

PROGRAM = "rcan"


def main(argv: Sequence[str] | None = None) -> int:
    """Run `rcan COMMAND ARGUMENTS`.

    Args:
        argv: the arguments after `rcan`; by default those of the process.

    Returns:
        The exit code of the command; 2 if it is unknown; 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and not arguments[0].startswith("-"):
        name, *rest = arguments
        if name in COMMANDS:
            return run(name, rest)
        import difflib

        nearest = difflib.get_close_matches(name, COMMANDS, 1, 0.5)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        print(
            f"{PROGRAM}: {name!r} is not a command; expected one of {', '.join(COMMANDS)}.{hint}",
            file=sys.stderr,
        )
        return 2
    import argparse

    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND [ARGUMENTS]",
        description=f"Super-resolution networks in BasicSR. `{PROGRAM} COMMAND --help` explains a command.",
        epilog="commands:\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rcan_plugin {__version__}")
    parser.parse_args(arguments)
    parser.print_help()
    return 0


def run(name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command. Ctrl-C, also during imports, and errors of files end it without a traceback.

    Args:
        name: a key of `COMMANDS`, or another module of this package that has a `main`.
        argv: its arguments; by default those of the process.
    """
    report_uncaught()
    try:
        with stopping_at_once():
            module = importlib.import_module(f"rcan_plugin.cli.{name.replace('-', '_')}")
        code: int = module.main(argv) or 0
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return code


@contextlib.contextmanager
def stopping_at_once() -> Iterator[None]:
    """In this context, Ctrl-C ends the process at once, with exit code 130.

    Used during imports, when no file is open yet. Raising an exception there is not reliable: other packages may catch
    or replace it.
    """

    def stop(number: int, frame: object) -> None:
        os.write(2, b"\nStopped.\n")
        os._exit(130)

    # Keep a handler that a parent or host program set: a program in the background ignores Ctrl-C.
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
