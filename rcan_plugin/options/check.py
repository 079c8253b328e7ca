"""Checks an option file before BasicSR builds, moves or writes anything."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from rcan_plugin._files import report_uncaught
from rcan_plugin.archs import NETWORKS
from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.data.scan import forget_scans
from rcan_plugin.options.arguments import check_launcher, parse_arguments, without_changes
from rcan_plugin.options.contradictions import check_contradictions
from rcan_plugin.options.defaults import as_option_file
from rcan_plugin.options.files import check_files
from rcan_plugin.options.mistakes import Mistakes
from rcan_plugin.options.networks import without_side_effects
from rcan_plugin.options.notes import notes
from rcan_plugin.options.read import OptionFile, read
from rcan_plugin.options.schema import check_keys

Parse = Callable[..., tuple[dict[str, Any], Namespace]]
OUR_NAMES = (DegradationPairedDataset.__name__, "AcceleratedSRModel", *(network.__name__ for network in NETWORKS))


def checked(parse_options: Parse, only_ours: bool = True) -> Parse:
    """Make a function that checks the option file, calls BasicSR's `parse_options`, and checks the files it names.

    The file is read once, by a safe loader, with the changes of `--force_yml`; BasicSR gets what was read. Mistakes end
    the program with one message. With `--print-options` it ends after the options are printed.

    Args:
        parse_options: BasicSR's function, or the result of this function.
        only_ours: for BasicSR's own `train.py` and `test.py`: do not check option files in which no data set, network
            or model is this plugin's.
    """
    parse_options = inspect.unwrap(parse_options)

    @functools.wraps(parse_options)
    def parse(root_path: str, is_train: bool = True) -> tuple[dict[str, Any], Namespace]:
        arguments = parse_arguments()
        if only_ours and not arguments.print_options and not _names_ours(arguments.opt):
            return parse_options(root_path, is_train=is_train)
        report_uncaught()
        try:
            with without_side_effects():
                file = understand(arguments, is_train)
            if arguments.print_options:
                print(as_option_file(file.options, is_train, arguments.debug), end="")
                sys.exit()
            with given_to_basicsr(file, arguments):
                opt, namespace = parse_options(root_path, is_train=is_train)
            with without_side_effects():
                check(opt, file, all_epochs=not only_ours)
        except Mistakes as mistakes:
            refuse(arguments.opt, mistakes)
        if opt["rank"] == 0:
            for note in notes(opt):
                print(f"{arguments.opt}: {note}", file=sys.stderr)
        return opt, namespace

    return parse


def understand(arguments: Namespace, is_train: bool) -> OptionFile:
    """Read an option file and check everything that needs no other file and no hardware.

    Args:
        arguments: of `parse_arguments`.
        is_train: true for training, false for testing.

    Raises:
        Mistakes: all mistakes in the file and the arguments.
    """
    file = read(arguments.opt, arguments.force_yml)
    mistakes = check_keys(file.options, is_train)
    mistakes += check_contradictions(file.options, is_train, {mistake.path for mistake in mistakes})
    mistakes += check_launcher(arguments.launcher)
    if any(change.replace(" ", "").startswith("train:total_iter=") for change in arguments.force_yml):
        # A run that is shortened on the command line keeps the file's schedule.
        mistakes = [mistake for mistake in mistakes if mistake.path != ("train", "scheduler", "milestones")]
    if mistakes:
        raise Mistakes(mistakes, file.lines)
    return file


def check(opt: dict[str, Any], file: OptionFile, all_epochs: bool) -> None:
    """Check that this machine has what the options name.

    The files of this plugin's data sets are scanned here; data sets built later in this process use the result.

    Args:
        opt: what BasicSR's `parse_options` returns; changed when resuming (`models.resuming.choose_state`).
        file: the option file.
        all_epochs: the trainer runs as many epochs as `total_iter` takes, as `rcan train` does.

    Raises:
        Mistakes: data, weights, states, GPUs or folders are missing, or do not fit the options.
    """
    forget_scans()
    if mistakes := check_files(opt, str(file.path), all_epochs):
        forget_scans()
        raise Mistakes(mistakes, file.lines)


def refuse(path: str, mistakes: Mistakes) -> None:
    """End the program and print all mistakes. With several ranks, only one prints them."""
    if os.environ.get("RANK", "0") != "0":
        sys.exit(1)
    count = len(mistakes.numbered)
    listed = "\n".join(f"  {line}" for line in str(mistakes).splitlines())
    sys.exit(f"\n{path}: {count} mistake{'s' * (count > 1)}\n{listed}\nNothing was built, moved or written.")


def _names_ours(path: str) -> bool:
    """Whether an option file names a class of this plugin; true for a file that cannot be read."""
    if not Path(path).is_file():
        return True
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        root = yaml.compose(text, Loader=yaml.SafeLoader)  # builds no objects, so it runs no code
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return True
    return not isinstance(root, yaml.MappingNode) or any(name in text for name in OUR_NAMES)


class _PreparsedLoader:
    """A YAML loader that returns options that were read before."""

    options: Mapping[str, Any]

    def __init__(self, stream: object) -> None: ...

    def get_single_data(self) -> Mapping[str, Any]:
        return self.options

    def dispose(self) -> None: ...


@contextmanager
def given_to_basicsr(file: OptionFile, arguments: Namespace) -> Iterator[None]:
    """Make `parse_options` use the options of `file`; on its own it runs code in the file and in `--force_yml`."""
    module: Any = importlib.import_module("basicsr.utils.options")
    loader = type("_GivenOptions", (_PreparsedLoader,), {"options": file.options})
    theirs, argv = module.ordered_yaml, sys.argv
    module.ordered_yaml = lambda: (loader, None)
    sys.argv = [argv[0], *without_changes(arguments)]
    try:
        yield
    finally:
        module.ordered_yaml, sys.argv = theirs, argv
