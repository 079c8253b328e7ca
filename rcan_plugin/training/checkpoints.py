"""Checkpoint files, written atomically: to a temporary file, flushed to disk, renamed."""

from __future__ import annotations

import logging
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

from rcan_plugin._files import written_beside

log = logging.getLogger("basicsr")

ATTEMPTS = 3
PAUSE = 1.0  # seconds


def save(content: Any, path: str | os.PathLike[str]) -> None:
    """`torch.save` to `path`; the file is complete or not there at all.

    Raises:
        OSError: it could not be written in several attempts; an earlier file of this name is left unchanged.
    """
    path = Path(path)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with written_beside(path) as temporary, temporary.open("wb") as file:
                torch.save(content, file)
            return
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError when the disk is full
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
        # torch itself does not verify the checksums of its files.
        if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):
            raise ValueError(f"the checksum of its part {damaged} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises almost anything for a damaged file
        raise ValueError(f"{path} cannot be read ({(str(error) or repr(error)).splitlines()[0]})") from None


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a training state, BasicSR's or ours.

    Raises:
        ValueError: it is damaged or not a training state, or its optimizers hold NaN or infinity.
        FileNotFoundError: the file does not exist.
    """
    state = load(path)
    kinds = {"iter": int, "epoch": int, "optimizers": list, "schedulers": list}
    if not isinstance(state, dict):
        raise ValueError(f"{path} is not a training state: it holds a {type(state).__name__}")
    for key, kind in kinds.items():
        if not isinstance(state.get(key), kind):
            found = f"{key} is a {type(state[key]).__name__}" if key in state else f"it has no {key}"
            raise ValueError(f"{path} is not a training state: {found}")
    if not is_finite(state["optimizers"]):
        raise ValueError(f"{path} holds values that are NaN or infinite in its optimizers")
    return state


def is_finite(content: Any) -> bool:
    """Whether all tensors in nested dictionaries and lists are finite."""
    if isinstance(content, torch.Tensor):
        return bool(content.isfinite().all())
    if isinstance(content, dict):
        content = list(content.values())
    return all(map(is_finite, content)) if isinstance(content, (list, tuple)) else True


def states(folder: str | os.PathLike[str]) -> list[Path]:
    """The training states in a folder, highest iteration first: the files `ITERATION.state`."""
    found = (path for path in Path(folder).glob("*.state") if path.stem.isdecimal() and path.is_file())
    return sorted(found, key=lambda path: int(path.stem), reverse=True)


def misnamed_states(folder: str | os.PathLike[str]) -> list[Path]:
    """Other entries of a folder that end in `.state`: copies such as `30 (copy).state`, folders, hidden files."""
    return sorted(set(Path(folder).glob("*.state")) - set(states(folder)))


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Remove the files that `save` had begun in a folder when its process was killed."""
    for part in Path(folder).glob("*.part"):
        part.unlink(missing_ok=True)


def set_aside(state: Path) -> Path:
    """Rename a training state so that no run resumes from it. Returns its new path."""
    return state.replace(state.with_name(f"{state.name}.rejected"))


def prune(models: Path, training_states: Path, keep: int) -> None:
    """Delete all but the `keep` most recently written states, and the weights of the deleted states.

    The time of writing counts, not the iteration: a run that was resumed from an earlier state writes lower iterations
    than existing files have. Weights without an iteration, such as `net_g_latest.pth` and `net_g_best.pth`, are kept.
    Weights are deleted first: if the process is killed in between, the next call deletes the state.
    """
    by_age = sorted(states(training_states), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for state in by_age[keep:]:
        (models / f"net_g_{state.stem}.pth").unlink(missing_ok=True)
        state.unlink(missing_ok=True)
