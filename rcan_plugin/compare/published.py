"""Figures that papers published, from `published.json`."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("published.json")
TOLERANCE = 0.05
"""dB; a larger difference from a published PSNR is marked."""


class Published(NamedTuple):
    """A published figure: mean PSNR in dB and SSIM on the Y channel, border of `scale` pixels left out."""

    psnr: float
    ssim: float | None
    source: str


def published(method: str | None, test_set: str, degradation: str | None, scale: int) -> Published | None:
    """The published figure of a method on a test set; None if there is none in the file.

    >>> published("RCAN", "Set5", "BI", 4)
    Published(psnr=32.63, ssim=0.9002, source="RCAN, ECCV 2018, table 2, as printed in the authors' repository")
    """
    return _figures().get((method or "", test_set.casefold(), degradation or "", scale))


def names() -> list[str]:
    """The methods that have published figures in the file."""
    return sorted({method for method, *_ in _figures()})


@functools.cache
def _figures() -> dict[tuple[str, str, str, int], Published]:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        (entry["method"], entry["set"].casefold(), entry["degradation"], entry["scale"]): Published(
            entry["psnr"], entry["ssim"], content["sources"][entry["source"]]
        )
        for entry in content["figures"]
    }
