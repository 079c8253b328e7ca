"""Checks the folders that BasicSR renames, makes and writes to, before it does."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rcan_plugin._files import require_folder, require_writable


def check_outputs(opt: Mapping[str, Any], option_file: str, resuming: bool) -> None:
    """Check that a run can write its output, and that nothing it reads is in a folder that BasicSR renames.

    Args:
        opt: what BasicSR's `parse_options` returns.
        option_file: path of the option file, which BasicSR copies.
        resuming: whether the run is resumed in its folders; a new run renames existing ones.

    Raises:
        FileNotFoundError: the folder of the run to resume does not exist.
        ValueError: a file is where a folder should be, or a file that is read would be moved.
        OSError: a folder may not be written to or renamed, or the disk is full.
    """
    if opt.get("rank"):
        return  # only the first process writes
    path = opt["path"]
    root = Path(path["experiments_root" if opt["is_train"] else "results_root"])
    logs = root.parents[len(Path(opt["name"]).parts)] / "tb_logger" / opt["name"]
    if opt["is_train"] and opt.get("auto_resume") and Path(path["training_states"]).exists():
        # BasicSR would find no state, start a new run and rename this one.
        require_folder("folder of the run to resume", path["training_states"])
    with_logs = opt["is_train"] and (opt.get("logger") or {}).get("use_tb_logger") and "debug" not in opt["name"]
    if not resuming:
        for folder in [root, logs] if with_logs else [root]:
            _check_renamed(folder, opt, option_file)
        return
    remedy = "set name to that of the run to resume, or start a new run from its weights (pretrain_network_g)"
    for key in ("experiments_root", "models", "training_states"):
        require_folder("folder of the run to resume", path[key], remedy)
    for folder in (root, Path(path["models"]), Path(path["training_states"]), Path(path["visualization"])):
        require_writable("output folder", folder)
    if with_logs:
        require_writable("output folder", logs)
    _check_copy(root / Path(option_file).name, option_file)


def _check_renamed(folder: Path, opt: Mapping[str, Any], option_file: str) -> None:
    """Check that a folder can be renamed if it exists, and made."""
    require_writable("output folder", folder.parent)
    if folder.is_symlink() and not folder.exists():
        raise ValueError(f"output folder {folder} is a broken link: remove it.")
    if not folder.exists():
        return
    parent, owner = folder.parent.stat(), folder.lstat().st_uid
    # In a folder such as /tmp only its owner may rename what is in it.
    if parent.st_mode & stat.S_ISVTX and os.geteuid() not in (0, owner, parent.st_uid):
        raise PermissionError(f"output folder {folder} belongs to another user and cannot be renamed: change name.")
    if folder.is_mount():
        raise ValueError(f"output folder {folder} is a mount point and cannot be renamed: change name.")
    bases = {Path(os.path.abspath(folder)), folder.parent.resolve() / folder.name}  # noqa: PTH100  (links kept)
    for what, value in _read_files(opt, option_file):
        places = {Path(os.path.abspath(value)), Path(value).resolve()}  # noqa: PTH100
        if any(place.is_relative_to(base) for place in places for base in bases):
            raise ValueError(
                f"{what}: {value} is in {folder}, the output of an earlier run, which BasicSR renames before it is "
                "read: change name, or copy it to another folder."
            )


def _read_files(opt: Mapping[str, Any], option_file: str) -> Iterator[tuple[str, str]]:
    """Yield a description and the path of each file or folder that a run reads."""
    yield "option file", option_file
    for key, value in opt["path"].items():
        if key.startswith("pretrain_network") and isinstance(value, str):
            yield f"path: {key}", value
    for data in opt["datasets"].values():
        for key, value in data.items():
            if key.startswith(("dataroot", "meta_info")) and isinstance(value, str):
                yield f"data set {data.get('name', '?')}: {key}", value


def _check_copy(copy: Path, option_file: str) -> None:
    """Check that BasicSR can write its copy of the option file."""
    if not copy.exists():
        return
    if copy.samefile(option_file):
        raise ValueError(
            f"option file {option_file} is what BasicSR overwrites when it resumes this run: copy it to another folder "
            "and name that."
        )
    with copy.open("r+b"):
        pass
