"""Reads files of weights, written by `torch.save` or safetensors, without running code from them."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ONNX = "it is an ONNX file, from which weights are not read: use the file that it was exported from"
OTHER_FILES = (
    (b"version https://git-lfs", "it is a pointer of Git LFS: fetch the file itself with `git lfs pull`"),
    (b"<", "it is a web page: download the file again"),
    *((b"\x08%c\x12" % version, ONNX) for version in range(3, 20)),
)
"""First bytes of files that users take for weights, and messages that say what they are."""
ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # torch's format since 1.6, and its format before


def read(path: str | os.PathLike[str]) -> Any:
    """Read a file that `torch.save` wrote, or a safetensors file, to the CPU.

    It may only hold tensors, plain numbers, texts and containers; a safetensors file gives a flat dict of tensors.
    Tensors are memory-mapped if the format allows it, so that only the tensors that are used take memory.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is a folder or cannot be opened; it is empty, cut short, damaged, or of another format; or it
            holds objects that only code could rebuild. The message is one line.
    """
    path = Path(path)
    head = _head(path)
    if not head:
        raise ValueError(f"{path} is empty.")
    if _begins_safetensors(head):
        return _read_safetensors(path)
    if not head.startswith((ZIP, PICKLE)):
        raise ValueError(f"{path} is not a file of weights: {_kind(head)}.")
    in_zip = head.startswith(ZIP)
    try:
        if in_zip:
            _check_zip(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the format; errors are raised
            return torch.load(path, map_location="cpu", weights_only=True, mmap=in_zip)
    except MemoryError:
        raise
    except Exception as error:  # torch raises almost anything for a damaged file
        raise ValueError(f"{path} {_reason(error)}.") from None


def metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of a safetensors file; none for other files.

    Raises:
        FileNotFoundError, ValueError: as `read`.
    """
    path = Path(path)
    if not is_safetensors(path):
        return {}
    with _opened(path) as file:
        return dict(file.metadata() or {})


def is_safetensors(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a safetensors file, by its content.

    Raises:
        FileNotFoundError, ValueError: it cannot be opened, as in `read`.
    """
    return _begins_safetensors(_head(Path(path)))


def _begins_safetensors(head: bytes) -> bool:
    """Whether a file begins as safetensors: the length of the header in eight bytes, then JSON."""
    return head[5:9] == b"\0\0\0{"


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} {_reason(error)}.") from None


def _head(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ValueError(f"{path} is a folder; expected a file of weights.")
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is a device or a pipe; expected a file of weights.")
        with path.open("rb") as file:
            return file.read(64)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be opened: {error.strerror}.") from None


def _kind(head: bytes) -> str:
    kinds = (kind for start, kind in OTHER_FILES if head.startswith(start))
    return next(kinds, f"it begins with {head[:8]!r}; expected one that `torch.save` wrote")


def _check_zip(path: Path) -> None:
    """Raise what is wrong with the archive; torch verifies no checksums."""
    if not zipfile.is_zipfile(path):
        raise EOFError
    with zipfile.ZipFile(path) as archive:
        if not any(name.endswith("data.pkl") for name in archive.namelist()):
            raise LookupError
        if any(
            part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()
        ):  # torch would map what is packed
            raise ValueError(
                "its parts are compressed, which torch.save does not do: unpack it, and pack it with zip -0"
            )
        if damaged := archive.testzip():
            raise ValueError(f"the checksum of its part {damaged} is wrong")


def _reason(error: Exception) -> str:
    text = str(error)
    # Without torch's advice to run code from the file, or to report an error of torch.
    text = text.rpartition("WeightsUnpickler error: ")[2].partition("(Could this error message")[0].strip()
    if found := re.search(r"GLOBAL (\S+)|(TorchScript)", text):
        name = found[1] or "a TorchScript program"
        return (
            f"holds {name}, which only code can rebuild, and code from files is not run: store only the tensors, "
            "`torch.save(net.state_dict(), FILE)`, where the file comes from"
        )
    if isinstance(error, LookupError) and not text:
        return "is not a file of weights: it is another zip archive; unpack it"
    if isinstance(error, EOFError | IndexError) or "unexpected EOF" in text:
        return "is cut short: its end is missing; copy or download it again"
    if "not fully covered" in text or "invalid header length" in text:  # of safetensors
        return "is not as long as its header says: it is cut short or was appended to; copy or download it again"
    return f"cannot be read ({(text or repr(error)).splitlines()[0]}): copy or download it again"
