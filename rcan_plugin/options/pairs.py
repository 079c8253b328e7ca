"""Checks the pairs of BasicSR's own data sets, and crops and borders against the images of any data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from rcan_plugin._files import require_file
from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.scan import kept_scan
from rcan_plugin.images.header import read_header
from rcan_plugin.options.mistakes import Mistake
from rcan_plugin.options.signatures import registered

COMPARED_PAIRS = 1000
"""Most pairs of a data set of BasicSR whose headers are compared; they are evenly spaced."""
SSIM_WINDOW, NIQE_BLOCK = 11, 96
"""Sides in pixels. BasicSR's NIQE needs two blocks."""

Size = tuple[int, int]
"""Height and width of an image in pixels."""


def check_pairs(data: Mapping[str, Any]) -> list[Size]:
    """Build a data set that is not this plugin's, and compare the sizes of its pairs and crops.

    Args:
        data: its options, completed by BasicSR's `parse_options`.

    Returns:
        Sizes of the HR images as they are compared in validation; an empty list if they are not known.

    Raises:
        ValueError: it cannot be built, is empty, two images do not fit the scale, or an image is smaller than a crop.
    """
    name = f"data set {data.get('name', '?')}"
    try:
        dataset = registered("datasets")[data["type"]](deepcopy(dict(data)))
        length = len(dataset)
    except Exception as error:  # a data set of another package may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name}: {data['type']} cannot be built: {reason}") from None
    if length == 0:
        raise ValueError(f"{name} has no images.")
    if data["type"] != "PairedImageDataset" or data["io_backend"]["type"] != "disk":
        return []
    pairs = dataset.paths[:: max(1, length // COMPARED_PAIRS)]
    return [size for pair in pairs if (size := _compare(name, pair, data)) is not None]


def _compare(name: str, pair: Mapping[str, str], data: Mapping[str, Any]) -> Size | None:
    scale, training = data["scale"], data["phase"] == "train"
    for path in pair.values():
        require_file(name, path)
    gt, lq = (_size(pair[key]) for key in ("gt_path", "lq_path"))
    if gt is None or lq is None:
        return None
    exact = gt == (lq[0] * scale, lq[1] * scale)
    # In validation BasicSR cuts the HR image to the LR image's size.
    cut = not training and (gt[0] // scale, gt[1] // scale) == lq
    if not exact and not cut:
        raise ValueError(
            f"{name}: {pair['gt_path']} is {gt[0]}x{gt[1]} and {pair['lq_path']} is {lq[0]}x{lq[1]}; expected "
            f"{gt[0] // scale}x{gt[1] // scale} for scale {scale}. Check scale, and that the two belong together."
        )
    if training and min(gt) < data["gt_size"]:
        raise ValueError(
            f"{name}: {pair['gt_path']} is {gt[0]}x{gt[1]}, smaller than gt_size {data['gt_size']}: lower gt_size."
        )
    return lq[0] * scale, lq[1] * scale


def check_crops(opt: Mapping[str, Any], data: Mapping[str, Any], sizes: Sequence[Size]) -> Iterator[Mistake]:
    """Check that the metrics' `crop_border` leaves enough of each image of a set that is validated.

    Args:
        opt: what BasicSR's `parse_options` returns.
        data: the data set.
        sizes: of its HR images.
    """
    scale = data["scale"]
    for name, metric in ((opt.get("val") or {}).get("metrics") or {}).items():
        given = metric.get("crop_border", 0)
        border = scale if given == "scale" else given
        for size in sizes:
            height, width = (side // scale * scale - 2 * border for side in size)
            if not _is_enough(metric["type"], height, width):
                left = f"{max(height, 0)}x{max(width, 0)} pixels"
                text = f"is {given}, which leaves {left} of an image of {size[0]}x{size[1]} in {data['name']}"
                yield Mistake(("val", "metrics", name, "crop_border"), f"{text}, too few for {metric['type']}.")
                break


def _is_enough(metric: str, height: int, width: int) -> bool:
    if metric == "calculate_niqe":
        return height >= NIQE_BLOCK and width >= NIQE_BLOCK and (height // NIQE_BLOCK) * (width // NIQE_BLOCK) > 1
    return min(height, width) >= (SSIM_WINDOW if metric == "calculate_ssim" else 1)


def sizes_of(data: Mapping[str, Any]) -> Sequence[Size]:
    """Sizes of the HR images of a validation set of this plugin that has been scanned."""
    scan = kept_scan(DatasetOptions.read(data))
    return scan.sizes if scan is not None else ()


def _size(path: str) -> Size | None:
    """Height and width from an image file's header; None if the header lacks them."""
    with Path(path).open("rb") as file:
        header = read_header(file)
    return None if header is None else (header.height, header.width)
