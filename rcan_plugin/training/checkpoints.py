"""Checkpoints that are whole or not there: written beside, flushed, renamed."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

log = logging.getLogger("basicsr")

ATTEMPTS = 3
PAUSE = 1.0  # seconds


def save(content: Any, path: str | os.PathLike[str]) -> None:
    """`torch.save` to `path`, whole or not at all.

    Raises:
        OSError: it could not be written in several attempts; what was there before is there still.
    """
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with beside.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            _sync(path.parent)
            return
        except (OSError, RuntimeError) as error:  # torch's writer makes a RuntimeError of a full disk
            beside.unlink(missing_ok=True)
            if attempt == ATTEMPTS:
                raise OSError(
                    f"{path} could not be written in {ATTEMPTS} attempts: {error}. Make room, or mend the disk, and "
                    "go on from the last checkpoint with --auto_resume."
                ) from error
            log.warning("%s could not be written (%s): trying again.", path, error)
            time.sleep(PAUSE)


def load(path: str | os.PathLike[str]) -> Any:
    """What `save` wrote, on the CPU; plain numbers and tensors alone.

    Raises:
        ValueError: it is damaged or holds other things.
        FileNotFoundError: it is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        # torch does not look at the checksums of its files.
        if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):
            raise ValueError(f"its part {damaged} has another checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises almost anything for a damaged file
        raise ValueError(f"{path} cannot be read ({(str(error) or repr(error)).splitlines()[0]})") from None


def states(folder: str | os.PathLike[str]) -> list[Path]:
    """Training states in a folder, the highest iteration first; none where there is no such folder."""
    return sorted(Path(folder).glob("*.state"), key=lambda path: float(path.stem), reverse=True)


def prune(models: Path, training_states: Path, keep: int) -> None:
    """Delete all but the `keep` states that were saved last, and the weights that belong to the others, states first.

    Of a run that went back to an earlier state, the numbers of these may be lower. `net_g_latest.pth`,
    `net_g_best.pth` and the like have no number and stay.
    """
    by_age = sorted(states(training_states), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for state in by_age[keep:]:
        state.unlink(missing_ok=True)
        (models / f"net_g_{state.stem}.pth").unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """See to it that the disk knows the new name, where folders can be told so: not on Windows, nor on all shares."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def random_states() -> list[Any]:
    """Of Python, NumPy and torch, in plain numbers and tensors, so that a state loads with `weights_only=True`."""
    numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002  (BasicSR seeds this one)
    numpy["state"]["key"] = torch.from_numpy(numpy["state"]["key"].astype(np.int64))
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return [random.getstate(), numpy, torch.get_rng_state(), cuda]


def set_random_states(states: list[Any]) -> None:
    """Go on with what `random_states` gave."""
    python, numpy, cpu, cuda = states
    random.setstate((python[0], tuple(python[1]), python[2]))
    keys = numpy["state"]["key"].cpu().numpy().astype(np.uint32)  # BasicSR loads all tensors of a state to the GPU
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": keys}})  # noqa: NPY002
    torch.set_rng_state(cpu.cpu())
    if cuda is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda.cpu())
