"""PSNR and SSIM by BasicSR's functions, pyiqa's metrics, and PSNR by other protocols."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rcan_plugin.compare.spec import OWN_METRICS
from rcan_plugin.images.luma import bgr_to_y
from rcan_plugin.options.mistakes import did_you_mean

DESCRIPTIONS = {
    "psnr": {"name": "PSNR", "unit": "dB", "better": "higher", "digits": 2},
    "ssim": {"name": "SSIM", "unit": "", "better": "higher", "digits": 4},
}


@dataclass(frozen=True)
class Protocol:
    """How an image is compared with its HR image.

    Attributes:
        color: `Y` (ITU-R BT.601, 16 to 235, as MATLAB's `rgb2ycbcr`) or `RGB`.
        border: pixels left out along the border.
        gray: how gray HR images are compared: `gray`: as they are; `color`: as three equal channels, converted to Y.
    """

    color: str
    border: int
    gray: str

    @property
    def key(self) -> str:
        """Key of the cache."""
        return f"{self.color}/{self.border}/{self.gray}"


def missing_package(names: Iterable[str]) -> str | None:
    """Message about a package that these metrics need and that is not installed; None if there is none."""
    others = [name for name in names if name not in OWN_METRICS]
    if others and importlib.util.find_spec("pyiqa") is None:
        return f"names {', '.join(others)}; only psnr and ssim work without pyiqa: `pip install pyiqa`, or remove them."
    return None


def describe(name: str) -> dict[str, Any]:
    """Name, unit, direction (higher or lower is better) and digits of a metric, for the report.

    Raises:
        ValueError: pyiqa has no such metric, or the metric compares sets of images (FID).
    """
    if name in DESCRIPTIONS:
        return DESCRIPTIONS[name]
    configs = importlib.import_module("pyiqa.default_model_configs").DEFAULT_CONFIGS
    if name not in configs:
        hint = did_you_mean(name, [*OWN_METRICS, *configs])
        raise ValueError(f"metrics: names {name}, which is neither psnr, ssim nor a metric of pyiqa.{hint}")
    if "fid" in name or name == "inception_score":
        raise ValueError(f"metrics: names {name}, which compares sets of images, not images: remove it.")
    lower = configs[name].get("lower_better", False)
    return {"name": name.upper(), "unit": "", "better": "lower" if lower else "higher", "digits": 4}


def to_8_bits(image: np.ndarray) -> np.ndarray:
    """Clip to 0 to 1 and round to uint8, halves to even, as BasicSR's `tensor2img`."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def with_channels_of(image: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Convert an upscaled image to the HR image's number of channels, 1 or 3, and crop it to its size."""
    image = image[: hr.shape[0], : hr.shape[1]]
    if image.shape[2] == hr.shape[2]:
        return np.ascontiguousarray(image)
    if hr.shape[2] == 3:
        return image.repeat(3, axis=2)
    # Luma of full range (ITU-R BT.601): for a network that was given three equal channels.
    luma = image.astype(np.float64) @ np.array([0.114, 0.587, 0.299])
    return (np.rint(luma) if image.dtype == np.uint8 else luma).astype(image.dtype)[..., None]


def measure(sr: np.ndarray, hr: np.ndarray, protocol: Protocol, names: Iterable[str]) -> dict[str, float]:
    """Compute metrics of an upscaled image.

    Args:
        sr, hr: H x W x C, uint8, BGR or gray.
        protocol: protocol of PSNR and SSIM.
        names: names of the metrics.
    """
    from basicsr.metrics import calculate_psnr, calculate_ssim

    own = {"psnr": calculate_psnr, "ssim": calculate_ssim}
    values = {}
    for name in names:
        if name in own:
            pair = _in_color(sr, hr, protocol)
            values[name] = float(own[name](*pair, crop_border=protocol.border, test_y_channel=protocol.color == "Y"))
        else:
            values[name] = _by_pyiqa(name, sr, hr)
    return values


def _in_color(sr: np.ndarray, hr: np.ndarray, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    if protocol.gray == "color" and hr.shape[2] == 1:
        return sr.repeat(3, axis=2), hr.repeat(3, axis=2)
    return sr, hr


def other_protocols(
    sr: np.ndarray, exact: np.ndarray | None, hr: np.ndarray, protocol: Protocol, scale: int
) -> dict[str, float]:
    """PSNR by protocols that are often used by mistake. Keys describe the protocol: `with RGB instead of Y`.

    Args:
        sr, hr: H x W x C, uint8, BGR or gray.
        exact: the upscaled image before rounding, float, range 0 to 1; None if it is not known.
        protocol: protocol of the comparison.
        scale: scale of the test set; the border is usually one or two times the scale.
    """
    from basicsr.metrics import calculate_psnr

    def psnr(
        first: np.ndarray, second: np.ndarray, border: int = protocol.border, y: bool = protocol.color == "Y"
    ) -> float:
        return float(calculate_psnr(first, second, crop_border=border, test_y_channel=y))

    color_sr, color_hr = _in_color(sr, hr, protocol)
    on_y, tried = protocol.color == "Y", {}
    other_color = "RGB instead of Y" if on_y else "Y instead of RGB"
    tried[f"with {other_color}"] = psnr(color_sr, color_hr, y=not on_y)
    for border in (0, scale, scale + 6):
        if border != protocol.border and min(hr.shape[:2]) > 2 * border:
            tried[f"with a border of {border} pixels left out"] = psnr(color_sr, color_hr, border)
            tried[f"with {other_color} and a border of {border}"] = psnr(color_sr, color_hr, border, not on_y)
    if exact is not None:
        unrounded, own_hr = _in_color(np.clip(exact, 0, 1) * 255.0, hr, protocol)
        tried["without rounding to 8 bits"] = psnr(unrounded, own_hr)
    if on_y and hr.shape[2] == 3:
        tried["with luma of full range (OpenCV's) instead of MATLAB's Y"] = psnr(_full_range(sr), _full_range(hr))
        tried["with Y rounded to 8 bits"] = psnr(bgr_to_y(sr), bgr_to_y(hr))
    elif on_y:  # of gray images; a set may have both
        tried["with luma of full range (OpenCV's) instead of MATLAB's Y"] = psnr(sr, hr)
        tried["with Y rounded to 8 bits"] = psnr(color_sr, color_hr)
    other_gray = Protocol(protocol.color, protocol.border, "gray" if protocol.gray == "color" else "color")
    words = "as they are" if other_gray.gray == "gray" else "as three equal channels"
    gray_sr, gray_hr = _in_color(sr, hr, other_gray)
    tried[f"with gray images {words}"] = psnr(gray_sr, gray_hr)
    return tried


def _full_range(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float64) @ np.array([[0.114], [0.587], [0.299]])


def _by_pyiqa(name: str, sr: np.ndarray, hr: np.ndarray) -> float:
    import torch

    sr, hr = (np.broadcast_to(image, (*image.shape[:2], 3))[..., ::-1] for image in (sr, hr))
    images = [torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 for image in (sr, hr)]
    with _PYIQA, torch.no_grad():
        metric = _pyiqa_metric(name)
        return float(metric(*images) if metric.metric_mode == "FR" else metric(images[0]))


_PYIQA = threading.Lock()
"""pyiqa's metrics are networks that use all cores, and may not be thread-safe."""


@functools.cache
def _pyiqa_metric(name: str) -> Any:
    return importlib.import_module("pyiqa").create_metric(name)
