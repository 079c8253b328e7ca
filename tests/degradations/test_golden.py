"""`degrade` to the bit, without any reference image: hashes of LR images of photographs inside scikit-image."""

import json

import pytest

from tests.degradations.golden import CROPS, METHODS, SCALES, TABLE, make_lr, photograph, sha256

GOLDEN = json.loads(TABLE.read_text())


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CROPS)
def test_lr_images_have_the_bytes_of_the_code_that_equals_matlab_and_octave(name, method, scale):
    hr = photograph(name)
    assert sha256(hr) == GOLDEN["photographs"][name], f"another {name}.png than the one in scikit-image 0.26"
    assert sha256(make_lr(hr, name, method, scale)) == GOLDEN["lr"][f"{name} {method} x{scale}"]


def test_every_entry_of_the_table_is_tested():
    assert len(GOLDEN["lr"]) == len(set(GOLDEN["lr"].values())) == len(CROPS) * len(METHODS) * len(SCALES)
