"""Images that are hard on rounding, and the reference images."""

import cv2
import numpy as np

from tests.reference import REFERENCE


def noise(shape, dtype=np.uint8, seed=0):
    """White noise over the whole range of `dtype`: 0 to 1 for floats."""
    values = np.random.default_rng(seed).random(shape)
    return (values * (np.iinfo(dtype).max + 1)).astype(dtype) if np.dtype(dtype).kind == "u" else values.astype(dtype)


def black_and_white(shape, dtype=np.uint8, seed=0):
    """Nothing but the two ends of the range: the largest overshoots."""
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    return ((np.random.default_rng(seed).random(shape) > 0.5) * top).astype(dtype)


def steps(shape, dtype=np.uint8, seed=0):
    """Flat squares of black and white: ties all along their edges."""
    coarse = black_and_white((shape[0] // 8 + 1, shape[1] // 8 + 1, *shape[2:]), dtype, seed)
    return np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)[: shape[0], : shape[1]])


def read(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def reference_pairs(folder, scale):
    """(name, HR, LR) of every file in REFERENCE / folder / x{scale}; `folder` is such as set5/LRBI_replicate."""
    for path in sorted((REFERENCE / folder / f"x{scale}").iterdir()):
        hr = REFERENCE / folder.split("/")[0] / "HR" / f"x{scale}"
        hr /= path.name.replace("_LRBI_", "_HR_").replace("_LRBD_", "_HR_")
        yield path.name, read(hr), read(path)


BI_FOLDERS = [
    *[("set5/LRBI_replicate", scale) for scale in (2, 3, 4)],
    *[("set5/LRBI_symmetric", scale) for scale in (2, 3, 4, 8)],
    *[("set14/LRBI_replicate", scale) for scale in (2, 3, 4)],
]
BD_FOLDERS = [("set5/LRBD_octave", scale) for scale in (2, 3, 4)]
