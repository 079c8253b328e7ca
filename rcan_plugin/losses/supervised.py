"""Losses for networks with one or several outputs, on the scale for which the published learning rates were chosen.

Caffe and MatConvNet sum over the pixels of an image and average over the batch. torch's losses average over both: with
them, a published rate of 0.1 for 41x41 patches would be 840 times too low.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rcan_plugin.resampling.bicubic_modules import BicubicDownsample

Outputs = Tensor | Sequence[Tensor]
"""One image batch, or several with the final one last; N x C x H x W each."""


class EuclideanLoss(nn.Module):
    """Half the squared differences, summed over an image, mean over the batch: Caffe's `EuclideanLoss`.

    For SRCNN, FSRCNN, VDSR, DRRN and, with several outputs, MemNet (weight 1 for each block's and for the final output,
    as in the authors' prototxt).

    Args:
        loss_weight: factor on the loss.
        side_weight: factor on all outputs but the last.

    Raises:
        ValueError: (in `forward`) an output and the target differ in shape.
    """

    def __init__(self, loss_weight: float = 1.0, side_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight, self.side_weight = loss_weight, side_weight

    def forward(self, output: Outputs, target: Tensor) -> Tensor:
        """Return the loss, a scalar, of one or several outputs against the target, N x C x H x W each."""
        *sides, final = outputs_of(output)
        side = sum((half_squares(image, target) for image in sides), final.new_zeros(()))
        return self.loss_weight * (half_squares(final, target) + self.side_weight * side)


class RecursiveLoss(nn.Module):
    """Loss of DRCN: alpha * l1 + (1 - alpha) * l2, "Deeply-Recursive Convolutional Network" (CVPR 2016), section 3.2.

    l1 is the mean over the recursions' predictions, l2 is of the final output, both half the squared differences. The
    paper starts with a high alpha and lowers it without giving a schedule: here it falls linearly from `alpha` to 0
    over `alpha_iter` iterations, as in public code over 25 epochs. The paper's third term, weight decay, belongs to the
    optimiser.

    Args:
        loss_weight: factor on the loss.
        alpha: initial value, 0 to 1.
        alpha_iter: number of iterations until alpha is 0.

    Attributes:
        current_iter: iteration of training; `AcceleratedSRModel` sets it before each step.

    Raises:
        ValueError: alpha or alpha_iter is out of range; (in `forward`) a single output, or shapes that differ.
    """

    def __init__(self, loss_weight: float = 1.0, alpha: float = 1.0, alpha_iter: int = 100_000) -> None:
        super().__init__()
        if not 0 <= alpha <= 1 or alpha_iter < 1:
            raise ValueError(
                f"RecursiveLoss: alpha is {alpha}, alpha_iter {alpha_iter}; expected 0 to 1, and 1 or more."
            )
        self.loss_weight, self.alpha, self.alpha_iter = loss_weight, alpha, alpha_iter
        self.current_iter = 0

    def forward(self, output: Outputs, target: Tensor) -> Tensor:
        """Return the loss, a scalar, of the predictions and the final output, last, N x C x H x W each."""
        *sides, final = outputs_of(output)
        if not sides:
            raise ValueError(
                "RecursiveLoss: the network returned one output; expected several, as DRCNArch returns in training."
            )
        alpha = self.alpha * max(0.0, 1 - self.current_iter / self.alpha_iter)
        side = torch.stack([half_squares(image, target) for image in sides]).mean()
        return self.loss_weight * (alpha * side + (1 - alpha) * half_squares(final, target))


class PyramidLoss(nn.Module):
    """Loss of LapSRN: Charbonnier, sqrt(d^2 + eps^2), summed over levels and pixels, mean over the batch.

    "Deep Laplacian Pyramid Networks" (CVPR 2017), equation 2, with eps 1e-3. The target of a lower level is the HR
    image reduced by bicubic, as with `imresize` in the authors' `getBatch`.

    Args:
        loss_weight: factor on the loss.
        eps: on the scale of the image values.

    Raises:
        ValueError: (in `forward`) an output is not the target's size, a half or a quarter of it.
    """

    def __init__(self, loss_weight: float = 1.0, eps: float = 1e-3) -> None:
        super().__init__()
        self.loss_weight, self.eps = loss_weight, eps
        self.reducers = nn.ModuleDict({str(divisor): BicubicDownsample(divisor) for divisor in (1, 2, 4)})

    def forward(self, output: Outputs, target: Tensor) -> Tensor:
        """Return the loss, a scalar, of the levels' images against the HR image, N x C x H x W each."""
        total = target.new_zeros(())
        for image in outputs_of(output):
            divisor, rest = divmod(target.shape[-1], image.shape[-1])
            same = divisor * image.shape[-2] == target.shape[-2]
            if rest or not same or str(divisor) not in self.reducers:
                raise ValueError(
                    f"PyramidLoss: an output of {tuple(image.shape[-2:])} for a target of {tuple(target.shape[-2:])}: "
                    "expected the target's size, a half or a quarter: make upscale and scale agree."
                )
            check_shapes(image[:, :, :1, :1], target[:, :, :1, :1])
            difference = image - self.reducers[str(divisor)](target)
            total = total + torch.sqrt(difference**2 + self.eps**2).sum() / len(target)
        return self.loss_weight * total


def outputs_of(output: Outputs) -> list[Tensor]:
    """Return one or several outputs as a list of float32 tensors, whatever precision the network ran in."""
    return [image.float() for image in ([output] if isinstance(output, Tensor) else output)]


def check_shapes(output: Tensor, target: Tensor) -> None:
    """Check that output and target have the same shape: torch would broadcast others without an error.

    Raises:
        ValueError: the shapes differ.
    """
    if output.shape != target.shape:
        raise ValueError(
            f"the network's output is {tuple(output.shape)} and the HR image {tuple(target.shape)} (batch, channels, "
            "height, width): make the network's channels and upscale agree with the data set's channels and scale."
        )


def half_squares(output: Tensor, target: Tensor) -> Tensor:
    """Return half the squared differences, summed over an image, mean over the batch; a scalar.

    Raises:
        ValueError: output and target differ in shape.
    """
    check_shapes(output, target)
    return 0.5 * ((output - target) ** 2).sum() / len(target)
