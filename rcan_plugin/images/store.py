"""Where images lie: a folder of files or an LMDB of encoded images, read the same way."""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import cv2
import lmdb
import numpy as np
from PIL import Image

from rcan_plugin.images import pnm
from rcan_plugin.images.buffers import buffer

SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"])
"""Endings, in lower case, of what counts as an image in a folder; anything else there is passed over."""

GRAY_MODES = frozenset(["1", "L", "LA", "I", "I;16"])  # Pillow's names
ALPHA_MODES = frozenset(["LA", "La", "PA", "RGBA", "RGBa"])

# MATLAB's `rgb2ycbcr` (ITU-R BT.601, 16 to 235 of 255), in OpenCV's order B, G, R.
Y_WEIGHTS = np.array([24.966, 128.553, 65.481])
Y_OFFSET = 16.0


# A line of meta_info.txt as BasicSR writes it, `name.png (height,width,channels) compression`; it cuts the key at the
# first dot.
_META_LINE = re.compile(r"^([^.\n]+)[^(\n]*(?:\((\d+), ?(\d+), ?(\d+)\))?.*$", re.MULTILINE)

Window = tuple[int, int, int, int]


class Header(NamedTuple):
    """What an image says of itself before its pixels.

    Attributes:
        height, width: in pixels.
        alpha, gray: whether it is so.
        mode: Pillow's name of its pixels, "" where Pillow was not asked.
        bits: a value, as far as that is known: 8 or 16.
    """

    height: int
    width: int
    alpha: bool
    gray: bool
    mode: str = ""
    bits: int = 8


class ImageStore:
    """Images of one folder or LMDB, by name: the path below the folder, or the key in the LMDB.

    Holds no open file, so that it can be sent to a worker process.

    Args:
        root: a folder with image files, or an LMDB as BasicSR makes it (a folder `*.lmdb` with `meta_info.txt`).

    Raises:
        FileNotFoundError: the folder, or what makes it an LMDB, is missing.
        ValueError: it holds no image.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser()
        if not self.root.is_dir():
            found = "is a file" if self.root.exists() else "does not exist"
            raise FileNotFoundError(f"folder {self.root} {found} (looked for from {Path.cwd()}).")
        self.is_lmdb = self.root.suffix == ".lmdb"
        self._real_path = str(self.root.resolve())  # the same environment by whatever name
        if self.is_lmdb:
            for name in ("data.mdb", "meta_info.txt"):
                if not (self.root / name).is_file():
                    raise FileNotFoundError(
                        f"LMDB {self.root} has no {name}: it was not made to its end, make it anew."
                    )
            lines = _META_LINE.findall((self.root / "meta_info.txt").read_text())
            self._shapes = {key: (int(height), int(width), int(depth)) for key, height, width, depth in lines if depth}
            self.names = sorted(key for key, *_ in lines if key.strip())
        else:
            self.names = sorted(
                entry.name
                for entry in os.scandir(self.root)
                if entry.is_file() and not entry.name.startswith(".") and Path(entry.name).suffix.lower() in SUFFIXES
            )
        if not self.names:
            raise ValueError(f"{self.root} holds no image (looked for {', '.join(sorted(SUFFIXES))}).")

    def __len__(self) -> int:
        return len(self.names)

    def path(self, name: str) -> str:
        """What BasicSR calls the image's path: the file's, or in an LMDB the key."""
        return name if self.is_lmdb else str(self.root / name)

    def stem(self, name: str) -> str:
        """The image's name without its ending: the same in a folder and in the LMDB made of it."""
        return name if self.is_lmdb else Path(name).stem

    def describe(self, name: str) -> str:
        """The image's place for an error message."""
        return f"image {name} of LMDB {self.root}" if self.is_lmdb else f"image {self.root / name}"

    def _open(self, name: str) -> BinaryIO:
        if not self.is_lmdb:
            return (self.root / name).open("rb")
        with self._begin() as transaction:
            # A header needs no more, and what is not touched is not read from disk.
            return io.BytesIO(bytes((transaction.get(name.encode()) or b"")[: 1 << 16]))

    def _begin(self) -> lmdb.Transaction:
        return _environment(self._real_path).begin(buffers=True)

    def read_bytes(self, name: str) -> bytes:
        """The encoded image.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: it is empty.
        """
        if self.is_lmdb:
            with self._begin() as transaction:
                found = transaction.get(name.encode())
                content = b"" if found is None else bytes(found)
            if found is None:
                raise FileNotFoundError(f"{self.describe(name)} is named in meta_info.txt and not in the data.")
        else:
            content = (self.root / name).read_bytes()
        if not content:
            raise ValueError(f"{self.describe(name)} is empty (0 bytes): fetch or make it again.")
        return content

    def header(self, name: str) -> Header:
        """Size and alpha, from an LMDB's meta_info.txt or the head of a file; of both only if need be the pixels.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: it is empty or cannot be read as an image.
        """
        if self.is_lmdb and (shape := self._shapes.get(name)):
            return Header(shape[0], shape[1], shape[2] in (2, 4), shape[2] <= 2)
        with self._open(name) as file:
            found = header_of(file)
        if found is not None:
            return found
        height, width = self._decode(name, self.read_bytes(name), cv2.IMREAD_COLOR).shape[:2]
        return Header(height, width, alpha=False, gray=False)

    def read(self, name: str, *, keep_depth: bool = False, channels: int = 3) -> np.ndarray:
        """Decode one image; alpha is dropped.

        Args:
            name: one of `names`.
            keep_depth: keep 16 bits a value; otherwise they are cut to 8, as BasicSR does.
            channels: 3 for colour (gray becomes three equal channels, as BasicSR does), 1 for gray as it is and colour
                turned into Y (MATLAB's `rgb2ycbcr`: 16 to 235 of 255, rounded to the image's own type).

        Returns:
            H x W x channels, uint8 or uint16, B, G, R as OpenCV has it.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: it is empty or cannot be read as an image.
        """
        flags = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_ANYCOLOR
        image = self._decode(name, self.read_bytes(name), flags | (cv2.IMREAD_ANYDEPTH if keep_depth else 0))
        if image.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"{self.describe(name)} has {image.dtype} values; expected 8 or 16 bits: convert it.")
        if channels == 1:
            if image.ndim == 2:
                return image[..., None]
            # OpenCV makes colour of gray with alpha.
            return image[..., :1] if self.header(name).gray else to_y(image)
        return image

    def crop(
        self, name: str, window: Window, *, keep_depth: bool = False, channels: int = 3, use: str | None = None
    ) -> np.ndarray:
        """A window of what `read` gives. Out of a raw LMDB it takes no more from disk than the rows it needs.

        Args:
            name, keep_depth, channels: as in `read`.
            window: (top, left, height, width) in pixels.
            use: a name for `buffers.buffer`, where the result may lie: then it is gone with the next of this use.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: it cannot be read as an image, or the window is not inside it.
        """
        top, left, height, width = window
        part = None
        if self.is_lmdb:
            with self._begin() as transaction:
                value = transaction.get(name.encode())
                lying = None if value is None else self._lying(name, value)
                if lying is not None:
                    # A copy: what lies in the memory map is gone with the transaction.
                    part = _native(lying[top : top + height, left : left + width], keep_depth, channels, use)
        if part is None:
            part = self.read(name, keep_depth=keep_depth, channels=channels)[top : top + height, left : left + width]
        if part.shape[:2] != (height, width):
            raise ValueError(
                f"{self.describe(name)} has no window {window} (top, left, height, width): it is not of the size that "
                "meta_info.txt says. Make the LMDB anew."
            )
        return part

    def _lying(self, name: str, value: bytes | memoryview) -> np.ndarray | None:
        try:
            return pnm.view(value)
        except ValueError as error:
            raise ValueError(f"{self.describe(name)} is damaged: {error}. Make the LMDB anew.") from None

    def _decode(self, name: str, content: bytes, flags: int) -> np.ndarray:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        if image is None:
            raise ValueError(
                f"{self.describe(name)} ({len(content)} bytes) cannot be read as an image: it is damaged or cut short, "
                "fetch or make it again."
            )
        return image


