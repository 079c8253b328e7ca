"""Examines option files for `rcan check`: mistakes in them, and what this machine lacks."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rcan_plugin.data.scan import forget_scans
from rcan_plugin.options.check import given_to_basicsr, understand
from rcan_plugin.options.files import check_files
from rcan_plugin.options.mistakes import Mistakes
from rcan_plugin.options.networks import without_side_effects
from rcan_plugin.options.notes import notes
from rcan_plugin.options.read import read
from rcan_plugin.training.random_states import read_random_states, set_random_states


@dataclass
class Findings:
    """Findings about an option file, one line each.

    Attributes:
        mistakes: mistakes; empty for a file that is understood.
        missing: data, weights and GPUs that the file needs and this machine lacks.
        notes: other information for the user.
    """

    mistakes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def examine(path: str | os.PathLike[str], changes: Sequence[str] = ()) -> Findings:
    """Check an option file, and whether this machine has what it names, without side effects in this process.

    Args:
        path: path of the file.
        changes: `KEY:KEY=VALUE` each, as the arguments after `--force_yml`.
    """
    try:
        with _restoring_state():
            return _examine(str(path), changes)
    except Mistakes as mistakes:
        return Findings(str(mistakes).splitlines())


def is_for_training(options: Mapping[str, Any]) -> bool:
    """Whether an option file is for training: a data set `train`, or a section `train` and no data set `test`."""
    sections = options.get("datasets")
    phases = [str(phase) for phase in sections] if isinstance(sections, Mapping) else []
    return "train" in phases or ("train" in options and not any(phase.startswith("test") for phase in phases))


def _examine(path: str, changes: Sequence[str]) -> Findings:
    from basicsr.utils.options import parse_options  # not at the top: BasicSR imports this module

    is_train = is_for_training(read(path, changes).options)
    arguments = Namespace(opt=path, force_yml=changes, launcher="none", auto_resume=False, debug=False, local_rank=0)
    file = understand(arguments, is_train)
    with given_to_basicsr(file, arguments):
        opt, _ = inspect.unwrap(parse_options)(str(Path.cwd()), is_train=is_train)
    found = check_files(opt, path, all_epochs=True)
    wrong, missing = (
        str(Mistakes([mistake for mistake in found if mistake.missing is kind], file.lines)).splitlines()
        for kind in (False, True)
    )
    return Findings(wrong, missing, list(notes(opt)))


@contextlib.contextmanager
def _restoring_state() -> Iterator[None]:
    """Undo a check's side effects: kept scans, random states, lines in the log and on standard output."""
    states = read_random_states()
    try:
        with without_side_effects(), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        forget_scans()
        set_random_states(states)
