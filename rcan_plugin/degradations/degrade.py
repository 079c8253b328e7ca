"""BI, BD and DN: the three degradations with which super-resolution papers make LR images."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np

from rcan_plugin._checks import is_number, is_whole
from rcan_plugin.degradations.gaussian import OFFICIAL_SIGMA, gaussian_taps, official_kernel_size
from rcan_plugin.resampling.banded_matmul import apply_taps
from rcan_plugin.resampling.bicubic import bicubic_taps
from rcan_plugin.resampling.separable import Image, Taps, check_border, check_image, round_half_up

KINDS = ("BI", "BD", "DN")
OFFICIAL_NOISE = 30.0  # of DN in RCAN's `Prepare_TestData_HR_LR.m`

_NOISE_VALUES = 1 << 18  # drawn at a time to bound memory: the noise is float64, eight times an 8-bit image

Region = tuple[int, int, int, int]
"""Top, left, height, width, in LR pixels."""


@dataclass(frozen=True)
class Degradation:
    """How an LR image is made from an HR image, and with which parameters.

    Attributes:
        kind: `BI` (bicubic, MATLAB's `imresize`), `BD` (Gaussian blur, then every scale-th pixel) or `DN` (BI, then
            white Gaussian noise).
        border: pixels assumed past the border of the HR image, `replicate` or `symmetric`; BD takes only `replicate`.
        sigma: BD only: standard deviation of the blur in HR pixels; None means 1.6.
        kernel_size: BD only: taps of the blur along each axis; None means the size that the official script takes
            for the scale and sigma. If the size is odd and the scale even, or the reverse, the LR image is displaced
            by half an HR pixel.
        noise: DN only: standard deviation of the noise, on the scale of 0 to 255; None means 30.

    Raises:
        ValueError: an unknown kind or border, a parameter that belongs to another kind, or one out of range.

    Examples:
        >>> print(Degradation("BD", sigma=2.0))
        BD (sigma 2)
    """

    kind: str = "BI"
    border: str = "replicate"
    sigma: float | None = None
    kernel_size: int | None = None
    noise: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; expected one of {', '.join(map(repr, KINDS))}")
        check_border(self.border)
        if self.kind == "BD" and self.border != "replicate":
            raise ValueError(f"border is {self.border!r}; BD is defined with 'replicate' only")
        for name, kind in (("sigma", "BD"), ("kernel_size", "BD"), ("noise", "DN")):
            if getattr(self, name) is not None and self.kind != kind:
                raise ValueError(
                    f"{name} is {getattr(self, name)} but belongs to {kind}, and kind is {self.kind!r}: leave it out"
                )
        if self.kind == "BD":
            self._resolve("sigma", OFFICIAL_SIGMA, above=0.0)
            if self.kernel_size is not None and not is_whole(self.kernel_size):
                raise ValueError(f"kernel_size is {self.kernel_size!r}; expected a whole number of pixels, at least 1")
        if self.kind == "DN":
            self._resolve("noise", OFFICIAL_NOISE)

    def _resolve(self, name: str, default: float, above: float = -math.inf) -> None:
        """Fill in the default of an attribute, check it and make it a float."""
        value = getattr(self, name)
        value = default if value is None else value
        is_any_number = is_number(value, (int, float, np.integer, np.floating))
        if not is_any_number or not (value >= 0 and above < value < math.inf):
            raise ValueError(f"{name} is {value!r}; expected a finite number {'above' if above == 0 else 'from'} 0")
        object.__setattr__(self, name, float(value))  # the class is frozen; 2 and 2.0 must give the same JSON

    def at(self, scale: int) -> Degradation:
        """Return it with scale-dependent defaults filled in; equal results then make equal LR images."""
        if self.kind != "BD" or self.kernel_size is not None:
            return self
        assert self.sigma is not None  # __post_init__ filled it in
        return replace(self, kernel_size=official_kernel_size(scale, self.sigma))

    def __str__(self) -> str:
        if self.kind == "BD":
            size = "" if self.kernel_size is None else f", kernel {self.kernel_size}x{self.kernel_size}"
            return f"BD (sigma {self.sigma:g}{size})"
        noise = f", noise {self.noise:g}" if self.kind == "DN" else ""
        return f"{self.kind} ({self.border}{noise})"

    def apply(
        self,
        hr: Image,
        scale: int,
        *,
        rng: np.random.Generator | None = None,
        region: Region | None = None,
    ) -> Image:
        """Make the LR image of `hr`, or a window of it: see `degrade` for arguments, result and errors."""
        check_image(hr, "hr")
        if not is_whole(scale, 2):
            raise ValueError(f"scale is {scale!r}; expected a whole number of 2 or more, such as 2, 3, 4 or 8")
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        if not (height and width):
            raise ValueError(f"hr is {hr.shape[0]}x{hr.shape[1]}, smaller than one LR pixel at scale {scale}")
        if self.kind == "DN" and not isinstance(rng, np.random.Generator):
            raise TypeError(
                f"rng is a {type(rng).__name__}; DN draws its noise from a numpy.random.Generator: "
                "pass noise_rng(seed, name), or numpy.random.default_rng() for noise that differs each time"
            )
        top, left, rows, cols = (0, 0, height, width) if region is None else _check_region(region, height, width)
        lr = apply_taps(
            hr[: height * scale, : width * scale],
            self._taps(height * scale, scale).window(top, rows),
            self._taps(width * scale, scale).window(left, cols),
            self.border,
            round_between=self.kind != "BD",
        )
        return lr if rng is None or self.kind != "DN" else self._add_noise(lr, rng)

    def reach(self, scale: int) -> int:
        """Return the margin, in LR pixels, that the HR pixels read for a region extend beyond it."""
        taps = self._taps(scale, scale)
        before, after = -taps.first[0], taps.first[0] + taps.weights.shape[1] - scale
        return -(-max(int(before), int(after), 0) // scale)

    def _taps(self, size: int, scale: int) -> Taps:
        if self.kind != "BD":
            return bicubic_taps(size, 1 / scale)
        assert self.sigma is not None  # __post_init__ filled it in
        return gaussian_taps(size, scale, self.sigma, self.kernel_size or official_kernel_size(scale, self.sigma))

    def _add_noise(self, lr: Image, rng: np.random.Generator) -> Image:
        """As in the official script: single(LR) + single(sigma * randn), then back to the integer class."""
        assert self.noise is not None  # __post_init__ filled it in
        sigma = self.noise * {"u1": 1, "u2": 257}.get(lr.dtype.str[1:], 1 / 255)
        out = np.empty_like(lr)
        strip = max(1, _NOISE_VALUES // lr[0].size)
        for top in range(0, len(lr), strip):
            clean, noisy = lr[top : top + strip], out[top : top + strip]
            noise = sigma * rng.standard_normal(clean.shape)
            if lr.dtype.kind == "f":
                noisy[...] = clean + noise
            else:
                total = clean.astype(np.float32) + noise.astype(np.float32)
                noisy[...] = round_half_up(total.astype(np.float64), lr.dtype)
        return out


def degrade(
    hr: Image,
    scale: int,
    kind: str,
    *,
    border: str = "replicate",
    sigma: float | None = None,
    kernel_size: int | None = None,
    noise: float | None = None,
    rng: np.random.Generator | None = None,
    region: Region | None = None,
) -> Image:
    """Make the LR image of an HR image as the papers do.

    - `BI`: MATLAB's bicubic `imresize(hr, 1 / scale)`, to the bit.
    - `BD`: a Gaussian blur (sigma 1.6), rounded, then every scale-th pixel. Published at x3 only (7x7 taps); other
      scales follow the same official script and are an extension.
    - `DN`: BI, then white Gaussian noise of standard deviation 30 (for 8 bits), rounded and clipped.

    Definitions: `Prepare_TestData_HR_LR.m` of "Image Super-Resolution Using Very Deep Residual Channel Attention
    Networks" (ECCV 2018).

    Args:
        hr: H x W or H x W x C with any number of channels; uint8, uint16, float32 or float64. Rows and columns past
            the last multiple of `scale` are ignored. It is not changed.
        scale: whole number of 2 or more.
        kind, border, sigma, kernel_size, noise: see `Degradation`. The noise is on the scale of 0 to 255 for every
            type: it is multiplied by 257 for uint16 and divided by 255 for floats, whose range is assumed 0 to 1.
        rng: source of the noise, required by DN; for instance `noise_rng(seed, name)`.
        region: (top, left, height, width) in LR pixels: make only this window of the LR image, reading only the HR
            pixels it needs. For BI and BD it equals the same crop of the whole LR image, value for value; for DN the
            noise is drawn only for the window.

    Returns:
        H // scale x W // scale [x C], or the region, of the type of `hr`. Integers are rounded (halves away from zero)
        and clipped; floats are not, so BI and DN may leave the range 0 to 1 a little.

    Raises:
        TypeError: `hr` is not an array of a supported type, or `kind` is DN and `rng` is not a Generator.
        ValueError: a bad shape, scale, kind, border or parameter, an image smaller than the scale, or a region that
            is not inside the LR image.
    """
    degradation = Degradation(kind, border, sigma, kernel_size, noise)
    return degradation.apply(hr, scale, rng=rng, region=region)


def noise_rng(seed: int, name: str) -> np.random.Generator:
    """Return a generator that depends only on `seed` and `name` (such as a file name), not on machine or process."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def _check_region(region: Region, height: int, width: int) -> Region:
    if len(region) != 4 or not all(is_whole(value, 0) for value in region):
        raise ValueError(f"region is {region}; expected (top, left, height, width) in whole LR pixels")
    top, left, rows, cols = region
    if not (rows and cols and top + rows <= height and left + cols <= width):
        raise ValueError(
            f"region is {region}, as (top, left, height, width); expected a window of the {height}x{width} LR"
        )
    return region
