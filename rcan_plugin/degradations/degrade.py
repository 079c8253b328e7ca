"""The three degradations of super-resolution papers: BI, BD and DN."""

from __future__ import annotations

import hashlib
import math
import numbers
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rcan_plugin.degradations.gaussian import OFFICIAL_SIGMA, gaussian_taps, official_kernel_size
from rcan_plugin.resampling.bicubic import bicubic_taps
from rcan_plugin.resampling.fast import apply
from rcan_plugin.resampling.separable import Image, Taps, check_border, check_image, round_half_up

KINDS = ("BI", "BD", "DN")
OFFICIAL_NOISE = 30.0  # of DN in RCAN's `Prepare_TestData_HR_LR.m`

_NOISE_VALUES = 1 << 18  # drawn at a time: as float64 they are eight times the size of an 8-bit image

Region = tuple[int, int, int, int]


@dataclass(frozen=True)
class Degradation:
    """How an LR image is made from an HR image, and with which parameters.

    Attributes:
        kind: `BI` (bicubic, MATLAB's `imresize`), `BD` (Gaussian blur, then every scale-th pixel) or `DN` (BI, then
            white Gaussian noise).
        border: what lies past the border of the HR image, `replicate` or `symmetric`; BD knows only `replicate`.
        sigma: BD only: standard deviation of the blur in HR pixels; None stands for 1.6.
        kernel_size: BD only: taps of the blur along each axis; None stands for the size that the official script
            takes at each scale and sigma. Where its parity is not that of the scale, the LR image is displaced by
            half an HR pixel.
        noise: DN only: standard deviation of the noise, for an image of 0 to 255; None stands for 30.

    Raises:
        ValueError: an unknown kind or border, a parameter of another kind, or one that is out of range.

    Example:
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
            if self.kernel_size is not None and not _is_whole(self.kernel_size, 1):
                raise ValueError(f"kernel_size is {self.kernel_size!r}; expected a whole number of pixels, at least 1")
        if self.kind == "DN":
            self._resolve("noise", OFFICIAL_NOISE)

    def _resolve(self, name: str, default: float, above: float = -math.inf) -> None:
        value = getattr(self, name)
        value = default if value is None else value
        if not isinstance(value, (int, float, np.integer, np.floating)) or not (
            value >= 0 and above < value < math.inf
        ):
            raise ValueError(f"{name} is {value!r}; expected a finite number {'above' if above == 0 else 'from'} 0")
        object.__setattr__(self, name, float(value))  # frozen, and 2 and 2.0 are to be the same in JSON

    def at(self, scale: int) -> Degradation:
        """The same with what depends on the scale filled in; two of these are equal if they make the same LR image."""
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
        """The LR image of `hr`, or a window of it; see `degrade`, which has the details."""
        check_image(hr, "hr")
        if not _is_whole(scale, 2):
            raise ValueError(f"scale is {scale!r}; expected a whole number from 2 on, such as 2, 3, 4 or 8")
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        if not (height and width):
            raise ValueError(f"hr is {hr.shape[0]}x{hr.shape[1]}, smaller than one LR pixel at scale {scale}")
        if self.kind == "DN" and not isinstance(rng, np.random.Generator):
            raise TypeError(
                f"rng is a {type(rng).__name__}; DN draws its noise from a numpy.random.Generator: "
                "pass noise_rng(seed, name), or numpy.random.default_rng() for noise that cannot be repeated"
            )
        top, left, rows, cols = (0, 0, height, width) if region is None else _check_region(region, height, width)
        lr = apply(
            hr[: height * scale, : width * scale],
            self._taps(height * scale, scale).window(top, rows),
            self._taps(width * scale, scale).window(left, cols),
            self.border,
            round_between=self.kind != "BD",
        )
        return lr if rng is None or self.kind != "DN" else self._add_noise(lr, rng)

    def reach(self, scale: int) -> int:
        """How many LR pixels around a region the HR pixels reach that it is made of."""
        taps = self._taps(scale, scale)
        before, after = -taps.first[0], taps.first[0] + taps.weights.shape[1] - scale
        return -(-max(int(before), int(after), 0) // scale)

    def _taps(self, size: int, scale: int) -> Taps:
        if self.kind != "BD":
            return bicubic_taps(size, 1 / scale)
        assert self.sigma is not None  # __post_init__ filled it in
        return gaussian_taps(size, scale, self.sigma, self.kernel_size or official_kernel_size(scale, self.sigma))

    def _add_noise(self, lr: Image, rng: np.random.Generator) -> Image:
        """The official script: single(LR) + single(sigma * randn), then back to the integer class."""
        assert self.noise is not None  # __post_init__ filled it in
        sigma = self.noise * {"u1": 1, "u2": 257}.get(lr.dtype.str[1:], 1 / 255)
        out = np.empty_like(lr)
        strip = max(1, _NOISE_VALUES // lr[0].size)
        for top in range(0, len(lr), strip):
            line, noisy = lr[top : top + strip], out[top : top + strip]
            noise = sigma * rng.standard_normal(line.shape)
            if lr.dtype.kind == "f":
                noisy[...] = line + noise
            else:
                total = line.astype(np.float32) + noise.astype(np.float32)
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
    - `BD`: a Gaussian blur (sigma 1.6), rounded, then every scale-th pixel. Published at x3 only (7x7 taps); the
      official script defines the other scales too, and so do we: an extension.
    - `DN`: BI, then white Gaussian noise of standard deviation 30 for 8 bits, rounded and clipped.

    Definitions: `Prepare_TestData_HR_LR.m` of "Image Super-Resolution Using Very Deep Residual Channel Attention
    Networks" (ECCV 2018).

    Args:
        hr: HxW or HxWxC with any number of channels; uint8, uint16, float32 or float64. Rows and columns past the
            last multiple of `scale` are left out. It is not changed.
        scale: whole number from 2 on.
        kind, border, sigma, kernel_size, noise: see `Degradation`. The noise is on the scale of 0 to 255 whatever the
            type: times 257 for uint16, divided by 255 for floats, which are taken to lie in 0 to 1.
        rng: DN needs it: where the noise comes from, for instance `noise_rng(seed, name)`.
        region: (top, left, height, width) in LR pixels: only this window of the LR image, read from the HR pixels
            that it needs. For BI and BD it equals the same crop of the whole LR image, value for value; for DN the
            noise is drawn for the window alone.

    Returns:
        H // scale x W // scale [x C], or the region, of the type of `hr`. Integers are rounded, halves away from
        zero, and clipped; floats are neither, so BI and DN may leave 0 to 1 a little.

    Raises:
        TypeError: `hr` is no array of a supported type, or DN without an `rng`.
        ValueError: a bad shape, scale, kind, border or parameter, an image smaller than the scale, or a region that
            is not inside the LR image.
    """
    degradation = Degradation(kind, border, sigma, kernel_size, noise)
    return degradation.apply(hr, scale, rng=rng, region=region)


def noise_rng(seed: int, name: str) -> np.random.Generator:
    """A generator that depends on `seed` and `name`, such as a file's, alone: not on the machine or the process."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= least


def _check_region(region: Region, height: int, width: int) -> Region:
    if len(region) != 4 or not all(_is_whole(value, 0) for value in region):
        raise ValueError(f"region is {region}; expected (top, left, height, width), whole LR pixels")
    top, left, rows, cols = region
    if not (rows and cols and top + rows <= height and left + cols <= width):
        raise ValueError(
            f"region is {region}, as (top, left, height, width); expected a window of the {height}x{width} LR"
        )
    return region
