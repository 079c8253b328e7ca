"""Parses the arguments of BasicSR's `train.py` and `test.py` before BasicSR does."""

from __future__ import annotations

import argparse
import os
from argparse import Namespace

from rcan_plugin.options.mistakes import Mistake

NEEDED = {"pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"), "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST")}
"""Environment variables that BasicSR reads with each launcher."""


def parse_arguments(argv: list[str] | None = None) -> Namespace:
    """Parse BasicSR's arguments (`basicsr.utils.options.parse_options`).

    Args:
        argv: by default those of the process.

    Raises:
        SystemExit: an argument is unknown or malformed.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file")
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm"], default="none", help="program that starts the processes"
    )
    parser.add_argument("--auto_resume", action="store_true", help="resume from the newest state of this name")
    parser.add_argument(
        "--print-options", action="store_true", help="print the options with their defaults, and end; build nothing"
    )
    parser.add_argument("--debug", action="store_true", help="validate and save every 8 iterations")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help="set by some launchers")
    parser.add_argument(
        "--force_yml", nargs="+", default=[], metavar="KEY:KEY=VALUE", help="change options: train:ema_decay=0.999"
    )
    return parser.parse_args(argv)


def without_changes(arguments: Namespace) -> list[str]:
    """The arguments without `--force_yml`, for BasicSR."""
    flags = [f"--{name}" for name in ("auto_resume", "debug") if getattr(arguments, name)]
    return ["-opt", arguments.opt, "--launcher", arguments.launcher, "--local_rank", str(arguments.local_rank), *flags]


def check_launcher(launcher: str) -> list[Mistake]:
    """Check that the launcher has set its environment variables."""
    missing = [name for name in NEEDED.get(launcher, ()) if name not in os.environ]
    if not missing:
        return []
    how = {"pytorch": "start with torchrun --nproc_per_node N", "slurm": "start with srun"}[launcher]
    text = f"is {launcher}, and {missing[0]} is not in the environment: {how}, or leave --launcher out."
    return [Mistake(("--launcher",), text)]
