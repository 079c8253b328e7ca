"""Checkpoint files, written atomically: to a temporary file, flushed to disk, renamed."""

from __future__ import annotations

import contextlib
import logging
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger("basicsr")

ATTEMPTS = 3
PAUSE = 1.0  # seconds


def save(content: Any, path: str | os.PathLike[str]) -> None:
    """`torch.save` to `path`; the file is complete or not there at all.

    Raises:
        OSError: it could not be written in several attempts; an earlier file of this name is left unchanged.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with temporary.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _flush_folder(path.parent)
            return
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError when the disk is full
            temporary.unlink(missing_ok=True)
            if attempt == ATTEMPTS:
                raise OSError(
                    f"{path} could not be written in {ATTEMPTS} attempts: {error}. Free disk space or repair the disk, "
                    "then resume from the last checkpoint with --auto_resume."
                ) from error
            log.warning("%s could not be written (%s): trying again.", path, error)
            time.sleep(PAUSE)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a file that `save` wrote, to the CPU. Only plain numbers and tensors are accepted.

    Raises:
        ValueError: the file is damaged or holds other objects.
        FileNotFoundError: the file does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        # torch does not verify the checksums of its files.
        if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):
            raise ValueError(f"the checksum of its part {damaged} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises almost anything for a damaged file
        raise ValueError(f"{path} cannot be read ({(str(error) or repr(error)).splitlines()[0]})") from None


def states(folder: str | os.PathLike[str]) -> list[Path]:
    """The training states in a folder, highest iteration first (BasicSR's `auto_resume` takes the first)."""
    return sorted(Path(folder).glob("*.state"), key=lambda path: float(path.stem), reverse=True)


def newest_state(folder: str | os.PathLike[str]) -> Path | None:
    """The training state of the highest iteration in a folder; None if there is none, or no folder."""
    return next(iter(states(folder)), None)


def prune(models: Path, training_states: Path, keep: int) -> None:
    """Delete all but the `keep` most recently written states, and the weights of the deleted ones, states first.

    The most recent files, not the highest iterations: a run that was resumed from an earlier state writes lower
    numbers than it left behind. Weights without a number, such as `net_g_latest.pth` and `net_g_best.pth`, stay.
    """
    by_age = sorted(states(training_states), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for state in by_age[keep:]:
        state.unlink(missing_ok=True)
        (models / f"net_g_{state.stem}.pth").unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Flush a renamed file's folder to disk, where that is possible: not on Windows, nor on all network drives."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
