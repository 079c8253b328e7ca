"""A small folder of results, as a comparison writes it: three methods, two sets at x2 and x4, tiny pictures."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

NAMES = ("bear", "a tree & #1")
METHODS = ("bicubic", "RCAN", "RCAN+")
PROTOCOL = {
    "color": "Y",
    "border": 4,
    "rounding": "8 bit",
    "inference": "whole",
    "ensemble": False,
    "precision": "fp32",
}
METRICS = {
    "psnr": {"name": "PSNR", "unit": "dB", "better": "higher", "digits": 2},
    "ssim": {"name": "SSIM", "unit": "", "better": "higher", "digits": 4},
}
NETWORK = {
    "weights": "net_g.pth",
    "sha256": "0" * 64,
    "parameters": 15592379,
    "multiply_adds": {"1280x720": 916e9, "256x256": 1.02e12},
    "latency": {"median_ms": 12.3, "runs": 9, "input": "320x180", "device": "a CPU"},
    "memory_mb": 512.0,
}
NOTHING = dict.fromkeys(NETWORK)


def psnr_on_y(image: np.ndarray, other: np.ndarray) -> float:
    """BasicSR's PSNR on Y without a border, in double precision. Images: H x W x 3, B, G, R, uint8."""
    weights = np.array([24.966, 128.553, 65.481]) / 255
    error = np.mean((image.astype(np.float64) @ weights - other.astype(np.float64) @ weights) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def results() -> dict[str, Any]:
    """Results without pictures. `bicubic` is not a network, and RCAN+ has another protocol."""
    sets = [
        {
            "id": f"{name}_BI_x{scale}",
            "name": name,
            "degradation": "BI",
            "scale": scale,
            "identified": f"x{scale} BI, symmetric border, exactly",
            "sha256": "0" * 64,
            "images": [{"name": image, "width": 96, "height": 64} for image in NAMES],
        }
        for scale in (2, 4)
        for name in ("Set2", "Other_set")
    ]
    rows = []
    for entry in sets:
        for number, method in enumerate(METHODS):
            psnr = {"bear": 30 + number + 4 / entry["scale"], "a tree & #1": 20 + 2.5 * number}
            images = {name: {"psnr": value, "ssim": value / 50} for name, value in psnr.items()}
            mean = {key: float(np.mean([image[key] for image in images.values()])) for key in METRICS}
            rows.append(
                {
                    "method": method,
                    "set": entry["id"],
                    "protocol": {**PROTOCOL, "border": entry["scale"], "ensemble": method == "RCAN+"},
                    "mean": mean,
                    "images": images,
                    "published": None,
                    "marks": [],
                    "explanation": None,
                }
            )
    rows[1]["published"] = {"psnr": 26.5, "ssim": 0.53, "source": "a paper, table 2"}
    rows[1] |= {"marks": ["0.75 dB above the published 26.50"], "explanation": "with RGB instead of Y: 26.49"}
    kinds = {"bicubic": "bicubic", "RCAN": "network", "RCAN+": "network"}
    return {
        "format": 1,
        "title": "RCAN on two sets",
        "created": "2026-11-27T08:00:00+00:00",
        "versions": {"rcan_plugin": "1.0", "torch": "2.5.0", "python": "3.11.2"},
        "device": "a CPU, 2 threads",
        "methods": [
            {
                "id": method,
                "name": method,
                "kind": kind,
                "network": "RCANArch" if kind == "network" else None,
                "by_scale": {str(scale): NETWORK if kind == "network" else NOTHING for scale in (2, 4)},
            }
            for method, kind in kinds.items()
        ],
        "sets": sets,
        "rows": rows,
        "metrics": copy.deepcopy(METRICS),
    }


def row(content: dict[str, Any], method: str, set_id: str) -> dict[str, Any]:
    """The row of a method on a set."""
    return next(row for row in content["rows"] if (row["method"], row["set"]) == (method, set_id))


def write(folder: Path, content: dict[str, Any] | None = None, pictures: bool = True) -> Path:
    """Write `results.json`, and pictures: HR, LR, and HR with noise for each method. Returns the folder."""
    content = copy.deepcopy(content or results())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(content))
    for entry in content["sets"] if pictures else ():
        for number, image in enumerate(entry["images"]):
            place = folder / "pictures" / entry["id"] / image["name"]
            place.mkdir(parents=True)
            random = np.random.default_rng(number)
            hr = cv2.resize(random.integers(0, 256, (8, 12, 3), np.uint8), (image["width"], image["height"]))
            cv2.imwrite(str(place / "hr.png"), hr)
            cv2.imwrite(str(place / "lr.png"), hr[:: entry["scale"], :: entry["scale"]])
            for strength, method in enumerate(METHODS[::-1], 1):
                noise = random.normal(0, 4 * strength, hr.shape)
                cv2.imwrite(str(place / f"{method}.png"), np.clip(hr + noise, 0, 255).astype(np.uint8))
    return folder
