"""Losses of networks with one output or several, in the scale that the published learning rates belong to.

Caffe and MatConvNet sum over the pixels of an image and take the mean over the batch, where torch's losses take the
mean over both: with those, a rate of 0.1 for a 41x41 patch would be 840 times too low.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rcan_plugin.resampling.bicubic_modules import BicubicDownsample

Outputs = Tensor | Sequence[Tensor]


class EuclideanLoss(nn.Module):
    """Half the squared differences, summed over an image, mean over the batch: Caffe's `EuclideanLoss`.

    SRCNN, FSRCNN, VDSR, DRRN and, of several outputs, MemNet (each block's and the final one, weight 1 each, as in the
    authors' prototxt).

    Args:
        loss_weight: factor.
        side_weight: factor on all outputs but the last.
    """

    def __init__(self, loss_weight: float = 1.0, side_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight, self.side_weight = loss_weight, side_weight

    def forward(self, output: Outputs, target: Tensor) -> Tensor:
        """N x C x H x W, or several of them, the final one last; gives one number."""
        *sides, final = outputs_of(output)
        side = sum((half_squares(one, target) for one in sides), final.new_zeros(()))
        return self.loss_weight * (half_squares(final, target) + self.side_weight * side)


class RecursiveLoss(nn.Module):
    """DRCN's: alpha * l1 + (1 - alpha) * l2, "Deeply-Recursive Convolutional Network" (CVPR 2016), section 3.2.

    l1 is the mean over the recursions' predictions, l2 is of the final output, both half the squared differences. The
    paper starts with a high alpha and lowers it, by what schedule it does not say: here from `alpha` down to 0 along a
    line over `alpha_iter` iterations, as public code does over 25 epochs. Its last part, the weights' decay, is the
    optimiser's.

    Args:
        loss_weight: factor.
        alpha: at the start, 0 to 1.
        alpha_iter: iterations until it is 0.

    Attributes:
        current_iter: `AcceleratedSRModel` sets it before each step.

    Raises:
        ValueError: alpha or alpha_iter is out of range; one output instead of several.
    """

    def __init__(self, loss_weight: float = 1.0, alpha: float = 1.0, alpha_iter: int = 100_000) -> None:
        super().__init__()
        if not 0 <= alpha <= 1 or alpha_iter < 1:
            raise ValueError(f"RecursiveLoss: alpha={alpha}, alpha_iter={alpha_iter}: expected 0 to 1, and 1 or more.")
        self.loss_weight, self.alpha, self.alpha_iter = loss_weight, alpha, alpha_iter
        self.current_iter = 0

    def forward(self, output: Outputs, target: Tensor) -> Tensor:
        """The predictions, N x C x H x W each, the final one last; gives one number."""
        *sides, final = outputs_of(output)
        if not sides:
            raise ValueError("RecursiveLoss: the network gives one output: expected DRCNArch in training.")
        alpha = self.alpha * max(0.0, 1 - self.current_iter / self.alpha_iter)
        side = torch.stack([half_squares(one, target) for one in sides]).mean()
        return self.loss_weight * (alpha * side + (1 - alpha) * half_squares(final, target))


class PyramidLoss(nn.Module):
    """LapSRN's: Charbonnier at each level, sqrt(d^2 + eps^2), summed over an image, mean over the batch.

    "Deep Laplacian Pyramid Networks" (CVPR 2017), equation 2, with eps 1e-3; the target of a lower level is the HR
    image reduced by bicubic, as `imresize` in the authors' `getBatch`.

    Args:
        loss_weight: factor.
        eps: in units of the image's range.

    Raises:
        ValueError: an output whose size is no part of the target's.
    """

    def __init__(self, loss_weight: float = 1.0, eps: float = 1e-3) -> None:
        super().__init__()
        self.loss_weight, self.eps = loss_weight, eps
        self.reducers = nn.ModuleDict({str(divisor): BicubicDownsample(divisor) for divisor in (1, 2, 4)})

    def forward(self, output: Outputs, target: Tensor) -> Tensor:
        """The levels' images, N x C x H x W each, and HR; gives one number."""
        total = target.new_zeros(())
        for image in outputs_of(output):
            divisor, rest = divmod(target.shape[-1], image.shape[-1])
            same = divisor * image.shape[-2] == target.shape[-2]
            if rest or not same or str(divisor) not in self.reducers:
                raise ValueError(
                    f"PyramidLoss: an output of {tuple(image.shape[-2:])} for a target of {tuple(target.shape[-2:])}: "
                    "expected the target's size, a half or a quarter; let upscale and scale agree."
                )
            check_shapes(image[:, :, :1, :1], target[:, :, :1, :1])
            difference = image - self.reducers[str(divisor)](target)
            total = total + torch.sqrt(difference**2 + self.eps**2).sum() / len(target)
        return self.loss_weight * total


def outputs_of(output: Outputs) -> list[Tensor]:
    """One output or several, as float32, whatever precision the network was run in."""
    return [one.float() for one in ([output] if isinstance(output, Tensor) else output)]


def check_shapes(output: Tensor, target: Tensor) -> None:
    """Refuse what torch would broadcast in silence.

    Raises:
        ValueError: the two differ.
    """
    if output.shape != target.shape:
        raise ValueError(
            f"the network's output is {tuple(output.shape)} and the HR image {tuple(target.shape)} (batch, channels, "
            "height, width): let the network's channels and upscale agree with the data set's channels and scale."
        )


def half_squares(output: Tensor, target: Tensor) -> Tensor:
    """Half the squared differences, summed over an image, mean over the batch.

    Raises:
        ValueError: the two differ in shape.
    """
    check_shapes(output, target)
    return 0.5 * ((output - target) ** 2).sum() / len(target)
