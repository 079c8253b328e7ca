"""What two or more networks share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcan_plugin._checks import require_whole

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean of the DIV2K training images, RGB, range 0 to 1 (RCAN's official code, `model/rcan.py`)."""


UPSAMPLERS = ("subpixel", "transposed", "nearest")


class MeanShift(nn.Module):
    """Takes the mean of the training images off, and puts it back (EDSR, RCAN: `sub_mean`, `add_mean`).

    Args:
        mean: of each channel, range 0 to 1.
        img_range: what a pixel of value 1 is inside the network.
    """

    mean: Tensor

    def __init__(self, mean: Sequence[float], img_range: float) -> None:
        super().__init__()
        self.img_range = float(img_range)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)

    def off(self, x: Tensor) -> Tensor:
        """To the network's range."""
        return (x - self.mean) * self.img_range

    def back(self, x: Tensor) -> Tensor:
        """To 0 to 1."""
        return x / self.img_range + self.mean


class PreActivated(nn.Module):
    """Normalisation, ReLU, convolution: the order of DRRN and MemNet.

    Args:
        conv: the convolution.
        batch_norm: false leaves the normalisation out, as some public weights do.
    """

    def __init__(self, conv: nn.Conv2d, batch_norm: bool = True) -> None:
        super().__init__()
        self.norm = normalisation(conv, batch_norm)
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x)))


class Recursion(nn.Module):
    """Convolutions one after the other that are applied several times, each time after normalisations of its own.

    Args:
        convs: the convolutions, shared by all times.
        times: how often they are applied.
        batch_norm: as in `PreActivated`.
    """

    def __init__(self, convs: Sequence[nn.Conv2d], times: int, batch_norm: bool = True) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(nn.ModuleList(normalisation(one, batch_norm) for one in convs) for _ in range(times))

    def forward(self, x: Tensor, norms: nn.ModuleList) -> Tensor:
        """One time, with that time's member of `self.norms`."""
        for norm, one in zip(norms, self.convs, strict=True):
            x = one(F.relu(norm(x)))
        return x


class ResBlock(nn.Module):
    """Two convolutions and a skip (EDSR, `common.ResBlock`)."""

    def __init__(self, num_feat: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv1 = conv(num_feat, num_feat, kernel_size)
        self.conv2 = conv(num_feat, num_feat, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


def normalisation(conv: nn.Conv2d, batch_norm: bool) -> nn.Module:
    """What comes before a convolution: batch normalisation, or nothing."""
    return nn.BatchNorm2d(conv.in_channels) if batch_norm else nn.Identity()


def conv(inputs: int, outputs: int, kernel_size: int, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps height and width, with zeros around the image."""
    return nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=bias)


def upsampler(scale: int, num_feat: int, kind: str = "subpixel") -> nn.Sequential:
    """Enlarges features: by 3, or by 2 for each power of two.

    Args:
        scale: 3 or a power of two.
        num_feat: channels of input and output.
        kind: `subpixel`: convolution and pixel shuffle (ESPCN, CVPR 2016), as in EDSR and RCAN; `transposed`:
            transposed convolution, 4x4 for 2 and 9x9 for 3, so that each output pixel has as many taps as the next;
            `nearest`: each pixel repeated, then a convolution.

    Raises:
        ValueError: another scale or kind.
    """
    whole_numbers("upsampler", scale=scale)
    if kind not in UPSAMPLERS:
        raise ValueError(f"upsampler={kind!r}: expected subpixel, transposed or nearest.")
    if scale != 3 and scale & (scale - 1):
        raise ValueError(f"upscale={scale}: expected 3 or a power of two (1, 2, 4, 8).")
    steps = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
    layers: list[nn.Module] = []
    for step in steps:
        if kind == "subpixel":
            layers += [conv(num_feat, num_feat * step**2, 3), nn.PixelShuffle(step)]
        elif kind == "transposed":
            size, padding = {2: (4, 1), 3: (9, 3)}[step]
            layers.append(nn.ConvTranspose2d(num_feat, num_feat, size, step, padding))
        else:
            layers += [nn.Upsample(scale_factor=step, mode="nearest"), conv(num_feat, num_feat, 3)]
    return nn.Sequential(*layers)


def initialise(net: nn.Module, std: Callable[[nn.Module], float]) -> None:
    """Normally distributed weights and biases of 0 for all convolutions, transposed ones too.

    Args:
        net: the network.
        std: gives a convolution's standard deviation.
    """
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, std=std(module))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def he(module: nn.Module) -> float:
    """The standard deviation of He et al., "Delving Deep into Rectifiers" (ICCV 2015), by the number of inputs
    (equation 10; Caffe's `msra`)."""
    assert isinstance(module, nn.Conv2d)
    return math.sqrt(2 / (math.prod(module.kernel_size) * module.in_channels))


def he_by_outputs(module: nn.Module) -> float:
    """The same by the number of outputs (equation 14)."""
    assert isinstance(module, nn.Conv2d)
    return math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels))


def whole_numbers(name: str, **values: int) -> None:
    """Refuse what is no whole number of 1 or more.

    Raises:
        ValueError: names the network, the argument and its value.
    """
    for argument, value in values.items():
        require_whole(f"{name}: {argument}", value)


def two_widths(name: str, num_feats: Sequence[int]) -> tuple[int, int]:
    """The channels after the first and after the second convolution.

    Raises:
        ValueError: names the network and the value.
    """
    if not isinstance(num_feats, Sequence) or len(num_feats) != 2:
        raise ValueError(f"{name}: num_feats={num_feats!r}: expected two numbers of channels, such as [64, 32].")
    for one in num_feats:
        whole_numbers(name, num_feats=one)
    first, second = num_feats
    return first, second


def check_channels(net: nn.Module, x: Tensor, expected: int) -> None:
    """Refuse an image of other channels, which some networks would take in silence.

    Raises:
        ValueError: says which options must agree.
    """
    if x.shape[1] != expected:
        raise ValueError(
            f"{type(net).__name__}: the input has {x.shape[1]} channels, num_in_ch is {expected}: let num_in_ch and "
            "the data set's color and channels agree" + (", or wrap the network in LumaOnly." if expected == 1 else ".")
        )


def keep_buffers_apart(net: nn.Module) -> None:
    """Let DistributedDataParallel leave the buffers alone: it would broadcast them at every forward pass, and hang when
    BasicSR validates on one process. (Constants are the same everywhere; of running means BasicSR saves rank 0's.)"""
    net._ddp_params_and_buffers_to_ignore = [name for name, _ in net.named_buffers()]  # type: ignore[assignment]
