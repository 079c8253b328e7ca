"""Small images, and options over them, for the data set's tests."""

import cv2
import lmdb
import numpy as np
import pytest


def picture(height: int, width: int, seed: int, dtype=np.uint8, channels: int = 3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    shape = (height, width) if channels == 1 else (height, width, channels)
    return generator.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def write(path, image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def write_lmdb(folder, images: dict[str, np.ndarray]) -> str:
    """As BasicSR's `make_lmdb_from_imgs` lays it out."""
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for name, image in images.items():
            transaction.put(name.encode(), cv2.imencode(".png", image)[1].tobytes())
    lines = [f"{name}.png ({image.shape[0]},{image.shape[1]},3) 1\n" for name, image in images.items()]
    (folder / "meta_info.txt").write_text("".join(lines))
    return str(folder)


def options(root, phase="val", **more) -> dict:
    """Options of the data set over the fixture `folders`; None takes one out."""
    opt = {"name": "tiny", "type": "DegradationPairedDataset", "phase": phase, "scale": 2}
    opt |= {"dataroot_gt": str(root / "HR"), "dataroot_lq": str(root / "LR"), "io_backend": {"type": "disk"}}
    if phase == "train":
        opt |= {"gt_size": 16, "use_hflip": True, "use_rot": True}
    return {key: value for key, value in {**opt, **more}.items() if value is not None}


KINDS = [
    pytest.param(dtype, channels, id=f"{np.dtype(dtype).name}-{channels}")
    for dtype in (np.uint8, np.uint16)
    for channels in (1, 3)
]
