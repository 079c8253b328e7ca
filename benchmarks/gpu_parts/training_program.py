"""How training programs are started, in a folder like the project's root."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path

import torch


def program(resumable: bool) -> list[str]:
    """Python's arguments that start training: BasicSR's `train.py`, or `rcan_plugin.train` where that is needed.

    BasicSR's `train.py` knows the plugin only if `import torch` loads it, and resumes on a GPU only.

    Args:
        resumable: the run may be resumed.
    """
    if loads_itself() and (torch.cuda.is_available() or not resumable):
        return ["basicsr/train.py"]
    return ["-m", "rcan_plugin.train"]


@cache
def loads_itself() -> bool:
    """Whether `import torch` loads the plugin, so that BasicSR's own `train.py` knows it."""
    return any(point.name == "rcan_plugin" for point in metadata.entry_points(group="torch.backends"))


def link_basicsr(folder: Path) -> None:
    """Link the installed BasicSR into a folder, where `basicsr/train.py` is expected."""
    link = folder / "basicsr"
    if not link.is_symlink():
        package = Path(str(metadata.distribution("basicsr").locate_file("basicsr"))).resolve()
        link.symlink_to(package, target_is_directory=True)
