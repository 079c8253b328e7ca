"""Files of weights as people have them, right and wrong ones."""

import argparse
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_safetensors

WEIGHTS = {"conv.weight": torch.arange(6.0).view(2, 3), "conv.bias": torch.ones(2)}


def save(path: Path, content: Any, **arguments: Any) -> Path:
    """`torch.save`, returning the path."""
    torch.save(content, path, **arguments)
    return path


class RunsCode:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def compressed(file: bytes) -> bytes:
    """A zip archive again, with its parts compressed: torch maps them as they are."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as parts, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in parts.namelist():
            archive.writestr(name, parts.read(name))
    return packed.getvalue()


def wrong_files(folder: Path) -> Mapping[str, tuple[Path, str]]:
    """Files that are no weights, by what they are, each with a pattern of the message."""
    sound = save(folder / "sound.pth", WEIGHTS).read_bytes()
    old = save(folder / "old.pth", WEIGHTS, _use_new_zipfile_serialization=False).read_bytes()
    safetensors = save_safetensors(WEIGHTS)
    flipped = bytearray(sound)
    flipped[sound.index(WEIGHTS["conv.weight"].numpy().tobytes())] ^= 1
    contents = {
        "empty": (b"", "is empty"),
        "cut": (sound[: len(sound) // 2], "is cut"),
        "cut at the end": (sound[:-3], "is cut"),
        "old format, cut": (old[:-3], "is cut"),
        "old format, cut in its head": (old[: len(old) // 2], "is cut"),
        "old format, cut at its start": (old[:20], "is cut"),
        "changed byte": (bytes(flipped), r"checksum of its part .*data/\d is wrong"),
        "text": (b"hello", "not a file of weights: it begins with b'hello'"),
        "compressed": (compressed(sound), "its parts are compressed"),
        "pickle that runs code": (
            pickle.dumps(RunsCode(folder / "mark")),
            r"cannot be read \(Unsupported operand 149\)",
        ),
        "ONNX": (b"\x08\x08\x12\x07pytorch", "it is an ONNX file"),
        "web page": (b"<!DOCTYPE html><html>", "a web page: download"),
        "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        "safetensors with a wrong head": (b"\x20\0\0\0\0\0\0\0" + b'{"a":{}}' + b" " * 24, "cannot be read"),
        "safetensors, cut": (safetensors[:-3], "is not as long as its header says"),
        "safetensors, cut in its head": (safetensors[:50], "is not as long"),
        "safetensors, longer": (safetensors + b"more", "is not as long"),
        "picture": (b"\x89PNG\r\n\x1a\n" + bytes(50), "not a file of weights: it begins with"),
        "pickle": (pickle.dumps({"a": 1}), "cannot be read"),
    }
    files = {}
    for name, (content, message) in contents.items():
        files[name] = (folder / f"{name}.pth", message)
        files[name][0].write_bytes(content)
    with zipfile.ZipFile(folder / "zip.pth", "w") as archive:
        archive.writestr("folder/x.txt", "x")
    (folder / "folder.pth").mkdir()
    numpy = save(folder / "numpy.pth", {"params": WEIGHTS, "psnr": np.float64(1)})
    module = save(folder / "module.pth", torch.nn.Conv2d(1, 1, 1))
    namespace = save(folder / "namespace.pth", {"args": argparse.Namespace(), "params": WEIGHTS})
    code = save(folder / "code.pth", {"params": RunsCode(folder / "mark")})
    return files | {
        "other zip": (folder / "zip.pth", "another zip archive"),
        "folder": (folder / "folder.pth", "is a folder"),
        "numpy number": (numpy, "holds numpy.*scalar, which only code can rebuild"),
        "whole module": (module, "holds torch.nn.modules.conv.Conv2d, which only code"),
        "namespace": (namespace, "holds argparse.Namespace, which only code"),
        "code": (code, "which only code can rebuild"),
    }
