"""RCAN: Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018.

"The authors'" refers to `model/rcan.py` of their training code.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from rcan_plugin import kernels as fused
from rcan_plugin.archs import layers, rcan_layouts
from rcan_plugin.archs.layers import check_whole_numbers, conv, keep_buffers_apart


class ChannelAttention(nn.Module):
    """Computes a weight between 0 and 1 for each channel from the channels' means (the authors' `CALayer`).

    Input: N x num_feat x H x W; output: N x num_feat x 1 x 1.
    """

    def __init__(self, num_feat: int, squeeze_factor: int, activation: str = "relu") -> None:
        super().__init__()
        squeezed = num_feat // squeeze_factor
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(num_feat, squeezed, 1),
            layers.activation_layer(activation),
            nn.Conv2d(squeezed, num_feat, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x)


class RCAB(nn.Module):
    """Residual channel attention block: two convolutions, attention, skip (the authors' `RCAB`)."""

    def __init__(
        self,
        num_feat: int,
        squeeze_factor: int,
        res_scale: float,
        channel_attention: bool,
        kernels: str | None = None,
        activation: str = "relu",
        attention_activation: str = "relu",
    ) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.kernels = kernels
        self.rcab = nn.Sequential(
            conv(num_feat, num_feat, 3), layers.activation_layer(activation), conv(num_feat, num_feat, 3)
        )
        if channel_attention:
            self.rcab.append(ChannelAttention(num_feat, squeeze_factor, attention_activation))

    def forward(self, x: Tensor) -> Tensor:
        conv1, activation, conv2, *attention = self.rcab
        if self.kernels == "triton" and not x.is_meta:  # on the meta device only shapes are computed
            if (reason := fused.unsupported(x)) is None:
                return fused.rcab(x, *self.rcab.parameters(), res_scale=self.res_scale)
            _warn_once(f"kernels: triton is not used: {reason}.")
        res = conv2(activation(conv1(x)))
        if not attention:
            return torch.add(x, res, alpha=self.res_scale)
        weight = attention[0](res)
        if self.res_scale != 1:
            weight = weight * self.res_scale  # cheaper than scaling `res`: one value per channel
        return torch.addcmul(x, res, weight)


class ResidualGroup(nn.Module):
    """Blocks, one convolution, short skip connection (the authors' `ResidualGroup`).

    `block` holds the other arguments of `RCAB`.
    """

    def __init__(self, num_feat: int, num_block: int, short_skip: bool, **block: Any) -> None:
        super().__init__()
        self.short_skip = short_skip
        self.residual_group = nn.Sequential(*(RCAB(num_feat, **block) for _ in range(num_block)))
        self.conv = conv(num_feat, num_feat, 3)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.conv(self.residual_group(x))
        return deep + x if self.short_skip else deep


class RCANArch(nn.Module):
    """RCAN with the arguments, state-dict keys and output of BasicSR's `RCAN`, and the paper's sizes as defaults.

    Input: float tensor, N x num_in_ch x H x W, range 0 to 1 (RGB); output: N x num_out_ch x H*upscale x W*upscale, same
    range, not clipped. Channels-last input gives channels-last output.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: channels of the features.
        num_group: number of residual groups.
        num_block: number of blocks in a group.
        squeeze_factor: factor by which the attention reduces the channels inside.
        upscale: scale, 3 or a power of two; with `upsampler: direct` any whole number.
        res_scale: factor on the residual of each block; 1 in the paper.
        img_range: range inside the network: the value of an input of 1. The official weights need 255.
        rgb_mean: mean of each input channel, range 0 to 1, subtracted from the input and added to the output. None:
            DIV2K's mean for three channels, its average for any other number. If input and output differ in channels,
            the average of the mean is added to the output.
        use_checkpoint: in training, store only the input of each residual group and recompute the rest in the backward
            pass: the same gradients in a seventh of the memory (`benchmarks/bench_rcan.py`), for the time of one more
            forward pass.
        long_skip, short_skip, channel_attention: false leaves out a part, as in the paper's ablation study (table 1):
            the skip over all groups (LSC), the skip over each group (SSC), the attention (CA). The skips of blocks and
            the last convolution of groups remain.
        upsampler: `subpixel` as in the paper, `transposed` or `nearest`: see `layers.upsampler`. `direct`: one
            convolution and pixel shuffle from the features to the image, without `conv_last`, for small networks:
            see `layers.direct_upsampler`.
        kernels: `triton`: compute each block by the fused kernels of `rcan_plugin.kernels`, on CUDA in half precision
            (autocast, or a half-precision network). Elsewhere PyTorch computes the block, after one warning with the
            reason.
        activation: activation between the convolutions of a block, one of `layers.ACTIVATIONS`: `relu` as in the
            paper, `silu` as in RCAN-it.
        activate_all: true: use `activation` also inside the attention (default: ReLU) and after each step of the
            upsampler (default: none), as in RCAN-it (`ptsr/model/common.py` of zudi-lin/rcan-it).
        unshuffle: factor by which height and width of the input are first reduced by pixel unshuffle, as in
            traiNNer-redux's `rcan_unshuffle`; the upsampler upsamples by `upscale * unshuffle`. The input is padded
            to a multiple by reflection, and the output is cropped. `torch.export` records either multiples or other
            sizes, as the example is (`dynamic_shapes` of `2 * Dim(...)` for multiples). 1: no unshuffling.

    Raises:
        ValueError: an invalid argument, or an input whose channels are not `num_in_ch`; the message says what to pass.
    """

    rgb_mean: Tensor
    out_mean: Tensor

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_group: int = 10,
        num_block: int = 20,
        squeeze_factor: int = 16,
        upscale: int = 4,
        res_scale: float = 1.0,
        img_range: float = 255.0,
        rgb_mean: Sequence[float] | None = None,
        use_checkpoint: bool = False,
        long_skip: bool = True,
        short_skip: bool = True,
        channel_attention: bool = True,
        upsampler: str = "subpixel",
        kernels: str | None = None,
        activation: str = "relu",
        activate_all: bool = False,
        unshuffle: int = 1,
    ) -> None:
        super().__init__()
        check_whole_numbers(
            "RCANArch",
            num_in_ch=num_in_ch,
            num_out_ch=num_out_ch,
            num_feat=num_feat,
            num_group=num_group,
            num_block=num_block,
            squeeze_factor=squeeze_factor,
            upscale=upscale,
            unshuffle=unshuffle,
        )
        if channel_attention and num_feat < squeeze_factor:
            raise ValueError(
                f"RCANArch: num_feat={num_feat} is below squeeze_factor={squeeze_factor}, which leaves the attention "
                f"no channel: raise num_feat to {squeeze_factor} or more, or set squeeze_factor to {num_feat} or less."
            )
        if kernels not in (None, "triton"):
            raise ValueError(f"RCANArch: kernels is {kernels!r}; expected 'triton', or leave kernels out.")
        if kernels and not (channel_attention and num_feat in fused.CHANNELS):
            raise ValueError(
                f"RCANArch: kernels is 'triton', channel_attention {channel_attention}, num_feat {num_feat}; "
                f"expected channel_attention true and num_feat one of {fused.CHANNELS}, or leave kernels out."
            )
        if kernels and activation != "relu":
            raise ValueError(
                f"RCANArch: kernels is 'triton', activation {activation!r}; expected activation 'relu', the only one "
                "that the kernels have, or leave kernels out."
            )
        if upsampler not in (*layers.UPSAMPLERS, "direct"):
            raise ValueError(
                f"RCANArch: upsampler is {upsampler!r}; expected one of {', '.join(layers.UPSAMPLERS)}, direct."
            )
        if not img_range > 0:
            raise ValueError(
                f"RCANArch: img_range is {img_range!r}; expected a positive number, 255 as in the paper or 1."
            )
        mean = torch.tensor(
            rcan_layouts.default_mean(num_in_ch) if rgb_mean is None else tuple(rgb_mean), dtype=torch.float32
        )
        if mean.shape != (num_in_ch,):
            raise ValueError(
                f"RCANArch: rgb_mean is {rgb_mean!r}, {mean.numel()} values, and num_in_ch is {num_in_ch}: "
                f"give one value for each input channel, or leave rgb_mean out."
            )
        if rgb_mean is not None and not all(0 <= value <= 1 for value in rgb_mean):
            raise ValueError(f"RCANArch: rgb_mean is {rgb_mean!r}; expected values from 0 to 1, whatever img_range is.")
        self.img_range = float(img_range)
        self.res_scale = float(res_scale)
        self.activation = activation
        self.activate_all = activate_all
        self.upscale = upscale
        self.unshuffle = unshuffle
        self.use_checkpoint = use_checkpoint
        self.long_skip = long_skip
        # Not in the state dict, because BasicSR's RCAN has no such keys.
        self.register_buffer("rgb_mean", mean.view(1, -1, 1, 1), persistent=False)
        out_mean = mean if num_out_ch == num_in_ch else mean.mean().expand(num_out_ch).clone()
        self.register_buffer("out_mean", out_mean.view(1, -1, 1, 1), persistent=False)
        try:
            block = {
                "squeeze_factor": squeeze_factor,
                "res_scale": res_scale,
                "channel_attention": channel_attention,
                "kernels": kernels,
                "activation": activation,
                "attention_activation": activation if activate_all else "relu",
            }
            self.conv_first = conv(num_in_ch * unshuffle**2, num_feat, 3)
            self.body = nn.Sequential(
                *(ResidualGroup(num_feat, num_block, short_skip, **block) for _ in range(num_group))
            )
            self.conv_after_body = conv(num_feat, num_feat, 3)
            self.upsample = (
                layers.direct_upsampler(upscale * unshuffle, num_feat, num_out_ch)
                if upsampler == "direct"
                else layers.upsampler(upscale * unshuffle, num_feat, upsampler, activation if activate_all else None)
            )
        except ValueError as error:
            product = f" It is upscale {upscale} times unshuffle {unshuffle}." if unshuffle > 1 else ""
            raise ValueError(f"RCANArch: {error}{product}") from None
        self.conv_last = nn.Identity() if upsampler == "direct" else conv(num_feat, num_out_ch, 3)
        keep_buffers_apart(self)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        out = self.tail(self.trunk(self.head(x)))
        return out if self.unshuffle == 1 else out[..., : height * self.upscale, : width * self.upscale]

    def head(self, x: Tensor) -> Tensor:
        """Return the shallow features of images: the input of the residual groups."""
        if x.shape[1] != self.rgb_mean.shape[1]:  # PyTorch would broadcast one channel to the mean's three
            raise ValueError(
                f"RCANArch: the input has {x.shape[1]} channels, num_in_ch is {self.rgb_mean.shape[1]}: make "
                "num_in_ch, num_out_ch and the data set's color and channels agree."
            )
        x = (x - self.rgb_mean) * self.img_range
        if self.unshuffle > 1:
            x = F.pixel_unshuffle(layers.padded_to_multiple(x, self.unshuffle), self.unshuffle)
        return self.conv_first(x)

    def trunk(self, shallow: Tensor) -> Tensor:
        """Return the deep features: residual groups, a convolution, the long skip. Only this part pools globally."""
        deep = shallow
        for group in self.body:
            if self.use_checkpoint and self.training and torch.is_grad_enabled():
                deep = checkpoint(group, deep, use_reentrant=False, preserve_rng_state=False)
            else:
                deep = group(deep)
        deep = self.conv_after_body(deep)
        return deep + shallow if self.long_skip else deep

    def tail(self, deep: Tensor) -> Tensor:
        """Return images from deep features: upsampler and last convolution. Padding for `unshuffle` is not cropped."""
        return self.conv_last(self.upsample(deep)) / self.img_range + self.out_mean

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights with BasicSR's keys or the official code's, with or without the prefix `module.`.

        With `strict=False` every tensor whose name and shape fit is loaded, as in the official code to start x3 and x4
        from x2 (for x4 the first upsampling convolution fits too); the logger `basicsr` lists what was not loaded.

        Raises:
            ValueError: no tensor fits, or the official file needs another mean or range than this network's.
            RuntimeError: from torch, with `strict=True`: keys or shapes differ.
        """
        # BasicSR's `load_network` appends ".ignore" to keys of tensors with another shape when it is not strict.
        given = self.own_weights({key.removesuffix(".ignore"): value for key, value in state_dict.items()})
        if strict:
            return super().load_state_dict(given, strict=True, assign=assign)

        own = self.state_dict()
        fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
        if not fitting:
            raise ValueError(
                "RCANArch: no tensor of this file fits the network. "
                f"The network begins with {_first_keys(own)}; the file begins with {_first_keys(state_dict)}. "
                "Pass a file of RCAN weights with the same num_feat; if the file holds them under a key such as "
                "'params' or 'params_ema', name that key in param_key_g."
            )
        other_shape = sorted(
            f"{key} {tuple(given[key].shape)} -> {tuple(own[key].shape)}"
            for key in given.keys() & own.keys() - fitting.keys()
        )
        log = logging.getLogger("basicsr")
        log.info("RCANArch: %d of %d tensors taken from the file.", len(fitting), len(own))
        for description, keys in (
            ("left as initialised, of another shape in the file", other_shape),
            ("left as initialised, not in the file", sorted(own.keys() - given.keys())),
            ("only in the file, not taken", sorted(given.keys() - own.keys())),
        ):
            if keys:
                log.warning("RCANArch: %s: %s", description, ", ".join(keys))
        return super().load_state_dict(fitting, strict=False, assign=assign)

    def own_weights(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename weights with the authors' key names, or RCAN-it's, to this network's; drop the prefix `module.`.

        The file does not show activation and residual scale; a warning is logged if this network's differ from those
        of the code with these key names.

        Raises:
            ValueError: the file shows that it needs other arguments than this network's.
        """
        given = {key.removeprefix("module."): value for key, value in state_dict.items()}
        if not rcan_layouts.has_authors_names(given):
            return given
        assumed, log = rcan_layouts.assumed_arguments(given), logging.getLogger("basicsr")
        if differing := self._differing(shown := rcan_layouts.shown_arguments(given)):
            has = {name: getattr(self, name) for name in differing}
            to_set = shown | (assumed if "activate_all" in differing else {})
            raise ValueError(
                f"RCANArch: the file was trained with {rcan_layouts.as_options(differing)}, this network has "
                f"{rcan_layouts.as_options(has)}: set {rcan_layouts.as_options(to_set)}."
            )
        self._check_mean(given)
        if differing := self._differing(assumed):
            log.warning(
                "RCANArch: files with these key names were trained with %s, this network has %s: set the first, unless "
                "you know that this file differs.",
                rcan_layouts.as_options(differing),
                rcan_layouts.as_options({name: getattr(self, name) for name in differing}),
            )
        renamed = rcan_layouts.without_mean_shift(given)
        log.info("RCANArch: the file has the official key names; %d renamed.", len(renamed))
        return renamed

    def _differing(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in arguments.items() if getattr(self, name) != value}

    def _check_mean(self, given: Mapping[str, Tensor]) -> None:
        """Compare mean and range with those of a file in the authors' layout: if they differ, colours would be wrong.

        Raises:
            ValueError: they differ.
        """
        ours = self.rgb_mean.flatten().double().cpu() * self.img_range
        has = f"img_range {self.img_range:g}, rgb_mean {rcan_layouts.rounded(self.rgb_mean.flatten())}"
        mean = rcan_layouts.mean_times_range(given)
        if mean is None:
            if self.img_range != 1 or bool(ours.any()):
                raise ValueError(
                    "RCANArch: the file has the official key names without sub_mean, as those of traiNNer-redux and "
                    f"neosr, which have range 0 to 1 and no mean. This network has {has}: set "
                    f"img_range: 1 and rgb_mean: {[0] * ours.numel()} (if the file was trained with a mean, add minus "
                    "the mean times the range to it as sub_mean.bias)."
                )
            return
        tolerance = rcan_layouts.SAME_MEAN * self.img_range
        if mean.shape != ours.shape or not torch.allclose(mean, ours, rtol=0, atol=tolerance):
            img_range = rcan_layouts.likely_range(mean)
            raise ValueError(
                f"RCANArch: the file was trained with mean times range {rcan_layouts.rounded(mean)}, this network has "
                f"{has}: set img_range: {img_range:g} and rgb_mean: {rcan_layouts.rounded(mean / img_range)}."
            )


@functools.cache
def _warn_once(text: str) -> None:
    logging.getLogger("basicsr").warning("RCANArch: %s", text)


def _first_keys(state_dict: Mapping[str, Any], count: int = 3) -> str:
    return ", ".join(list(state_dict)[:count]) or "nothing"
