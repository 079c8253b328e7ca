"""Layers that the papers' equations need, written out in float64."""

import torch
import torch.nn.functional as F
from torch import nn

from rcan_plugin.degradations import imresize


def bicubic(x: torch.Tensor, scale: int) -> torch.Tensor:
    arrays = [image.permute(1, 2, 0).numpy() for image in x]
    return torch.stack([torch.from_numpy(imresize(array, scale)).permute(2, 0, 1) for array in arrays])


def shuffled(x: torch.Tensor, r: int) -> torch.Tensor:
    """ESPCN's equation 4: r^2 channels become the r x r pixels of one channel."""
    n, c, h, w = x.shape
    out = x.new_empty(n, c // r**2, h * r, w * r)
    for row in range(r):
        for column in range(r):
            out[:, :, row::r, column::r] = x[:, row * r + column :: r**2]
    return out


def transposed_conv(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    """Every input pixel adds its weighted filter to the output; nothing is cropped."""
    (n, _, h, w), (_, outputs, size, _) = x.shape, weight.shape
    out = x.new_zeros(n, outputs, (h - 1) * stride + size, (w - 1) * stride + size)
    height, width = (h - 1) * stride + 1, (w - 1) * stride + 1
    for row in range(size):
        for column in range(size):
            product = torch.einsum("nihw,io->nohw", x, weight[:, :, row, column])
            out[:, :, row : row + height : stride, column : column + width : stride] += product
    return out


class Weights(dict[str, torch.Tensor]):
    """The state dict of a network in float64, and its layers by their names."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__({key: value.double() for key, value in net.state_dict().items()})

    def bias(self, name: str) -> torch.Tensor | float:
        return self[f"{name}.bias"].view(-1, 1, 1) if f"{name}.bias" in self else 0.0

    def conv(self, name: str, x: torch.Tensor) -> torch.Tensor:
        weight = self[f"{name}.weight"]
        margin = weight.shape[-1] // 2
        return F.conv2d(F.pad(x, (margin,) * 4), weight) + self.bias(name)

    def relu_conv(self, norm: str, conv: str, x: torch.Tensor) -> torch.Tensor:
        """Normalisation by running mean and variance if the network has it, ReLU, convolution."""
        if f"{norm}.weight" in self:
            scale, shift, mean, var = (
                self[f"{norm}.{part}"].view(-1, 1, 1) for part in ("weight", "bias", "running_mean", "running_var")
            )
            x = (x - mean) / (var + 1e-5).sqrt() * scale + shift
        return self.conv(conv, x.clamp(min=0))

    def pre_activated(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.relu_conv(f"{name}.norm", f"{name}.conv", x)
