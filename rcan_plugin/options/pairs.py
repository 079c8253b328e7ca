"""Checks the pairs of BasicSR's own data sets, and crops and borders against the images of any data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.scan import kept_scan
from rcan_plugin.images.header import read_header
from rcan_plugin.options.mistakes import Mistake
from rcan_plugin.options.signatures import registered

COMPARED_PAIRS = 100
"""How many pairs of a stock data set are compared by their files' headers, evenly spaced."""


def check_pairs(data: Mapping[str, Any]) -> None:
    """Build a data set that is not ours, and compare the sizes of its pairs and crops.

    Args:
        data: its options, completed by BasicSR's `parse_options`.

    Raises:
        ValueError: it cannot be built, two images do not fit the scale, or an image is smaller than a crop.
    """
    name = f"data set {data.get('name', '?')}"
    try:
        paths = getattr(registered("datasets")[data["type"]](deepcopy(dict(data))), "paths", [])
    except Exception as error:  # of a data set that may be anyone's
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name}: {data['type']} cannot be built: {reason}") from None
    if data["type"] != "PairedImageDataset" or data["io_backend"]["type"] != "disk":
        return
    scale, crop = data["scale"], data.get("gt_size", 0) if data["phase"] == "train" else 0
    for pair in paths[:: max(1, len(paths) // COMPARED_PAIRS)]:
        gt, lq = (_size(pair[key]) for key in ("gt_path", "lq_path"))
        if gt is None or lq is None:
            continue
        exact = gt == (lq[0] * scale, lq[1] * scale)
        # In validation BasicSR cuts the HR image to the LR image's size.
        cut = data["phase"] != "train" and (gt[0] // scale, gt[1] // scale) == lq
        if not exact and not cut:
            raise ValueError(
                f"{name}: {pair['gt_path']} is {gt[0]}x{gt[1]} and {pair['lq_path']} is {lq[0]}x{lq[1]}; expected "
                f"{gt[0] // scale}x{gt[1] // scale} for scale {scale}. Check scale, and that the two belong together."
            )
        if min(gt) < crop:
            raise ValueError(
                f"{name}: {pair['gt_path']} is {gt[0]}x{gt[1]}, smaller than gt_size {crop}: lower gt_size."
            )


def check_crops(opt: Mapping[str, Any], phase: str, data: Mapping[str, Any]) -> Iterator[Mistake]:
    """Compare `crop_border` of the metrics with the smallest image of a data set of ours that is validated."""
    scan = (
        kept_scan(DatasetOptions.read(data))
        if phase != "train" and data["type"] == "DegradationPairedDataset"
        else None
    )
    if scan is None or not scan.sizes:
        return
    smallest = min(min(size) for size in scan.sizes) // data["scale"] * data["scale"]
    for name, metric in ((opt.get("val") or {}).get("metrics") or {}).items():
        border = metric.get("crop_border", 0)
        least = 11 if metric["type"] == "calculate_ssim" else 1  # BasicSR's SSIM has a window of 11 pixels
        if isinstance(border, int) and smallest - 2 * border < least:
            text = f"is {border}, and the smallest image of {data['name']} has a side of {smallest}: nothing is left."
            yield Mistake(("val", "metrics", name, "crop_border"), text)


def _size(path: str) -> tuple[int, int] | None:
    """Height and width by an image file's header; None where it does not tell."""
    with Path(path).open("rb") as file:
        header = read_header(file)
    return None if header is None else (header.height, header.width)
