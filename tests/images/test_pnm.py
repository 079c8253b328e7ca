"""Binary PNM, the values of raw LMDBs."""

import cv2
import numpy as np
import pytest
from PIL import Image

from rcan_plugin.images import pnm
from tests.data.tiny import KINDS, picture


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_others_decode_what_is_encoded(dtype, channels, tmp_path):
    image = picture(7, 5, seed=1, dtype=dtype, channels=channels)
    content = pnm.encode(image)
    assert np.array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), image)
    (tmp_path / "a.pnm").write_bytes(content)
    with Image.open(tmp_path / "a.pnm") as opened:
        assert opened.size == (5, 7)
    lying = pnm.view(memoryview(content))
    assert lying is not None and not lying.flags.writeable and not lying.flags.owndata
    assert np.array_equal(lying if channels == 1 else lying[..., ::-1], image)


def test_what_is_no_pnm_has_no_view_and_a_wrong_length_is_reported():
    image = picture(7, 5, seed=1)
    assert pnm.view(cv2.imencode(".png", image)[1].tobytes()) is None
    assert pnm.view(b"P6\n5 7\n127\n" + bytes(105)) is None, "another range of values is left to the decoders"
    content = pnm.encode(image)
    for wrong in (content[:-1], content + b"\0"):
        with pytest.raises(ValueError, match=f"it has {len(wrong)} bytes and its header says {len(content)}"):
            pnm.view(wrong)
