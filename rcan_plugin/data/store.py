"""Where images lie: a folder of files or an LMDB of encoded images, read the same way."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import lmdb
import numpy as np
from PIL import Image, UnidentifiedImageError

SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"])
"""Endings, in lower case, of what counts as an image in a folder; anything else there is passed over."""

GRAY_MODES = frozenset(["1", "L", "LA", "I", "I;16"])  # Pillow's names

# MATLAB's `rgb2ycbcr` (ITU-R BT.601, 16 to 235 of 255), in OpenCV's order B, G, R.
Y_WEIGHTS = np.array([24.966, 128.553, 65.481])
Y_OFFSET = 16.0


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before its pixels: sides in pixels, has it alpha, is it gray."""

    height: int
    width: int
    alpha: bool
    gray: bool


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
        if self.is_lmdb:
            for name in ("data.mdb", "meta_info.txt"):
                if not (self.root / name).is_file():
                    raise FileNotFoundError(
                        f"LMDB {self.root} has no {name}: it was not made to its end, make it anew."
                    )
            lines = (self.root / "meta_info.txt").read_text().splitlines()
            # BasicSR writes `name.png (height,width,channels) compression` and cuts the key at the first dot.
            self.names = sorted(line.split(".")[0] for line in lines if line.strip())
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
        return _environment(self.root).begin(buffers=True)

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
        """Size and alpha, without decoding the pixels where possible.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: it is empty or cannot be read as an image.
        """
        try:
            with warnings.catch_warnings(), self._open(name) as file, Image.open(file) as image:
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                # 0x0112 is EXIF's orientation: from 5 on on its side. Which formats OpenCV turns upright depends on its
                # version: then the pixels decide. (Without the first condition Pillow would decode every PNG.)
                if "exif" not in image.info or image.getexif().get(0x0112, 1) < 5:
                    alpha = "A" in image.getbands() or "transparency" in image.info
                    return Header(image.height, image.width, alpha, gray=image.mode in GRAY_MODES)
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
            pass
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

    def _decode(self, name: str, content: bytes, flags: int) -> np.ndarray:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        if image is None:
            raise ValueError(
                f"{self.describe(name)} ({len(content)} bytes) cannot be read as an image: it is damaged or cut short, "
                "fetch or make it again."
            )
        return image


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


def _environment(root: Path) -> lmdb.Environment:
    key = str(root.resolve())
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
