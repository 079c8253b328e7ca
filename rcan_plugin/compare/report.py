"""Builds the content of `results.json`: all measurements, with their protocol, marks and published figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rcan_plugin.compare.data import LowResolution, SetAtScale
from rcan_plugin.compare.entrants import Entrant
from rcan_plugin.compare.metrics import Protocol
from rcan_plugin.compare.published import TOLERANCE, Published

FORMAT = 1
COMPARED = ("inference", "ensemble", "precision")
"""Parts of the protocol that may differ between networks of one report."""


def number(value: float) -> float | None:
    """A value for JSON, which has no infinity: the PSNR of equal images becomes null."""
    return value if math.isfinite(value) else None


def row(
    entrant: Entrant, test_set: SetAtScale, protocol: Protocol, images: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """A row of the report without marks: one method on one set."""
    names = next(iter(images.values())).keys()
    method = entrant.method
    return {
        "method": method.id,
        "set": test_set.id,
        "protocol": {
            "color": protocol.color,
            "border": protocol.border,
            "gray": protocol.gray,
            "rounding": "8 bit",
            "inference": entrant.inference,
            "ensemble": method.ensemble,
            "precision": method.precision if method.kind == "network" else None,
        },
        "mean": {name: number(sum(values[name] for values in images.values()) / len(images)) for name in names},
        "images": {image: {name: number(value) for name, value in values.items()} for image, values in images.items()},
        "published": None,
        "marks": [],
        "explanation": None,
    }


def set_entry(test_set: SetAtScale, low: LowResolution) -> dict[str, Any]:
    """The entry of a test set."""
    return {
        "id": test_set.id,
        "name": test_set.name,
        "degradation": test_set.degradation,
        "scale": test_set.scale,
        "identified": low.text,
        "marks": list(low.marks),
        "sha256": test_set.key,
        "images": [{"name": image.name, "width": image.width, "height": image.height} for image in test_set.images],
    }


def method_entries(entrants: Iterable[Entrant], costs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The entries of the methods, with the costs of each at each scale."""
    entries: dict[str, dict[str, Any]] = {}
    for entrant in entrants:
        method = entrant.method
        entry = entries.setdefault(
            method.id, {"id": method.id, "name": method.name, "kind": method.kind, "network": None, "by_scale": {}}
        )
        known = costs.get(entrant.key, {})
        entry["network"] = entry["network"] or (entrant.network or {}).get("type") or known.get("network")
        entry["by_scale"][str(entrant.scale)] = {
            "weights": None if entrant.weights is None else str(entrant.weights),
            "sha256": entrant.sha256,
            **{name: known.get(name) for name in ("parameters", "multiply_adds", "latency", "memory_mb")},
        }
    return list(entries.values())


def mark_protocols(rows: Iterable[dict[str, Any]], kinds: Mapping[str, str]) -> None:
    """Mark rows of finished pictures, and rows whose protocol is not that of most networks on the same set.

    Args:
        rows: rows of the report; their `marks` are extended.
        kinds: `network`, `pictures` or `bicubic`, by method.
    """
    by_set: dict[str, list[dict[str, Any]]] = {}
    for entry in rows:
        by_set.setdefault(entry["set"], []).append(entry)
    for of_set in by_set.values():
        networks = [entry for entry in of_set if kinds[entry["method"]] == "network"]
        usual = {part: Counter(entry["protocol"][part] for entry in networks).most_common(1) for part in COMPARED}
        for entry in of_set:
            if kinds[entry["method"]] == "pictures":
                entry["marks"].append("finished pictures: how they were made is not known")
        for entry in networks:
            for part in COMPARED:
                own, other = entry["protocol"][part], usual[part][0][0]
                if own != other:
                    entry["marks"].append(_differs(part, own, other))


def _differs(part: str, own: Any, other: Any) -> str:
    if part == "ensemble":
        return f"{'with' if own else 'without'} self-ensemble, others {'with' if other else 'without'}"
    return f"{part} {own}, others {other}"


def add_published(entry: dict[str, Any], figure: Published | None) -> float | None:
    """Add a published figure to a row, and mark a difference. Returns the difference in dB if it is marked."""
    if figure is None:
        return None
    entry["published"] = figure._asdict()
    measured = entry["mean"].get("psnr")
    if measured is None:
        return None
    difference: float = measured - figure.psnr
    if abs(difference) <= TOLERANCE:
        return None
    entry["marks"].append(
        f"{abs(difference):.2f} dB {'above' if difference > 0 else 'below'} the published {figure.psnr:.2f}"
    )
    return difference
