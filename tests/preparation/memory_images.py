"""Sources in memory."""

import io
from functools import partial

import cv2
import numpy as np

from rcan_plugin.images.sources import Source


def source(content: bytes, name: str = "a.png") -> Source:
    return Source(name, name, (len(content), 0), partial(io.BytesIO, content))


def by_opencv(form: str, image: np.ndarray) -> bytes:
    return cv2.imencode(form, image)[1].tobytes()
