"""SHA-256 hashes of the LR images that `degrade` makes from photographs inside scikit-image's wheel.

They prove exactness where the published images (`tests/reference.py`) are absent. The table, `golden.json`, is
written by

    RCAN_REFERENCE=FOLDER python -m tests.degradations.golden

which first compares with every reference image and refuses to write unless no value differs.
"""

import hashlib
import json
import sys
from importlib import resources
from pathlib import Path

import numpy as np

from rcan_plugin.degradations import degrade, noise_rng
from tests.degradations.images import BD_FOLDERS, BI_FOLDERS, read, reference_pairs

TABLE = Path(__file__).with_name("golden.json")
SCALES = (2, 3, 4)
SEED = 0  # of DN's noise

CROPS = {
    "astronaut": np.s_[1:, :509],  # 511x509, colour
    "camera": np.s_[:, 3:],  # 512x509, gray
    "chelsea": np.s_[:, :],  # 300x451, colour
    "coins": np.s_[:, :],  # 303x384, gray
}
"""PNG files only: decoders of JPEG may differ in the last bit."""

METHODS = {
    "BI_replicate": {"kind": "BI", "border": "replicate"},
    "BI_symmetric": {"kind": "BI", "border": "symmetric"},
    "BD": {"kind": "BD"},
    "DN": {"kind": "DN"},
}


def photograph(name):
    with resources.as_file(resources.files("skimage") / "data" / f"{name}.png") as path:
        return np.ascontiguousarray(read(path)[CROPS[name]])


def make_lr(hr, name, method, scale):
    return degrade(hr, scale, **METHODS[method], rng=noise_rng(SEED, name))


def sha256(image):
    """Of the bytes of a uint8 image, row by row, colours in the order B, G, R."""
    assert image.dtype == np.uint8
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def differing_reference_values():
    differing = images = 0
    for folder, scale in BI_FOLDERS + BD_FOLDERS:
        kind, origin = folder.split("/LR")[1].split("_")
        border = "replicate" if kind == "BD" else origin
        for _, hr, lr in reference_pairs(folder, scale):
            differing += np.count_nonzero(degrade(hr, scale, kind, border=border) != lr)
            images += 1
    return differing, images


def main():
    differing, images = differing_reference_values()
    if differing or not images:
        return f"{differing} values differ in {images} reference images: {TABLE.name} is not written"
    table = {
        "origin": "SHA-256 of uint8 LR images, computed by the code that has 0 differing values on all MATLAB bicubic "
        f"files published for Set5 and Set14 and on GNU Octave's BD files of Set5 ({images} images); see golden.py",
        "photographs": {name: sha256(photograph(name)) for name in CROPS},
        "lr": {
            f"{name} {method} x{scale}": sha256(make_lr(photograph(name), name, method, scale))
            for name in CROPS
            for method in METHODS
            for scale in SCALES
        },
    }
    TABLE.write_text(json.dumps(table, indent=2) + "\n")
    print(f"{TABLE}: {len(table['lr'])} LR images")
    return None


if __name__ == "__main__":
    sys.exit(main())
