"""Modules and functions that two or more networks share."""

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
"""Kinds of `upsampler`, which returns features; `direct_upsampler` returns an image."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}
"""Activations by name, as in RCAN-it (`get_activation` in `ptsr/model/_utils.py`) and traiNNer-redux."""


class MeanShift(nn.Module):
    """Subtracts the mean of the training images and adds it again (`sub_mean`, `add_mean` of EDSR).

    Args:
        mean: mean of each channel, range 0 to 1.
        img_range: range inside the network: the value of an input of 1.
    """

    mean: Tensor

    def __init__(self, mean: Sequence[float], img_range: float) -> None:
        super().__init__()
        self.img_range = float(img_range)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)

    def subtract(self, x: Tensor) -> Tensor:
        """From the range 0 to 1 to the network's: subtract the mean, multiply by `img_range`."""
        return (x - self.mean) * self.img_range

    def add(self, x: Tensor) -> Tensor:
        """From the network's range to 0 to 1: the inverse of `subtract`."""
        return x / self.img_range + self.mean


class PreActivated(nn.Module):
    """Batch normalisation, ReLU, convolution: the order of DRRN and MemNet.

    Args:
        conv: the convolution.
        batch_norm: false leaves out the normalisation, for public weights without it.
    """

    def __init__(self, conv: nn.Conv2d, batch_norm: bool = True) -> None:
        super().__init__()
        self.norm = normalisation(conv, batch_norm)
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x)))


class Recursion(nn.Module):
    """A chain of convolutions that is applied several times, with separate normalisations each time.

    Args:
        convs: the convolutions, shared by all applications.
        times: number of applications.
        batch_norm: as in `PreActivated`.

    Attributes:
        norms: for each application, the normalisations before the convolutions.
    """

    def __init__(self, convs: Sequence[nn.Conv2d], times: int, batch_norm: bool = True) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(
            nn.ModuleList(normalisation(layer, batch_norm) for layer in convs) for _ in range(times)
        )

    def forward(self, x: Tensor, norms: nn.ModuleList) -> Tensor:
        """Apply the chain once to N x C x H x W, with one member of `self.norms`."""
        for norm, layer in zip(norms, self.convs, strict=True):
            x = layer(F.relu(norm(x)))
        return x


