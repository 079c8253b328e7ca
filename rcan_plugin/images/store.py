"""`ImageStore`: reads the images of a folder of files or of an LMDB in the same way."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import BinaryIO

import cv2
import lmdb
import numpy as np

from rcan_plugin._files import kind_of
from rcan_plugin.images import pnm
from rcan_plugin.images.buffers import buffer
from rcan_plugin.images.decode import ImageError, decode_pixels
from rcan_plugin.images.environments import check_size, environment, missing_keys
from rcan_plugin.images.header import SUFFIXES, Header, count_ignored, of_pixels, read_header
from rcan_plugin.images.luma import bgr_to_y

# A line of meta_info.txt as BasicSR writes it, `name.png (height,width,channels) compression`. BasicSR cuts the key at
# the first dot.
_META_LINE = re.compile(r"^([^.\n]+)[^(\n]*(?:\((\d+), ?(\d+), ?(\d+)\))?.*$", re.MULTILINE)

_HEADER_BYTES = 1 << 16  # bytes of an LMDB value that are read for a header; the rest is not fetched from disk
_CACHE_LINE = 64  # bytes

Window = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""


class ImageStore:
    """The images of one folder or LMDB, by name: the file name, or the key in the LMDB.

    Holds no open file, so that it can be pickled and sent to a worker process.

    Args:
        root: a folder of image files, or an LMDB as BasicSR makes it (a folder `*.lmdb` with `meta_info.txt`).

    Attributes:
        names: all names, sorted.
        ignored: other content of the folder: `3 .gif, 1 folder`; "" if there is none.

    Raises:
        FileNotFoundError: the folder, or a file of the LMDB, is missing.
        ValueError: it holds no image, or a name with an image's suffix is not a file; the LMDB's data are cut short.
        OSError: it may not be read.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser()
        if not self.root.is_dir():
            problem = f"is {kind_of(self.root)}" if self.root.exists() else "does not exist"
            raise FileNotFoundError(f"folder {self.root} {problem} (looked for from {Path.cwd()}).")
        self.is_lmdb = self.root.suffix == ".lmdb"
        self.ignored = ""
        self._real_path = str(self.root.resolve())  # one environment, by whatever path it is named
        if self.is_lmdb:
            for name in ("data.mdb", "meta_info.txt"):
                if not (self.root / name).is_file():
                    raise FileNotFoundError(f"LMDB {self.root} has no {name}: it is incomplete, make it again.")
            lines = _META_LINE.findall((self.root / "meta_info.txt").read_text(encoding="utf-8-sig"))
            self._shapes = {key: (int(height), int(width), int(depth)) for key, height, width, depth in lines if depth}
            self.names = sorted(key for key, *_ in lines if key.strip())
            check_size(self._real_path)
        else:
            self.names = sorted(image_names(self.root))
            entries = [entry for entry in os.scandir(self.root) if not entry.name.startswith(".")]
            files = [entry.name for entry in entries if entry.is_file()]
            self.ignored = count_ignored(files, folders=sum(entry.is_dir() for entry in entries))
        if not self.names:
            others = f", but {self.ignored}" if self.ignored else ""
            raise ValueError(f"{self.root} holds no image (looked for {', '.join(sorted(SUFFIXES))}){others}.")

    def __len__(self) -> int:
        return len(self.names)

    def check_keys(self) -> None:
        """Check that the LMDB holds every image that its meta_info.txt names.

        Raises:
            ValueError: it does not.
        """
        missing = missing_keys(self._real_path, self.names) if self.is_lmdb else []
        if missing:
            raise ValueError(
                f"LMDB {self.root}: meta_info.txt names {len(missing)} images that data.mdb does not hold, such as "
                f"{missing[0]!r}: the two files do not belong together, make the LMDB again."
            )

    def path(self, name: str) -> str:
        """Return what BasicSR calls the image's path: the path of the file, or the key in the LMDB."""
        return name if self.is_lmdb else str(self.root / name)

    def stem(self, name: str) -> str:
        """Return the image's name without suffix: the same in a folder and in an LMDB made from it."""
        return name if self.is_lmdb else Path(name).stem

    def describe(self, name: str) -> str:
        """Return the image's location for an error message."""
        return f"image {name} of LMDB {self.root}" if self.is_lmdb else f"image {self.root / name}"

    def _open(self, name: str) -> BinaryIO:
        if not self.is_lmdb:
            return (self.root / name).open("rb")
        with self._begin() as transaction:
            return io.BytesIO(bytes((transaction.get(name.encode()) or b"")[:_HEADER_BYTES]))

    def _begin(self) -> lmdb.Transaction:
        return environment(self._real_path).begin(buffers=True)

    def read_bytes(self, name: str) -> bytes:
        """Return the encoded image.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: it is empty.
        """
        if self.is_lmdb:
            try:
                with self._begin() as transaction:
                    value = transaction.get(name.encode())
                    content = b"" if value is None else bytes(value)
            except lmdb.Error as error:
                raise ValueError(f"{self.describe(name)} cannot be read ({error}): make the LMDB again.") from None
            if value is None:
                raise FileNotFoundError(f"{self.describe(name)} is named in meta_info.txt but missing in data.mdb.")
        else:
            content = (self.root / name).read_bytes()
        if not content:
            raise ValueError(f"{self.describe(name)} is empty (0 bytes): fetch or make it again.")
        return content

    def header(self, name: str) -> Header:
        """Return size, channels and alpha: from an LMDB's meta_info.txt, from the file header, or from the pixels.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: it is empty or cannot be read as an image.
        """
        if self.is_lmdb and (shape := self._shapes.get(name)):
            return Header(shape[0], shape[1], shape[2] in (2, 4), shape[2] <= 2)
        return self.file_header(name)

    def file_header(self, name: str) -> Header:
        """Return the header of the encoded image. For an LMDB it has more information than meta_info.txt.

        Raises:
            FileNotFoundError, ValueError: as in `header`.
        """
        with self._open(name) as file:
            header = read_header(file)
        if header is None or header.turned:
            header = of_pixels(self._decode(name, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH), header)
        return header

    def read(self, name: str, *, keep_depth: bool = False, channels: int = 3) -> np.ndarray:
        """Decode an image; alpha is dropped.

        Args:
            name: one of `names`.
            keep_depth: keep 16 bits per value; otherwise they are cut to 8, as BasicSR does.
            channels: 3 for colour: gray becomes three equal channels, as in BasicSR. 1 for gray: gray stays as it is,
                colour becomes luma (MATLAB's `rgb2ycbcr`: 16 to 235 of 255, rounded to the image's type).

        Returns:
            H x W x channels, uint8 or uint16, in OpenCV's order B, G, R.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: it is empty or cannot be read as an image.
        """
        flags = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_ANYCOLOR
        image = self._decode(name, flags | (cv2.IMREAD_ANYDEPTH if keep_depth else 0))
        if channels == 1:
            if image.ndim == 2:
                return image[..., None]
            # OpenCV decodes gray with alpha to colour.
            return image[..., :1] if self.header(name).gray else bgr_to_y(image)
        return image

    def crop(
        self, name: str, window: Window, *, keep_depth: bool = False, channels: int = 3, use: str | None = None
    ) -> np.ndarray:
        """Return a window of what `read` returns. From a raw LMDB, only the needed rows are read from disk.

        Args:
            name, keep_depth, channels: as in `read`.
            window: (top, left, height, width) in pixels.
            use: if given, the result may be in `buffers.buffer(use, ...)`; the next crop with this `use` overwrites it.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: it cannot be read as an image, or the window is not inside it.
        """
        top, left, height, width = window
        part = None
        if self.is_lmdb:
            with self._begin() as transaction:
                value = transaction.get(name.encode())
                pixels_view = None if value is None else self._view_pnm(name, value)
                if pixels_view is not None:
                    # Copy now: the view is invalid after the transaction.
                    part = _converted(pixels_view[top : top + height, left : left + width], keep_depth, channels, use)
        if part is None:
            part = self.read(name, keep_depth=keep_depth, channels=channels)[top : top + height, left : left + width]
        if part.shape[:2] != (height, width):
            raise ValueError(
                f"{self.describe(name)} has no window {window} (top, left, height, width): its size differs from that "
                "in meta_info.txt. Make the LMDB again."
            )
        return part

    def _view_pnm(self, name: str, value: bytes | memoryview) -> np.ndarray | None:
        try:
            return pnm.view(value)
        except ValueError as error:
            raise ValueError(f"{self.describe(name)} is damaged: {error}. Make the LMDB again.") from None

    def _decode(self, name: str, flags: int) -> np.ndarray:
        try:
            return decode_pixels(self.read_bytes(name), flags)
        except ImageError as error:
            raise ValueError(f"{self.describe(name)} {error}.") from None


