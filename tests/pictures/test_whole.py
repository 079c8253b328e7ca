"""Files as people have them: read, enlarged by a stand-in that repeats pixels, written, and read by other programs."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from rcan_plugin.pictures import enlarge, output_format, read, suffix_of, write
from rcan_plugin.pictures.picture import white_value
from rcan_plugin.resampling.bicubic import imresize
from tests.pictures.files import CONVERTED, FILES, to_opencv


def doubled(image: np.ndarray) -> np.ndarray:
    return image.repeat(2, 0).repeat(2, 1)


def split(right: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    return (right[..., :-1], right[..., -1]) if right.shape[2] in (2, 4) else (right, None)


def read_otherwise(path) -> np.ndarray:
    """Pixels of a PNG or TIFF, H x W x C, as other programs see them."""
    if path.suffix == ".tif":
        return np.atleast_3d(tifffile.imread(path))
    with Image.open(path) as image:
        if image.mode in ("L", "LA", "RGB", "RGBA") and "16B" not in str(image.tile):
            return np.atleast_3d(np.asarray(image))
        gray_alpha = "LA;16B" in str(image.tile)
    values = np.atleast_3d(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED))
    return values[..., [0, 3]] if gray_alpha else to_opencv(values)


@pytest.mark.parametrize("name", FILES)
def test_a_picture_stays_what_it_is(name, tmp_path):
    path = tmp_path / name
    color, alpha = split(FILES[name](path))
    picture = read(path)

    assert picture.color.dtype == color.dtype
    assert picture.color.shape == color.shape
    visible = np.ones(color.shape[:2], bool) if alpha is None else alpha >= white_value(color.dtype) / 16
    differences = np.abs(picture.color.astype(float) - color)[visible] / white_value(color.dtype)
    tolerance = 2 / 255 if name in CONVERTED else (1.001 / 65535 if "associated" in name else 0)
    if name == "associated.tif":
        tolerance = 1 / 255
    assert differences.max(initial=0) <= tolerance
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        assert picture.alpha.dtype == alpha.dtype
        assert np.array_equal(picture.alpha, alpha)

    form = output_format(picture.format)
    form = form if form in ("PNG", "TIFF") else "PNG"
    out = tmp_path / f"out{suffix_of(form)}"
    write(out, enlarge(picture, doubled, 2))
    new_color, new_alpha = split(read_otherwise(out))
    assert new_color.dtype == color.dtype
    assert np.array_equal(new_color[doubled(visible)], doubled(picture.color)[doubled(visible)])
    if alpha is not None:
        right = np.clip(imresize(alpha.astype(np.float64), 2), 0, white_value(alpha.dtype))
        assert np.abs(new_alpha - right).max() <= (1e-6 if alpha.dtype.kind == "f" else 0.5 + 1e-6)
    assert [file.name for file in tmp_path.iterdir() if ".part" in file.name] == []
