"""ICC profiles for tests: a CMYK printer whose colours are known, sRGB, and one of another name."""

import functools
import itertools
import struct

import numpy as np
from PIL import ImageCms

# Linear sRGB to XYZ, adapted to D50 by Bradford: http://www.brucelindbloom.com/index.html?Eqn_RGB_XYZ_Matrix.html
_TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
_D50 = np.array([0.96422, 1.0, 0.82521])


def lab(rgb) -> np.ndarray:
    """sRGB, 0 to 255, as CIE Lab of D50."""
    values = np.asarray(rgb) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    ratio = _TO_XYZ @ linear / _D50
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def srgb_of_ink(cyan: int, magenta: int, yellow: int, black: int) -> list[int]:
    """The sRGB colour of full inks (0 or 1) in `cmyk`."""
    return [0, 0, 0] if black else [255 - 235 * cyan, 255 - 215 * magenta, 255 - 195 * yellow]


def _tag_text(kind: bytes, text: bytes) -> bytes:
    if kind == b"desc":
        return b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(1 + 78)
    return b"text" + bytes(4) + text + b"\0"


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def cmyk() -> bytes:
    """A profile (ICC.1:2001-04) in which each of the 16 combinations of full inks has the colour `srgb_of_ink`."""
    table = [lab(srgb_of_ink(*ink)) for ink in itertools.product((0, 1), repeat=4)]
    grid = [round(value) for light, a, b in table for value in (light * 652.8, (a + 128) * 256, (b + 128) * 256)]
    ramps = struct.pack(">14H", *(0, 65535) * 7)
    lut = b"mft2" + bytes(4) + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 2, 2)
    lut += ramps[:16] + struct.pack(f">{len(grid)}H", *grid) + ramps[16:]
    tags = {
        b"desc": _tag_text(b"desc", b"Test printer"),
        b"cprt": _tag_text(b"text", b"none"),
        b"wtpt": b"XYZ " + bytes(4) + _fixed(*_D50),
        b"A2B0": lut,
    }
    offset = 128 + 4 + 12 * len(tags)
    index, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        index += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    header = struct.pack(">I4sI", 128 + len(index + body), bytes(4), 0x02400000) + b"prtrCMYKLab "
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*_D50)
    return header.ljust(128, b"\0") + index + body


def other() -> bytes:
    """An RGB profile that does not say that it is sRGB."""
    return srgb().replace("sRGB".encode("utf-16-be"), "Wide".encode("utf-16-be"))


@functools.cache  # it has the time of its creation
def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