class ResBlock(nn.Module):
    """Two convolutions with ReLU between, and a skip (`common.ResBlock` of EDSR)."""

    def __init__(self, num_feat: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv1 = conv(num_feat, num_feat, kernel_size)
        self.conv2 = conv(num_feat, num_feat, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


def normalisation(conv: nn.Conv2d, batch_norm: bool) -> nn.Module:
    """Return batch normalisation for the input of `conv`, or the identity."""
    return nn.BatchNorm2d(conv.in_channels) if batch_norm else nn.Identity()


def conv(inputs: int, outputs: int, kernel_size: int, bias: bool = True) -> nn.Conv2d:
    """Return a convolution that keeps height and width, by zero padding."""
    return nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=bias)


def activation_layer(name: str) -> nn.Module:
    """Return the activation `name`, one of `ACTIVATIONS`.

    Raises:
        ValueError: another name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is {name!r}; expected one of {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]()


def upsampler(scale: int, num_feat: int, kind: str = "subpixel", activation: str | None = None) -> nn.Sequential:
    """Return layers that upsample features by 3, or repeatedly by 2.

    Args:
        scale: 3 or a power of two.
        num_feat: channels of input and output.
        kind: `subpixel`: convolution and pixel shuffle (ESPCN, CVPR 2016), as in EDSR and RCAN; `transposed`:
            transposed convolution, 4x4 for 2 and 9x9 for 3, so that every output pixel has the same number of
            taps; `nearest`: nearest-neighbour upsampling, then a convolution.
        activation: one of `ACTIVATIONS`, after each step; None: no activation.

    Raises:
        ValueError: another scale or kind.
    """
    check_whole_numbers("upsampler", scale=scale)
    if kind not in UPSAMPLERS:
        raise ValueError(f"upsampler is {kind!r}; expected one of {', '.join(UPSAMPLERS)}.")
    if scale != 3 and scale & (scale - 1):
        raise ValueError(f"upscale is {scale}; expected 3 or a power of two (1, 2, 4, 8).")
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
        if activation:
            layers.append(activation_layer(activation))
    return nn.Sequential(*layers)


def direct_upsampler(scale: int, num_feat: int, num_out_ch: int) -> nn.Sequential:
    """Return one convolution and pixel shuffle from features to an image, as in ESPCN and lightweight SwinIR.

    Args:
        scale: any whole number.
        num_feat: channels of the input.
        num_out_ch: channels of the output.
    """
    check_whole_numbers("upsampler", scale=scale)
    return nn.Sequential(conv(num_feat, num_out_ch * scale**2, 3), nn.PixelShuffle(scale))


def padded_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad N x C x H x W on the right and below to a multiple of `multiple`, by reflection.

    A side of at most half of `multiple` is too short to be reflected: its last pixel is repeated instead.
    """
    height, width = x.shape[2:]
    below, right = -height % multiple, -width % multiple
    mode = "reflect" if below < height and right < width else "replicate"
    return F.pad(x, (0, right, 0, below), mode)


def initialise(net: nn.Module, std: Callable[[nn.Module], float]) -> None:
    """Set the weights of all convolutions, also transposed ones, to Gaussian values and their biases to 0.

    Args:
        net: the network.
        std: returns the standard deviation for a convolution.
    """
    for module in net.modules():
        # Weights on the meta device have no values; `normal_` on them would import torch's compiler, taking seconds.
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and not module.weight.is_meta:
            nn.init.normal_(module.weight, std=std(module))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def he(module: nn.Module) -> float:
    """Return the standard deviation of a convolution's weights by its number of inputs: He et al., "Delving Deep into
    Rectifiers" (ICCV 2015), equation 10; Caffe's `msra`."""
    assert isinstance(module, nn.Conv2d)
    return math.sqrt(2 / (math.prod(module.kernel_size) * module.in_channels))


def he_by_outputs(module: nn.Module) -> float:
    """Return the standard deviation of a convolution's weights by its number of outputs: equation 14 (see `he`)."""
    assert isinstance(module, nn.Conv2d)
    return math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels))


def check_whole_numbers(name: str, **values: int) -> None:
    """Check that arguments of the network `name` are whole numbers of 1 or more.

    Raises:
        ValueError: one is not; the message names the network, the argument and its value.
    """
    for argument, value in values.items():
        require_whole(f"{name}: {argument}", value)


def checked_widths(name: str, num_feats: Sequence[int]) -> tuple[int, int]:
    """Check and return the argument `num_feats` of the network `name`: two numbers of channels.

    Raises:
        ValueError: not two whole numbers of 1 or more; the message names the network and the value.
    """
    if not isinstance(num_feats, Sequence) or len(num_feats) != 2:
        raise ValueError(f"{name}: num_feats is {num_feats!r}; expected two numbers of channels, such as [64, 32].")
    for width in num_feats:
        check_whole_numbers(name, num_feats=width)
    first, second = num_feats
    return first, second


def check_channels(net: nn.Module, x: Tensor, expected: int) -> None:
    """Check the channels of an input, N x C x H x W. Some networks would broadcast a wrong number without an error.

    Raises:
        ValueError: C is not `expected`; the message says which options must agree.
    """
    if x.shape[1] != expected:
        remedy = ", or wrap the network in LumaOnly" if expected == 1 else ""
        raise ValueError(
            f"{type(net).__name__}: the input has {x.shape[1]} channels, num_in_ch is {expected}: make num_in_ch and "
            f"the data set's color and channels agree{remedy}."
        )


def keep_buffers_apart(net: nn.Module) -> None:
    """Exclude the network's buffers from the broadcast of DistributedDataParallel.

    DDP broadcasts buffers at every forward pass, and hangs when BasicSR validates on one process only. Constants are
    equal in all processes anyway, and BasicSR saves the running means of rank 0.
    """
    net._ddp_params_and_buffers_to_ignore = [name for name, _ in net.named_buffers()]  # type: ignore[assignment]
