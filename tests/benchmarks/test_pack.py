"""`benchmarks/pack.py`: the images of training runs."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from benchmarks.pack import pack_data


def test_the_images_are_packed_as_they_are(tmp_path: Path) -> None:
    for name in ("T490src/b.bmp", "T490src/a.jpg", "benchmark/Set5/HR/baby.png", "benchmark/Set14/HR/img_001.png"):
        file = tmp_path / "datasets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name * 100)
    for _ in range(2):  # again, over what is there
        pack_data(tmp_path / "datasets", tmp_path / "data")
    with zipfile.ZipFile(tmp_path / "data/T490.zip") as archive:
        assert archive.namelist() == ["a.jpg", "b.bmp"]
        assert archive.read("b.bmp").decode() == "T490src/b.bmp" * 100
    assert sorted(str(file.relative_to(tmp_path / "data")) for file in (tmp_path / "data").rglob("*.*")) == [
        "T490.zip", "benchmark/Set14/HR/img_001.png", "benchmark/Set5/HR/baby.png"
    ]  # fmt: skip


def test_missing_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no folder \S+T490src, \S+Set5/HR, \S+Set14/HR; benchmarks/training/card/"):
        pack_data(tmp_path, tmp_path / "data")
    assert not (tmp_path / "data").exists()
