"""Upscales pictures one after another; while the network runs, the next is read and the previous is written."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from rcan_plugin._files import describe_error, kind_of
from rcan_plugin.pictures import (
    MAX_PIXELS,
    Picture,
    check_output,
    enlarge_rows,
    network_input,
    output_format,
    read,
    write_rows,
)
from rcan_plugin.upscaling.inputs import printable
from rcan_plugin.upscaling.pipe import Pipe, StoppedError
from rcan_plugin.upscaling.plan import Job

WAITING_BYTES = 1 << 28
"""Most bytes of finished rows that wait to be written: larger results are streamed."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk that would occur for all following pictures too."""


class Upscaler(Protocol):
    """The part of `inference.Upscaler` that is used here."""

    scale: int
    channels: int

    def rows(self, image: np.ndarray, /) -> Iterator[np.ndarray]:
        """Yield the result's finished rows from top to bottom."""


@dataclass
class Outcome:
    """The results of a run.

    Attributes:
        written: files that were written.
        failures: pictures that could not be upscaled, with the reason.
        stopped: why the run ended before the last picture; "" if it did not.
    """

    written: list[Path] = field(default_factory=list)
    failures: dict[Path, str] = field(default_factory=dict)
    stopped: str = ""


class Progress:
    """A progress bar of input pixels, with the time left and the number of finished pictures."""

    def __init__(self, jobs: Sequence[Job], pixels: Mapping[Path, int]) -> None:
        self.pixels, self.count, self.finished = dict(pixels), len(jobs), 0
        self.total = sum(self.pixels.get(job.source, 0) for job in jobs)
        self.bar = tqdm(desc=self._count(), total=self.total, unit="px", unit_scale=True, dynamic_ncols=True)
        self.done = 0

    def start_picture(self, job: Job, picture: Picture) -> None:
        """Record that a picture was read; its size may not have been known before."""
        pixels = picture.width * picture.height
        self.total += pixels - self.pixels.get(job.source, 0)
        self.bar.total = self.total
        self.pixels[job.source], self.done = pixels, 0

    def advance(self, pixels: int) -> None:
        """Record that `pixels` more pixels of the picture are upscaled."""
        self.done += pixels
        self.bar.update(pixels)

    def finish_picture(self, job: Job) -> None:
        """Record that a picture is finished or has failed."""
        self.bar.update(self.pixels.get(job.source, 0) - self.done)
        self.done, self.finished = 0, self.finished + 1
        self.bar.set_description(self._count())

    def _count(self) -> str:
        return f"{self.finished} of {self.count} images"


class Run:
    """Upscales pictures with a network.

    Args:
        upscaler: the network.
        quality: quality of lossy formats, 1 to 100; None: the format's default.
        max_pixels: pictures with more pixels are refused.
        say: called with lines for the user.

    Attributes:
        outcome: results so far.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        *,
        quality: int | None = None,
        max_pixels: int = MAX_PIXELS,
        say: Callable[[str], object] = print,
    ) -> None:
        self.upscaler, self.quality, self.max_pixels, self.say = upscaler, quality, max_pixels, say
        self.outcome = Outcome()

    def __call__(self, jobs: Sequence[Job], pixels: Mapping[Path, int]) -> None:
        """Upscale pictures; one that fails does not end the run.

        One picture is read ahead and at most two results are being written, so that memory does not grow with the
        number of pictures. After Ctrl-C the current picture is not written, and the previous one is completed.

        Args:
            jobs: the pictures.
            pixels: their numbers of pixels, as far as known, for the progress bar.
        """
        progress = Progress(jobs, pixels)
        last: tuple[Job, Future[None]] | None = None
        with progress.bar, ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            ahead = reader.submit(self._read, jobs[0]) if jobs else None
            for job, following in itertools.zip_longest(jobs, jobs[1:]):
                assert ahead is not None
                reading, ahead = ahead, reader.submit(self._read, following) if following else None
                current: tuple[Job, Future[None]] | None = None
                with self._noting_failure(job):
                    current = job, self._upscale(job, reading.result(), writer, progress)
                progress.finish_picture(job)
                self._finish(last)
                last = current
                if self.outcome.stopped:
                    break
            self._finish(last)

    def _read(self, job: Job) -> Picture:
        if (kind := kind_of(job.source)) != "a file":  # it was one when the inputs were listed; a FIFO would block
            raise FileNotFoundError(f"is now {kind}" if kind != "nothing" else "no longer exists")
        return read(job.source, max_pixels=self.max_pixels)

    def _upscale(self, job: Job, picture: Picture, writer: ThreadPoolExecutor, progress: Progress) -> Future[None]:
        """Run the network; `writer` writes the finished rows in its thread."""
        scale, pipe = self.upscaler.scale, Pipe(WAITING_BYTES)
        size = picture.width * scale, picture.height * scale
        progress.start_picture(job, picture)
        lost = check_output(output_format("", path=job.output), *size, picture)
        for remark in (*picture.remarks, *lost):
            self.say(f"{printable(job.source)}: {remark}")
        try:
            writing = writer.submit(self._write, job, picture, pipe, size)
            writing.add_done_callback(lambda _: pipe.stop())
            rows = self.upscaler.rows(network_input(picture, self.upscaler.channels))
            for strip in enlarge_rows(picture, rows, scale):
                pipe.put(strip)
                progress.advance(len(strip) * picture.width // scale)
            pipe.end()
        except StoppedError:
            pass  # its result has the reason
        except BaseException:
            pipe.stop()
            raise
        return writing

    def _write(self, job: Job, picture: Picture, rows: Pipe, size: tuple[int, int]) -> None:
        if not job.replaces and os.path.lexists(job.output):
            raise FileExistsError(
                f"{printable(job.output)} was not there when the run began, and is kept: another program made it, or "
                "the disk does not distinguish it from another result."
            )
        job.output.parent.mkdir(parents=True, exist_ok=True)
        write_rows(job.output, rows, picture, *size, quality=self.quality)
        self.outcome.written.append(job.output)  # in this thread, so that it also counts after Ctrl-C

    def _finish(self, work: tuple[Job, Future[None]] | None) -> None:
        if work is not None:
            job, writing = work
            with self._noting_failure(job):
                writing.result()

    @contextlib.contextmanager
    def _noting_failure(self, job: Job) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # decoders and torch raise almost anything
            self.outcome.failures[job.source] = reason = _reason(error, job.source)
            if isinstance(error, OSError) and error.errno in _FULL:
                self.outcome.stopped = reason


def _reason(error: Exception, source: Path) -> str:
    """The error on one line, without the name of the picture at its beginning."""
    text = describe_error(error).removeprefix(str(source)).removeprefix(":").strip()
    text = " ".join(text.split("\n"))
    if isinstance(error, MemoryError):
        return text or "there is not enough memory for it: choose a smaller --tile, or close other programs."
    expected = isinstance(error, OSError | ValueError | RuntimeError | ArithmeticError)
    return text if expected and text else f"{type(error).__name__}: {text}"
