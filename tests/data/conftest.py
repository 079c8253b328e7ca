"""Pairs of small images for the data set's tests."""

import pytest

from rcan_plugin.degradations import degrade
from tests.data.several import write_images
from tests.data.tiny import picture, write


@pytest.fixture
def folders(tmp_path):
    """Three pairs at x2, HR with odd sizes among them."""
    for name, size in {"a": (40, 48), "b": (41, 51), "c": (64, 40)}.items():
        hr = picture(*size, seed=ord(name))
        write(tmp_path / "HR" / f"{name}.png", hr)
        write(tmp_path / "LR" / f"{name}.png", degrade(hr, 2, "BI"))
    return tmp_path


@pytest.fixture
def images(tmp_path):
    """A folder `HR` whose images are multiples of some scales and not of others."""
    return write_images(tmp_path)