def image_names(folder: Path) -> list[str]:
    """Return the names of the image files in a folder, in no order, without looking into them.

    Raises:
        ValueError: a name with an image's suffix is not a file: a FIFO or a device would block its reader.
        OSError: the folder may not be listed.
    """
    names = []
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or Path(entry.name).suffix.lower() not in SUFFIXES or entry.is_dir():
            continue
        if not entry.is_file():
            raise ValueError(f"{folder / entry.name} is {kind_of(entry.path)}; expected an image: remove it.")
        names.append(entry.name)
    return names


def _converted(part: np.ndarray, keep_depth: bool, channels: int, use: str | None) -> np.ndarray:
    """Copy a window of `pnm.view` to what `ImageStore.read` returns: B, G, R, in this machine's byte order."""
    if part.dtype != np.uint8:
        part = part.astype(np.uint16) if keep_depth else (part >> 8).astype(np.uint8)
    if part.ndim == 2:
        return cv2.cvtColor(part, cv2.COLOR_GRAY2BGR) if channels == 3 else part[..., None].copy()
    # Touch one value of each cache line first: this loop overlaps its cache misses, OpenCV's loop waits for each.
    part[:, :: _CACHE_LINE // (3 * part.itemsize), 0].T.copy()
    target = None if use is None else buffer(use, part.shape, part.dtype)
    bgr: np.ndarray = cv2.cvtColor(part, cv2.COLOR_RGB2BGR, dst=target)
    return bgr if channels == 3 else bgr_to_y(bgr)
