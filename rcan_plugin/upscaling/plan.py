"""Decides which picture is written where; raises mistakes before the work."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rcan_plugin._files import kind_of, require_writable
from rcan_plugin.pictures.formats import FORMATS, is_picture_name, output_format, suffix_of
from rcan_plugin.pictures.writing import remove_unfinished
from rcan_plugin.upscaling.inputs import LIST, Found, printable

SHOWN = 10
"""Most files that are listed in a message."""


WRITABLE = tuple(suffix for form in FORMATS.values() for suffix in form.suffixes)
"""Suffixes that results may have, in lower case."""


@dataclass(frozen=True)
class Names:
    """How results are named.

    Attributes:
        output: file or folder of the results as the user wrote it; a separator at its end makes it a folder.
        suffix: text between the name of a picture and the suffix of its format, such as `_x4`.
        format: format of all results, a name of `FORMATS`; None: that of each picture, or PNG if it cannot be written.
    """

    output: str
    suffix: str = ""
    format: str | None = None

    def of(self, below: Path) -> Path:
        """Return the path of a result below the output folder.

        Examples:
            >>> str(Names("out", suffix="_x2").of(Path("sub/a.b.JPG"))), str(Names("out").of(Path("a.gif")))
            ('sub/a.b_x2.JPG', 'a.png')
        """
        own = below.suffix if below.suffix.lower() in WRITABLE else suffix_of("PNG")
        keeps_own = self.format is None or own.lower() in FORMATS[self.format].suffixes
        extension = own if keeps_own or self.format is None else suffix_of(self.format)
        return below.with_name(f"{below.stem if is_picture_name(below) else below.name}{self.suffix}{extension}")


@dataclass(frozen=True)
class Job:
    """A picture to upscale.

    Attributes:
        source: file of the picture.
        output: file of the result.
        replaces: whether the output existed before the run, and may be overwritten.
    """

    source: Path
    output: Path
    replaces: bool = False


@dataclass
class Plan:
    """What to do.

    Attributes:
        jobs: the work, in the order of the inputs.
        existing: results that exist and are kept.
        results: inputs that are left out because they are results of other inputs.
    """

    jobs: list[Job] = field(default_factory=list)
    existing: list[Path] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)


def output_is_file(inputs: Sequence[str], names: Names) -> bool:
    """Whether `names.output` is the file of the result, not a folder of results: true for one picture, unless the
    output is a folder or ends with a separator.

    Raises:
        ValueError: it is neither a file nor a folder, or does not fit the inputs or the other attributes of `names`.
    """
    output, kind = names.output, kind_of(names.output)
    shown, is_named_like_picture = printable(output), Path(output).suffix.lower() in WRITABLE
    single_file = len(inputs) == 1 and inputs[0] != LIST and kind_of(inputs[0]) == "a file"
    if kind == "a folder" or (kind == "nothing" and output.endswith(tuple(filter(None, (os.sep, os.altsep))))):
        return False
    if kind not in ("nothing", "a file") or (kind == "a file" and not single_file):
        raise ValueError(
            f"The output {shown} is {kind}; expected {'a file or ' * single_file}a folder: choose another."
        )
    if not single_file:
        if is_named_like_picture:
            raise ValueError(
                f"The output {shown} is named like a picture, but the inputs are not one file: give a folder "
                f"({shown}{os.sep} makes one of this name)."
            )
        return False
    if not is_named_like_picture:
        raise ValueError(
            f"The output {shown} has {_suffix_in_words(output)}; expected one of {', '.join(WRITABLE)}, or a folder "
            f"that exists or ends with {os.sep}."
        )
    output_format("", path=output, format=names.format)
    if names.suffix:
        raise ValueError(
            f"--suffix {printable(names.suffix)} is for results in a folder, but the output {shown} is a file: drop it."
        )
    return True


def _suffix_in_words(name: str) -> str:
    suffix = Path(name).suffix
    return f"the suffix {printable(suffix)}" if suffix else "no suffix"


def plan(inputs: Sequence[str], found: Sequence[Found], names: Names, overwrite: bool = False) -> Plan:
    """Decide which picture is written where.

    Args:
        inputs: the inputs as the user gave them.
        found: the pictures found in them.
        names: how results are named.
        overwrite: replace existing files instead of keeping them.

    Raises:
        ValueError: two pictures have the same output; an output is an input, or not a file; a folder cannot be made.
        OSError: a folder cannot be written to.
    """
    result = Plan()
    output = Path(names.output)
    if output_is_file(inputs, names):
        jobs = [Job(picture.path, output) for picture in found]
    else:
        jobs = [Job(picture.path, output / names.of(picture.below)) for picture in found]
    if names.suffix and not overwrite:
        jobs, result.results = _without_results(jobs)
    _refuse_inputs_as_outputs(jobs)
    _refuse_same_outputs(jobs)
    for job in jobs:
        kind = kind_of(job.output)
        if kind not in ("nothing", "a file", "a broken link"):
            raise ValueError(f"The output {printable(job.output)} is {kind}: move it away, or choose another output.")
        if kind != "nothing" and not overwrite:
            result.existing.append(job.output)
        else:
            result.jobs.append(Job(job.source, job.output, kind != "nothing"))
    _require_folders({job.output.parent for job in result.jobs})
    return result


def _without_results(jobs: Sequence[Job]) -> tuple[list[Job], list[Path]]:
    """Separate the inputs that are results of an earlier run, written beside the other inputs."""
    outputs = {os.path.realpath(job.output) for job in jobs}
    results = [job.source for job in jobs if os.path.realpath(job.source) in outputs]
    left_out = set(results)
    return [job for job in jobs if job.source not in left_out], results


def _refuse_inputs_as_outputs(jobs: Sequence[Job]) -> None:
    sources = {os.path.realpath(job.source): job.source for job in jobs}
    lines = [
        f"{printable(job.output)}: result of {printable(job.source)}"
        for job in jobs
        if os.path.realpath(job.output) in sources
    ]
    if lines:
        text = "These outputs are inputs, too, and would be overwritten: choose another output, or names with --suffix"
        raise ValueError(listed(text, lines))


def _refuse_same_outputs(jobs: Sequence[Job]) -> None:
    sources = defaultdict(list)
    folders = {folder: os.path.realpath(folder) for folder in {job.output.parent for job in jobs}}
    for job in jobs:
        sources[folders[job.output.parent], job.output.name].append(job)
    lines = [
        f"{printable(same[0].output)}: result of {' and of '.join(printable(job.source) for job in same)}"
        for same in sources.values()
        if len(same) > 1
    ]
    if lines:
        text = "Several pictures would be written to the same file: rename them, or run the command once for each"
        raise ValueError(listed(text, lines))


def _require_folders(folders: Iterable[Path]) -> None:
    """Check that folders can be written to, or made. Of new folders below the same existing folder, one is checked.

    Unfinished files of killed runs in existing folders are removed.
    """
    by_place: dict[Path, Path] = {}
    for folder in sorted(folders):
        place = folder
        while kind_of(place) == "nothing":
            place = place.absolute().parent
        by_place.setdefault(place, folder)
    for folder in by_place.values():
        require_writable("The output folder", folder)
    for folder in by_place:
        remove_unfinished(folder)


def listed(text: str, lines: Sequence[str]) -> str:
    """A message with lines below it, at most `SHOWN`."""
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n  ".join([f"{text}.", *lines[:SHOWN], *more])