def header_of(file: IO[bytes]) -> Header | None:
    """What Pillow reads of an image's head; None where only the pixels can tell, or it is no image."""
    try:
        with warnings.catch_warnings(), Image.open(file) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # 0x0112 is EXIF's orientation: from 5 on on its side. Which formats OpenCV turns upright depends on its
            # version: then the pixels decide. (Without the first condition Pillow would decode every PNG.)
            if "exif" in image.info and image.getexif().get(0x0112, 1) >= 5:
                return None
            deep = image.mode.startswith("I") or any(_is_deep(codec, more) for codec, _, _, more in image.tile)
            alpha = image.mode in ALPHA_MODES or "transparency" in image.info
            gray = image.mode in GRAY_MODES
            return Header(image.height, image.width, alpha, gray, image.mode, 16 if deep else 8)
    except MemoryError:
        raise
    except Exception:  # Pillow raises almost anything for a damaged head
        return None


def _is_deep(codec: str, arguments: Any) -> bool:
    """16-bit colour is RGB to Pillow too; the raw mode tells, or of PPM the largest value."""
    raw_mode, *more = arguments if isinstance(arguments, tuple) else (arguments,)
    return "16" in str(raw_mode) or (codec == "ppm" and more[-1] > 255)


def _native(part: np.ndarray, keep_depth: bool, channels: int, use: str | None) -> np.ndarray:
    """A window of PNM pixels as `ImageStore.read` gives them: B, G, R, in this machine's order of bytes."""
    if part.dtype != np.uint8:
        part = part.astype(np.uint16) if keep_depth else (part >> 8).astype(np.uint8)
    if part.ndim == 2:
        return cv2.cvtColor(part, cv2.COLOR_GRAY2BGR) if channels == 3 else part[..., None].copy()
    # One value of each cache line (64 bytes) first: this loop waits for many of them at once, OpenCV's for one by one.
    part[:, :: 64 // (3 * part.itemsize), 0].T.copy()
    target = None if use is None else buffer(use, part.shape, part.dtype)
    swapped: np.ndarray = cv2.cvtColor(part, cv2.COLOR_RGB2BGR, dst=target)
    return swapped if channels == 3 else to_y(swapped)


def to_y(image: np.ndarray) -> np.ndarray:
    """Luma of a B, G, R image, as MATLAB's `rgb2ycbcr` gives it.

    Args:
        image: H x W x 3, uint8 or uint16.

    Returns:
        H x W x 1 of the same type; black is 16 and white 235 of 255.
    """
    peak = np.iinfo(image.dtype).max
    luma = (image @ (Y_WEIGHTS / 255)) + Y_OFFSET * peak / 255
    return np.floor(luma + 0.5).astype(image.dtype)[..., None]


_environments: dict[str, lmdb.Environment] = {}
"""One handle a process: lmdb refuses to open an environment twice."""


def _environment(key: str) -> lmdb.Environment:
    if key not in _environments:
        _environments[key] = lmdb.open(key, readonly=True, lock=False, readahead=False, meminit=False)
    return _environments[key]


def _close_environments() -> None:
    for environment in _environments.values():
        environment.close()
    _environments.clear()


# A handle must not cross a fork; and as long as it is open there, lmdb would refuse the worker one of its own.
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_close_environments)
