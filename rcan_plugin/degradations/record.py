"""A degradation in an option file (`Recipe`), and the record of it beside prepared LR images (`Record`)."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcan_plugin._checks import is_number
from rcan_plugin._files import written_beside
from rcan_plugin._version import __version__
from rcan_plugin.degradations import Degradation

FILE = "degradation.json"


@dataclass(frozen=True)
class Recipe:
    """A degradation and the seed of its noise.

    Attributes:
        degradation: how the LR images are made.
        seed: seed of DN's noise in validation and in prepared data, where the noise must not change; otherwise 0.
    """

    degradation: Degradation
    seed: int = 0

    @classmethod
    def from_option(cls, option: Mapping[str, Any]) -> Recipe:
        """Read `{type: BI|BD|DN, border, sigma, kernel_size, noise, seed}` from an option file.

        Raises:
            ValueError: an unknown key, a missing type, or a value out of range.
        """
        if not isinstance(option, Mapping):
            raise ValueError(f"degradation: {option!r}; expected settings, such as {{type: BI}}.")
        settings = dict(option)
        known = ["type", *[field.name for field in dataclasses.fields(Degradation)][1:], "seed"]
        if unknown := [key for key in settings if key not in known]:
            raise ValueError(f"degradation: unknown key {unknown[0]!r}; known are {', '.join(known)}.")
        if "type" not in settings:
            raise ValueError("degradation: type is missing: expected BI, BD or DN.")
        seed = settings.pop("seed", None)
        if seed is not None and settings["type"] != "DN":
            raise ValueError(f"degradation: seed is {seed!r} but only DN has noise: leave seed out.")
        if seed is not None and not is_number(seed, int):
            raise ValueError(f"degradation: seed is {seed!r}; expected a whole number.")
        try:
            return cls(Degradation(settings.pop("type"), **settings), seed or 0)
        except (TypeError, ValueError) as error:
            raise ValueError(f"degradation: {error}.") from None

    def at(self, scale: int) -> Recipe:
        """Return the recipe with scale-dependent defaults filled in; equal recipes then make equal LR images."""
        return dataclasses.replace(self, degradation=self.degradation.at(scale))

    def __str__(self) -> str:
        return f"{self.degradation}, seed {self.seed}" if self.degradation.kind == "DN" else str(self.degradation)


@dataclass(frozen=True)
class Record:
    """Content of `degradation.json` in a folder or LMDB of LR images.

    Attributes:
        recipe: how the LR images were made.
        scale: their scale.
        images: number of images they were made from.
        version: version of rcan_plugin that made them.
    """

    recipe: Recipe
    scale: int
    images: int
    version: str = __version__

    def __str__(self) -> str:
        return f"x{self.scale} {self.recipe}, {self.images} images"

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write the record into `folder`, atomically."""
        content = {
            **dataclasses.asdict(self.recipe.degradation),
            "seed": self.recipe.seed,
            "scale": self.scale,
            "images": self.images,
            "rcan_plugin": self.version,
        }
        with written_beside(Path(folder, FILE)) as unfinished:
            unfinished.write_text(json.dumps(content, indent=2) + "\n")

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Record | None:
        """Read the record in `folder`; None if it has none.

        Raises:
            ValueError: the file is not a valid record.
        """
        path = Path(folder, FILE)
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text())
            seed, scale, images, version = (content.pop(key) for key in ("seed", "scale", "images", "rcan_plugin"))
            return cls(Recipe(Degradation(**content), seed), scale, images, version)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a record of a degradation ({error!r}): make the data again.") from None
