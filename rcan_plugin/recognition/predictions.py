"""Predictions kept between runs: the most probable classes of images, stored under hashes of their inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rcan_plugin._files import naming


class Predictions:
    """Predictions of one method in a text file, one image a line: SHA-256 of the image's file, the classes, a dot.

    Lines are appended. An incomplete line, for example after the disk was full, is ignored, and the image is classified
    again.

    Args:
        path: the file; it is made with the first predictions.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.by_image: dict[str, list[int]] = {}
        text = path.read_text(encoding="ascii", errors="replace") if path.is_file() else ""
        self._complete = text.endswith("\n") or not text
        for key, classes in re.findall(r"^([0-9a-f]{64})((?: \d+)+) \.$", text, re.MULTILINE):
            self.by_image[key] = [int(number) for number in classes.split()]

    def add(self, predictions: Mapping[str, list[int]]) -> None:
        """Keep predictions, by image."""
        self.by_image.update(predictions)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{key} {' '.join(map(str, classes))} .\n" for key, classes in predictions.items()]
        with naming(self.path), self.path.open("a", encoding="ascii") as file:
            file.write("".join(lines) if self._complete else "\n" + "".join(lines))
        self._complete = True
