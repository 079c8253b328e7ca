"""Checks the files of data sets of BasicSR or other packages before BasicSR renames an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rcan_plugin._files import describe_error, kind_of, require_file, require_folder
from rcan_plugin.images.store import ImageStore, image_names


def check_roots(data: Mapping[str, Any]) -> None:
    """Check that the folders, LMDBs and lists of a data set of BasicSR or another package exist and are complete.

    Args:
        data: options of the data set.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: an LMDB is cut short or lacks images, or a name with an image's suffix is not a file.
        OSError: something may not be read.
    """
    name = f"data set {data.get('name', '?')}"
    for key in ("meta_info_file", "meta_info"):
        if isinstance(data.get(key), str):
            require_file(f"{name}: {key}", data[key])
    for key, value in data.items():
        if key.startswith("dataroot") and isinstance(value, str) and value:
            what = f"{name}: {key}"
            try:
                _check_root(what, Path(value), data)
            except (OSError, ValueError) as error:
                kind = type(error) if isinstance(error, OSError) else ValueError
                text = describe_error(error)
                raise kind(text if text.startswith(what) else f"{what}: {text}") from None


def _check_root(what: str, root: Path, data: Mapping[str, Any]) -> None:
    if kind_of(root) == "a file" and not _is_basicsrs(data.get("type")):
        require_file(what, root)
        return
    require_folder(what, root)
    if root.suffix == ".lmdb":
        ImageStore(root).check_keys()
        return
    for name in image_names(root):
        with (root / name).open("rb"):
            pass


def _is_basicsrs(data_type: Any) -> bool:
    """Whether a data set is one of BasicSR's, which all read folders. Those of other packages may read files."""
    from basicsr.utils.registry import DATASET_REGISTRY  # not at the top: BasicSR imports this module

    return data_type in DATASET_REGISTRY and DATASET_REGISTRY.get(data_type).__module__.startswith("basicsr.")
