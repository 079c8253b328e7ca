"""The networks RCAN is compared with: counts, layers, and outputs against the papers' equations written out.

"Published" below is a paper's figure, mostly of weights without biases, slopes and normalisation. The exact counts are
arithmetic on the papers' tables of layers: kernel area * inputs * outputs, summed.
"""

import inspect
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rcan_plugin.archs.drcn_arch import DRCNArch
from rcan_plugin.archs.drrn_arch import DRRNArch
from rcan_plugin.archs.espcn_arch import ESPCNArch
from rcan_plugin.archs.fsrcnn_arch import FSRCNNArch
from rcan_plugin.archs.lapsrn_arch import LapSRNArch, bilinear
from rcan_plugin.archs.layers import DIV2K_MEAN
from rcan_plugin.archs.mdsr_arch import MDSRArch
from rcan_plugin.archs.memnet_arch import MemNetArch
from rcan_plugin.archs.srcnn_arch import SRCNNArch
from rcan_plugin.archs.vdsr_arch import VDSRArch
from rcan_plugin.degradations import imresize
from rcan_plugin.resampling.bicubic_modules import BicubicUpsample

SMALL = {
    SRCNNArch: {"num_feats": (6, 4)},
    FSRCNNArch: {"num_feat": 7, "num_shrunk": 3, "num_map": 2},
    ESPCNArch: {"num_feats": (6, 4)},
    VDSRArch: {"num_feat": 6, "num_layers": 4},
    DRCNArch: {"num_feat": 6, "num_recursion": 3},
    LapSRNArch: {"num_feat": 6, "depth": 2},
    DRRNArch: {"num_feat": 6, "num_unit": 3},
    MemNetArch: {"num_feat": 4, "num_block": 3, "num_recursion": 2},
    MDSRArch: {"num_feat": 4, "num_block": 2},
}
NETWORKS = list(SMALL)
ENLARGED_FIRST = [SRCNNArch, VDSRArch, DRCNArch, DRRNArch, MemNetArch]
NORMALISED = [DRRNArch, MemNetArch]
LISTS = [DRCNArch, MemNetArch, LapSRNArch]
SCALES = [
    *((network, scale) for network in NETWORKS for scale in (2, 3, 4) if (network, scale) != (LapSRNArch, 3)),
    (LapSRNArch, 8),
    *((network, 1) for network in ENLARGED_FIRST),
]


def small(network, upscale: int = 2, **arguments) -> nn.Module:
    """A small network. MDSR has all its scales at once, and a mean for each channel."""
    torch.manual_seed(0)
    arguments = {**SMALL[network], **arguments}
    if network is not MDSRArch:
        return network(upscale=upscale, **arguments)
    channels = arguments.get("num_in_ch", 3)
    return network(**{"rgb_mean": (DIV2K_MEAN * 2)[:channels], **arguments})


def call(net: nn.Module, x: torch.Tensor, upscale: int):
    return net(x, upscale) if isinstance(net, MDSRArch) else net(x)


def channels_of(network) -> int:
    return 3 if network is MDSRArch else 1


def image(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def stir(net: nn.Module) -> nn.Module:
    """Weights under which every layer counts: initial ones may be near 0, biases are, normalisations do nothing."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                fan = math.prod(module.kernel_size) * module.in_channels / module.groups
                module.weight.normal_(0, math.sqrt(2 / fan), generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.3, generator=generator)
            elif isinstance(module, nn.PReLU):
                module.weight.uniform_(-0.3, 0.6, generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
        if isinstance(getattr(net, "weights", None), nn.Parameter):
            net.weights.uniform_(0.1, 1, generator=generator)
    return net


def count(network, **arguments) -> tuple[int, int, int]:
    """Parameters: weights of convolutions and of a sum; biases; the rest (slopes, normalisations)."""
    with torch.device("meta"):
        net = network(**arguments)
    convs = [module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))]
    weights = {module.weight for module in convs} | ({net.weights} if hasattr(net, "weights") else set())
    biases = {module.bias for module in convs} - {None}
    rest = set(net.parameters()) - weights - biases
    return tuple(sum(parameter.numel() for parameter in group) for group in (weights, biases, rest))


# -- sizes


@pytest.mark.parametrize(
    ("network", "arguments", "expected"),
    [
        # SRCNN, TPAMI 2016, published 57,184 (9-5-5), 24,416 (9-3-5), 8,032 (9-1-5); the scale changes nothing.
        (SRCNNArch, {}, (57_184, 97, 0)),
        (SRCNNArch, {"upscale": 4}, (57_184, 97, 0)),
        (SRCNNArch, {"kernel_sizes": (9, 3, 5)}, (24_416, 97, 0)),
        (SRCNNArch, {"kernel_sizes": (9, 1, 5)}, (8_032, 97, 0)),
        (SRCNNArch, {"bias": False}, (57_184, 0, 0)),
        # FSRCNN(56, 12, 4), ECCV 2016: published 12,464.
        (FSRCNNArch, {}, (12_464, 173, 172)),
        (FSRCNNArch, {"upscale": 2}, (12_464, 173, 172)),
        (FSRCNNArch, {"upscale": 4, "bias": False}, (12_464, 0, 172)),
        # ESPCN, CVPR 2016: no published figure; 25 * 64 + 9 * 64 * 32 + 9 * 32 * scale^2.
        (ESPCNArch, {"upscale": 2}, (21_184, 100, 0)),
        (ESPCNArch, {}, (22_624, 105, 0)),
        (ESPCNArch, {"upscale": 4}, (24_640, 112, 0)),
        (ESPCNArch, {"bias": False}, (22_624, 0, 0)),
        # VDSR, CVPR 2016: published 665K.
        (VDSRArch, {}, (664_704, 1_217, 0)),
        (VDSRArch, {"bias": False, "upscale": 3}, (664_704, 0, 0)),
        # DRCN, CVPR 2016: published 1,774K, with the 16 weights of the sum.
        (DRCNArch, {}, (1_774_096, 1_025, 0)),
        (DRCNArch, {"bias": False}, (1_774_096, 0, 0)),
        # LapSRN, CVPR 2017: published 812K at x4, which only transposed filters of 3x3 give (4x4: 870K).
        (LapSRNArch, {}, (812_768, 1_474, 0)),
        (LapSRNArch, {"upscale": 2}, (406_672, 769, 0)),
        (LapSRNArch, {"upscale": 8}, (1_218_864, 2_179, 0)),
        (LapSRNArch, {"bias": False}, (812_768, 0, 0)),
        (LapSRNArch, {"up_size": 4}, (812_768 + 2 * 7 * 64 * 64, 1_474, 0)),
        (LapSRNArch, {"up_size": 4, "bias": False, "upscale": 2}, (406_672 + 7 * 64 * 64, 0, 0)),
        # DRRN B1U25, CVPR 2017: published 297K; normalisations by the layers of the authors' train.prototxt.
        (DRRNArch, {}, (297_216, 385, 13_058)),
        (DRRNArch, {"num_unit": 9}, (297_216, 385, 2 + 19 * 2 * 128)),
        (DRRNArch, {"batch_norm": False}, (297_216, 385, 0)),
        (DRRNArch, {"bias": False, "batch_norm": False}, (297_216, 0, 0)),
        # MemNet M6R6, ICCV 2017: published 677K, without the 6 weights of the sum.
        (MemNetArch, {}, (676_992 + 6, 1_217, 17_282)),
        (MemNetArch, {"batch_norm": False}, (676_992 + 6, 1_217, 0)),
        (MemNetArch, {"bias": False, "batch_norm": False}, (676_992 + 6, 0, 0)),
    ],
)
def test_parameter_counts(network, arguments, expected):
    assert count(network, **arguments) == expected


# MDSR, CVPRW 2017: published 8.0M with 80 blocks, 3.2M with 16, rounded, biases included; without `shared_tail` the
# difference is two more convolutions 3x3 from 64 to 3 channels.
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, 7_957_449),
        ({"shared_tail": True}, 7_953_987),
        ({"num_block": 16}, 3_230_665),
        ({"num_block": 16, "shared_tail": True}, 3_227_203),
    ],
)
def test_parameter_counts_of_mdsr(arguments, expected):
    assert sum(count(MDSRArch, **arguments)) == expected


@pytest.mark.parametrize(("network", "upscale"), SCALES)
def test_the_size_of_the_output(network, upscale):
    for channels in (1, 3):
        net = small(network, upscale, num_in_ch=channels).eval()
        with torch.no_grad():
            assert call(net, image(2, channels, 7, 6), upscale).shape == (2, channels, 7 * upscale, 6 * upscale)


@pytest.mark.parametrize("network", NETWORKS)
def test_defaults_are_luma_and_the_papers_widths(network):
    defaults = {name: parameter.default for name, parameter in inspect.signature(network).parameters.items()}
    papers = {
        SRCNNArch: {"num_feats": (64, 32), "kernel_sizes": (9, 5, 5)},
        FSRCNNArch: {"num_feat": 56, "num_shrunk": 12, "num_map": 4},
        ESPCNArch: {"num_feats": (64, 32)},
        VDSRArch: {"num_feat": 64, "num_layers": 20},
        DRCNArch: {"num_feat": 256, "num_recursion": 16},
        LapSRNArch: {"num_feat": 64, "depth": 10, "up_size": 3},
        DRRNArch: {"num_feat": 128, "num_unit": 25, "batch_norm": True},
        MemNetArch: {"num_feat": 64, "num_block": 6, "num_recursion": 6, "batch_norm": True},
        MDSRArch: {"num_feat": 64, "num_block": 80, "scales": (2, 3, 4), "img_range": 255.0, "rgb_mean": DIV2K_MEAN},
    }[network]
    assert {name: defaults[name] for name in papers} == papers
    assert defaults["num_in_ch"] == channels_of(network)


# -- layers and keys


def names(prefix: str, bias: bool = True) -> list[str]:
    return [f"{prefix}.weight", *([f"{prefix}.bias"] if bias else [])]


def norm(prefix: str) -> list[str]:
    return [f"{prefix}.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


def pre(prefix: str) -> list[str]:
    return [*norm(f"{prefix}.norm"), *names(f"{prefix}.conv")]


def recursion(prefix: str, convs: int, times: int) -> list[str]:
    shared = [key for i in range(convs) for key in names(f"{prefix}.convs.{i}")]
    return [*shared, *(key for t in range(times) for i in range(convs) for key in norm(f"{prefix}.norms.{t}.{i}"))]


KEYS = {
    SRCNNArch: [key for i in (1, 2, 3) for key in names(f"conv{i}")],
    FSRCNNArch: [
        *(key for i in range(0, 10, 2) for key in (*names(f"body.{i}"), f"body.{i + 1}.weight")),
        *names("deconv"),
    ],
    ESPCNArch: [key for i in (1, 2, 3) for key in names(f"conv{i}")],
    VDSRArch: [key for i in range(4) for key in names(f"convs.{i}")],
    DRCNArch: [
        "weights",
        *(key for name in ("embed1", "embed2", "recursive", "reconstruct1", "reconstruct2") for key in names(name)),
    ],
    LapSRNArch: [
        *names("conv_first"),
        *names("levels.0.convs.0"),
        *names("levels.0.convs.1"),
        *names("levels.0.doubling.deconv"),
        *names("levels.0.residual"),
        "levels.0.image.weight",
    ],
    DRRNArch: [*pre("first"), *recursion("units", convs=2, times=3), *pre("last")],
    MemNetArch: [
        "weights",
        *pre("extract"),
        *(
            key
            for m in range(3)
            for key in (*recursion(f"blocks.{m}.recursion", convs=2, times=2), *pre(f"blocks.{m}.gate"))
        ),
        *recursion("reconstruct", convs=1, times=3),
    ],
    MDSRArch: [
        *names("conv_first"),
        *(
            key
            for x in ("x2", "x3", "x4")
            for block in (0, 1)
            for i in (1, 2)
            for key in names(f"before.{x}.{block}.conv{i}")
        ),
        *(key for block in (0, 1) for i in (1, 2) for key in names(f"body.{block}.conv{i}")),
        *names("body.2"),
        *names("upsample.x2.0"),
        *names("upsample.x3.0"),
        *names("upsample.x4.0"),
        *names("upsample.x4.2"),
        *(key for x in ("x2", "x3", "x4") for key in names(f"conv_last.{x}")),
    ],
}


@pytest.mark.parametrize("network", NETWORKS)
def test_keys_of_the_state_dict(network):
    """Files are written under these: another name makes them unreadable."""
    assert sorted(small(network).state_dict()) == sorted(KEYS[network])


@pytest.mark.parametrize("network", NETWORKS)
def test_buffers_are_not_saved_and_not_broadcast(network):
    net = small(network, 3 if network is not LapSRNArch else 4)
    buffers = [name for name, _ in net.named_buffers()]
    running = [key for key in buffers if key.split(".")[-1].startswith(("running_", "num_batches"))]
    assert bool(running) == (network in NORMALISED)
    constants = ["mean.mean"] * (network is MDSRArch) + ["bicubic.taps"] * (network in ENLARGED_FIRST)
    assert sorted(buffers) == sorted(constants + running)
    assert set(net.state_dict()) & set(buffers) == set(running)
    assert getattr(net, "_ddp_params_and_buffers_to_ignore", []) == buffers


@pytest.mark.parametrize("network", [SRCNNArch, VDSRArch, DRCNArch, LapSRNArch, DRRNArch, MemNetArch, ESPCNArch])
def test_without_biases_no_key_of_one_is_left(network):
    with_biases, without = (small(network, bias=bias).state_dict() for bias in (True, False))
    biases = {key for key in with_biases if key.endswith(".bias") and ".norm" not in key}
    assert biases
    assert set(without) == set(with_biases) - biases


@pytest.mark.parametrize("network", NORMALISED)
def test_without_normalisation_no_key_of_one_is_left(network):
    with_norm, without = (small(network, batch_norm=kept).state_dict() for kept in (True, False))
    assert set(without) == {key for key in with_norm if ".norm" not in key}
    assert len(without) < len(with_norm)


def shapes(net: nn.Module) -> list[tuple[int, ...]]:
    """Outputs, inputs and kernel of each convolution; of a transposed one inputs come first."""
    return [
        tuple(module.weight.shape) for module in net.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
    ]


def meta(network, **arguments):
    with torch.device("meta"):
        return network(**arguments)


def test_layers_of_srcnn():
    assert shapes(meta(SRCNNArch)) == [(64, 1, 9, 9), (32, 64, 5, 5), (1, 32, 5, 5)]
    assert shapes(meta(SRCNNArch, kernel_sizes=[9, 1, 5])) == [(64, 1, 9, 9), (32, 64, 1, 1), (1, 32, 5, 5)]


def test_layers_of_fsrcnn():
    net = meta(FSRCNNArch)
    middle = [(12, 56, 1, 1), *[(12, 12, 3, 3)] * 4, (56, 12, 1, 1)]
    assert shapes(net) == [(56, 1, 5, 5), *middle, (56, 1, 9, 9)]
    assert [len(layer.weight) for layer in net.body[1::2]] == [56, 12, 12, 12, 12, 12, 56]
    assert all(isinstance(layer, nn.PReLU) for layer in net.body[1::2])
    assert (net.deconv.stride, net.deconv.padding, net.deconv.output_padding) == ((3, 3), (4, 4), (2, 2))


def test_layers_of_espcn():
    assert shapes(meta(ESPCNArch)) == [(64, 1, 5, 5), (32, 64, 3, 3), (9, 32, 3, 3)]


def test_layers_of_vdsr():
    assert shapes(meta(VDSRArch)) == [(64, 1, 3, 3), *[(64, 64, 3, 3)] * 18, (1, 64, 3, 3)]


def test_layers_of_drcn():
    net = meta(DRCNArch)
    assert shapes(net) == [(256, 1, 3, 3), *[(256, 256, 3, 3)] * 3, (1, 256, 3, 3)]
    assert net.weights.shape == (16,)


def test_layers_of_lapsrn():
    level = [*[(64, 64, 3, 3)] * 11, (1, 64, 3, 3), (1, 1, 4, 4)]
    for upscale, levels in ((2, 1), (4, 2), (8, 3)):
        net = meta(LapSRNArch, upscale=upscale)
        assert shapes(net) == [(64, 1, 3, 3), *level * levels]
        assert all(one.doubling.deconv.stride == one.image.stride == (2, 2) for one in net.levels)
    wide = meta(LapSRNArch, upscale=2, up_size=4).levels[0]
    assert wide.doubling.deconv.weight.shape == (64, 64, 4, 4)


def test_units_of_drrn_share_convolutions_and_not_normalisations():
    net = meta(DRRNArch)
    assert shapes(net) == [(128, 1, 3, 3), (128, 128, 3, 3), (128, 128, 3, 3), (1, 128, 3, 3)]
    assert (len(net.units.convs), len(net.units.norms)) == (2, 25)
    assert net.units.convs[0] is not net.units.convs[1]
    normalisations = {module for module in net.modules() if isinstance(module, nn.BatchNorm2d)}
    assert len(normalisations) == 1 + 2 * 25 + 1
    assert net.first.norm.num_features == 1


def test_recursions_of_memnet_share_convolutions_inside_a_block():
    net = meta(MemNetArch)
    gates = [tuple(block.gate.conv.weight.shape) for block in net.blocks]
    assert gates == [(64, inputs, 1, 1) for inputs in (448, 512, 576, 640, 704, 768)]  # the authors' prototxt
    for block in net.blocks:
        assert (len(block.recursion.convs), len(block.recursion.norms)) == (2, 6)
        assert block.recursion.convs[0] is not block.recursion.convs[1]
    assert len({block.recursion.convs[0] for block in net.blocks}) == 6
    assert (len(net.reconstruct.convs), len(net.reconstruct.norms)) == (1, 6)
    normalisations = {module for module in net.modules() if isinstance(module, nn.BatchNorm2d)}
    assert len(normalisations) == 1 + 6 * (2 * 6 + 1) + 6


def test_layers_of_mdsr():
    net = meta(MDSRArch, num_block=2)
    assert list(net.before) == list(net.upsample) == list(net.conv_last) == ["x2", "x3", "x4"]
    for before in net.before.values():
        assert shapes(before) == [(64, 64, 5, 5)] * 4
    assert shapes(net.body) == [(64, 64, 3, 3)] * 5
    assert [shapes(net.upsample[x]) for x in ("x2", "x3", "x4")] == [
        [(256, 64, 3, 3)],
        [(576, 64, 3, 3)],
        [(256, 64, 3, 3)] * 2,
    ]
    assert len(set(net.conv_last.values())) == 3
    assert len(set(meta(MDSRArch, num_block=1, shared_tail=True).conv_last.values())) == 1


# -- outputs, against the papers' equations written out in float64


def bicubic(x: torch.Tensor, scale: int) -> torch.Tensor:
    return torch.stack([torch.from_numpy(imresize(one.permute(1, 2, 0).numpy(), scale)).permute(2, 0, 1) for one in x])


def shuffled(x: torch.Tensor, r: int) -> torch.Tensor:
    """ESPCN's equation 4: r^2 channels are the r x r pixels of one."""
    n, c, h, w = x.shape
    out = x.new_empty(n, c // r**2, h * r, w * r)
    for row in range(r):
        for column in range(r):
            out[:, :, row::r, column::r] = x[:, row * r + column :: r**2]
    return out


def scattered(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    """A transposed convolution, nothing cut off: every input pixel adds its weighted filter to the output."""
    (n, _, h, w), (_, outputs, size, _) = x.shape, weight.shape
    out = x.new_zeros(n, outputs, (h - 1) * stride + size, (w - 1) * stride + size)
    for row in range(size):
        for column in range(size):
            part = torch.einsum("nihw,io->nohw", x, weight[:, :, row, column])
            out[:, :, row : row + (h - 1) * stride + 1 : stride, column : column + (w - 1) * stride + 1 : stride] += (
                part
            )
    return out


class Equations:
    """The networks from their papers, on tensors of a state dict."""

    def __init__(self, net: nn.Module, upscale: int) -> None:
        self.w = {key: value.double() for key, value in net.state_dict().items()}
        self.upscale = upscale
        self.of = {
            SRCNNArch: self.srcnn,
            FSRCNNArch: self.fsrcnn,
            ESPCNArch: self.espcn,
            VDSRArch: self.vdsr,
            DRCNArch: self.drcn,
            LapSRNArch: self.lapsrn,
            DRRNArch: self.drrn,
            MemNetArch: self.memnet,
            MDSRArch: self.mdsr,
        }[type(net)]

    def bias(self, name: str) -> torch.Tensor | float:
        return self.w[f"{name}.bias"].view(-1, 1, 1) if f"{name}.bias" in self.w else 0.0

    def conv(self, name: str, x: torch.Tensor) -> torch.Tensor:
        weight = self.w[f"{name}.weight"]
        margin = weight.shape[-1] // 2
        return F.conv2d(F.pad(x, (margin,) * 4), weight) + self.bias(name)

    def pre(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.after(f"{name}.norm", f"{name}.conv", x)

    def after(self, norm: str, conv: str, x: torch.Tensor) -> torch.Tensor:
        """Normalisation by running mean and variance, ReLU, convolution."""
        if f"{norm}.weight" in self.w:
            scale, shift, mean, var = (
                self.w[f"{norm}.{part}"].view(-1, 1, 1) for part in ("weight", "bias", "running_mean", "running_var")
            )
            x = (x - mean) / (var + 1e-5).sqrt() * scale + shift
        return self.conv(conv, x.clamp(min=0))

    def srcnn(self, x):
        """F1 = max(0, W1 * Y + B1), F2 = max(0, W2 * F1 + B2), F = W3 * F2 + B3."""
        y = bicubic(x, self.upscale)
        return [self.conv("conv3", self.conv("conv2", self.conv("conv1", y).clamp(min=0)).clamp(min=0))]

    def fsrcnn(self, x):
        last = max(int(key.split(".")[1]) for key in self.w if key.startswith("body."))
        for i in range(0, last, 2):
            x = self.conv(f"body.{i}", x)
            x = x.clamp(min=0) + self.w[f"body.{i + 1}.weight"].view(-1, 1, 1) * x.clamp(max=0)
        h, w = (size * self.upscale for size in x.shape[-2:])
        whole = scattered(x, self.w["deconv.weight"], self.upscale)
        return [whole[:, :, 4 : 4 + h, 4 : 4 + w] + self.bias("deconv")]

    def espcn(self, x):
        x = torch.tanh(self.conv("conv2", torch.tanh(self.conv("conv1", x))))
        return [shuffled(self.conv("conv3", x), self.upscale)]

    def vdsr(self, x):
        x = features = bicubic(x, self.upscale)
        for i in range(3):
            features = self.conv(f"convs.{i}", features).clamp(min=0)
        return [x + self.conv("convs.3", features)]

    def drcn(self, x):
        """H0 = f1(x); Hd = max(0, W * H(d-1) + b); y_d = x + f3(Hd); y = sum of w_d y_d."""
        x = bicubic(x, self.upscale)
        h = self.conv("embed2", self.conv("embed1", x).clamp(min=0)).clamp(min=0)
        sides = []
        for _ in range(3):
            h = self.conv("recursive", h).clamp(min=0)
            sides.append(x + self.conv("reconstruct2", self.conv("reconstruct1", h).clamp(min=0)))
        return [*sides, sum(w * y for w, y in zip(self.w["weights"], sides, strict=True))]

    def lapsrn(self, x):
        """Of the transposed convolution's 2n + 1 rows and columns the first 2n stay (the authors' code, `crop`)."""

        def leaky(x):
            return torch.where(x > 0, x, 0.2 * x)

        features, images = leaky(self.conv("conv_first", x)), []
        for k in range(int(math.log2(self.upscale))):
            h, w = (2 * size for size in x.shape[-2:])
            for i in range(2):
                features = leaky(self.conv(f"levels.{k}.convs.{i}", features))
            name = f"levels.{k}.doubling.deconv"
            first = self.w[f"{name}.weight"].shape[-1] - 3
            features = scattered(features, self.w[f"{name}.weight"], 2)[:, :, first : first + h, first : first + w]
            features = leaky(features + self.bias(name))
            filters = self.w[f"levels.{k}.image.weight"]
            planes = [scattered(x[:, c : c + 1], filters[c : c + 1], 2) for c in range(x.shape[1])]
            x = torch.cat(planes, 1)[:, :, 1 : 1 + h, 1 : 1 + w] + self.conv(f"levels.{k}.residual", features)
            images.append(x)
        return images

    def drrn(self, x):
        """H0 = first(x); Hu = H0 + F(H(u-1), W), the same W; y = x + last(HU)."""
        x = bicubic(x, self.upscale)
        h0 = h = self.pre("first", x)
        for u in range(3):
            inner = self.after(f"units.norms.{u}.0", "units.convs.0", h)
            h = h0 + self.after(f"units.norms.{u}.1", "units.convs.1", inner)
        return [x + self.pre("last", h)]

    def memnet(self, x):
        """B0 = extract(x); Hr = H(r-1) + F(H(r-1), Wm); Bm = gate([B0 ... B(m-1), H1 ... HR]); y_m = x + f(Bm)."""
        x = bicubic(x, self.upscale)
        blocks, sides = [self.pre("extract", x)], []
        for m in range(3):
            h, short = blocks[-1], []
            for r in range(2):
                own = f"blocks.{m}.recursion"
                inner = self.after(f"{own}.norms.{r}.0", f"{own}.convs.0", h)
                h = h + self.after(f"{own}.norms.{r}.1", f"{own}.convs.1", inner)
                short.append(h)
            blocks.append(self.pre(f"blocks.{m}.gate", torch.cat([*blocks, *short], 1)))
            sides.append(x + self.after(f"reconstruct.norms.{m}.0", "reconstruct.convs.0", blocks[-1]))
        return [*sides, sum(w * y for w, y in zip(self.w["weights"], sides, strict=True))]

    def mdsr(self, x):
        def block(name, x):
            return x + self.conv(f"{name}.conv2", self.conv(f"{name}.conv1", x).clamp(min=0))

        mean = torch.tensor((DIV2K_MEAN * 2)[: x.shape[1]]).double().view(-1, 1, 1)
        branch = f"x{self.upscale}"
        x = self.conv("conv_first", (x - mean) * 255)
        for i in range(2):
            x = block(f"before.{branch}.{i}", x)
        skip = x
        for i in range(2):
            x = block(f"body.{i}", x)
        x = skip + self.conv("body.2", x)
        for i in range(int(math.log2(self.upscale))):  # once for 3
            x = shuffled(self.conv(f"upsample.{branch}.{2 * i}", x), 3 if self.upscale == 3 else 2)
        return [self.conv(f"conv_last.{branch}", x) / 255 + mean]


OTHER_ARGUMENTS = [
    (SRCNNArch, {"kernel_sizes": (9, 1, 5)}),
    *((network, {"bias": False}) for network in NETWORKS if network is not MDSRArch),
    (LapSRNArch, {"up_size": 4}),
    *((network, {"batch_norm": False}) for network in NORMALISED),
    (MDSRArch, {"shared_tail": True}),
    *((network, {"num_in_ch": 4 - channels_of(network)}) for network in NETWORKS),
]


@pytest.mark.parametrize(
    ("network", "upscale", "arguments"),
    [*((network, upscale, {}) for network, upscale in SCALES), *((one, 2, more) for one, more in OTHER_ARGUMENTS)],
)
def test_the_output_is_the_papers_equations(network, upscale, arguments):
    net = stir(small(network, upscale, **arguments)).eval()
    x = image(2, arguments.get("num_in_ch", channels_of(network)), 6, 9)
    images = Equations(net, upscale).of(x.double())
    with torch.no_grad():
        out = call(net, x, upscale)
    assert out.dtype == torch.float32
    spread = images[-1].std()
    torch.testing.assert_close(out.double(), images[-1], rtol=0, atol=2e-6 * max(1.0, images[-1].abs().max()))
    # What the network adds to an enlarged image is no trifle, so that a wrong layer shows.
    assert spread > 0.02
    assert (images[-1] - bicubic(x.double(), upscale)).std() > 0.02


@pytest.mark.parametrize("network", LISTS)
def test_in_training_come_all_images_and_the_final_one_last(network):
    arguments = {"batch_norm": False} if network is MemNetArch else {}
    net, x = stir(small(network, 4, **arguments)), image(2, 1, 5, 6)
    expected = Equations(net, 4).of(x.double())
    with torch.no_grad():
        training, final = net.train()(x), net.eval()(x)
    assert isinstance(training, list)
    assert len(training) == len(expected) == {DRCNArch: 3 + 1, MemNetArch: 3 + 1, LapSRNArch: 2}[network]
    for one, other in zip(training, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=2e-6 * max(1.0, float(other.abs().max())))
    assert torch.equal(training[-1], final)
    sizes = [tuple(one.shape[-2:]) for one in training]
    assert sizes == ([(10, 12), (20, 24)] if network is LapSRNArch else [(20, 24)] * 4)


@pytest.mark.parametrize("network", [one for one in NETWORKS if one not in LISTS])
def test_in_training_too_there_is_one_image(network):
    out = call(small(network).train(), image(2, channels_of(network), 6, 6), 2)
    assert isinstance(out, torch.Tensor)
    assert out.shape == (2, channels_of(network), 12, 12)


@pytest.mark.parametrize("network", NORMALISED)
def test_in_training_normalisation_is_the_batchs(network):
    """Each unit keeps statistics of its own, which a forward pass in training moves and one in evaluation does not."""
    net, x = stir(small(network)), image(4, 1, 8, 8)
    running = {name: tensor.clone() for name, tensor in net.named_buffers() if name.endswith("running_mean")}
    net.eval()(x)
    assert all(torch.equal(dict(net.named_buffers())[name], tensor) for name, tensor in running.items())
    net.train()(x)
    after = dict(net.named_buffers())
    assert all(not torch.equal(after[name], tensor) for name, tensor in running.items())
    first = {DRRNArch: "first", MemNetArch: "extract"}[network] + ".norm.running_mean"
    expected = 0.9 * running[first] + 0.1 * BicubicUpsample(2)(x).mean()
    torch.testing.assert_close(after[first], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("network", ENLARGED_FIRST)
def test_one_set_of_weights_serves_all_scales(network):
    """An image that is enlarged already goes through a network of `upscale` 1, with the same weights."""
    whole, inner = stir(small(network, 3)).eval(), small(network, 1).eval()
    inner.load_state_dict(whole.state_dict(), strict=True)
    x = image(1, 1, 6, 5)
    with torch.no_grad():
        torch.testing.assert_close(inner(BicubicUpsample(3)(x)), whole(x), rtol=0, atol=1e-6)
        assert (whole(x) - BicubicUpsample(3)(x)).std() > 0.05


@pytest.mark.parametrize("network", NETWORKS)
def test_forward_leaves_its_input_alone(network):
    upscale = 1 if network in ENLARGED_FIRST else 2
    net, x = stir(small(network, upscale)), image(2, channels_of(network), 6, 6)
    before = x.clone()
    for training in (False, True):
        call(net.train(training), x, upscale)
        assert torch.equal(x, before)


@pytest.mark.parametrize("network", NETWORKS)
def test_height_and_width_are_free_in_an_export(network):
    net = stir(small(network, 2)).eval()
    size = {2: torch.export.Dim("height", min=4, max=512), 3: torch.export.Dim("width", min=4, max=512)}
    channels, more = channels_of(network), (2,) if network is MDSRArch else ()
    dynamic = (size, *([None] * len(more)))
    exported = torch.export.export(net, (image(1, channels, 8, 10), *more), dynamic_shapes=dynamic).module()
    x = image(1, channels, 7, 11)
    torch.testing.assert_close(exported(x, *more), net(x, *more), rtol=0, atol=2e-6)


# -- gradients


def total(out: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    """One number of all images, to which no two pixels contribute alike."""
    images = out if isinstance(out, list) else [out]
    return sum((one * image(*one.shape, seed=3).to(one)).sum() + (one**2).sum() for one in images)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_parameter_gets_a_gradient(network):
    """From the initial weights, as in training. Normalisations stay as in evaluation: in training the mean that they
    take off makes the gradient of the bias before them 0."""
    net = small(network, 4).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    scales = (2, 3, 4) if network is MDSRArch else (4,)
    for scale in scales:
        total(call(net, image(2, channels_of(network), 6, 6), scale)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_step_of_mdsr_trains_one_branch():
    net = small(MDSRArch)
    total(net(image(2, 3, 6, 6), 3)).backward()
    got = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert got == {name for name, _ in net.named_parameters() if ".x2." not in name and ".x4." not in name}


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_are_finite_differences(network):
    """Along one direction in the space of all weights, in float64."""
    upscale = 1 if network in ENLARGED_FIRST else 2
    net, x = stir(small(network, upscale)).double().eval(), image(1, channels_of(network), 5, 6).double()
    generator = torch.Generator().manual_seed(4)
    used = {name: one.detach() for name, one in net.named_parameters() if ".x3." not in name and ".x4." not in name}
    direction = {key: torch.randn(one.shape, generator=generator, dtype=torch.float64) for key, one in used.items()}

    def at(step):
        moved = {name: one + step * direction[name] for name, one in used.items()}
        return total(torch.func.functional_call(net, moved, (x, upscale) if network is MDSRArch else (x,)))

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(at(step), step)
    difference = (at(1e-6) - at(-1e-6)) / 2e-6
    assert slope.item() == pytest.approx(difference.item(), rel=1e-5)
    assert abs(slope) > 1


# -- initial weights


def assert_normal(weight: torch.Tensor, std: float, name: str) -> None:
    """Mean 0 and the standard deviation, within five of an estimate's own standard deviations."""
    assert weight.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * weight.numel())), name
    assert abs(weight.mean().item()) < 5 * std / math.sqrt(weight.numel()), name


def he_of(*taps: int) -> float:
    """He et al. (ICCV 2015)."""
    return math.sqrt(2 / math.prod(taps))


EXPECTED_STDS = {
    # Of what is not named: He's.
    SRCNNArch: {"conv1": 0.001, "conv2": 0.001, "conv3": 0.001},
    FSRCNNArch: {"deconv": 0.001},
    ESPCNArch: {"conv3": 0.001},
    VDSRArch: {},
    DRCNArch: {},
    # The authors' init_LapSRN_model.m; the last branch's 9 * 64 too, although it has as many inputs and one output.
    LapSRNArch: {"conv_first": 0.001},
    DRRNArch: {},
    MemNetArch: {},
}


@pytest.mark.parametrize("network", EXPECTED_STDS)
def test_initial_weights(network):
    torch.manual_seed(0)
    net, seen = network(), 0
    for name, module in net.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            continue
        if module.bias is not None:
            assert torch.equal(module.bias, torch.zeros_like(module.bias)), name
        if name == "recursive" or name.endswith(".image"):
            continue  # below
        std = EXPECTED_STDS[network].get(name)
        if std is None:
            outputs, *inputs = module.weight.shape
            if network in (FSRCNNArch, ESPCNArch):  # by the number of outputs
                inputs = [outputs, *inputs[1:]]
            std = math.sqrt(2 / (9 * 64)) if network is LapSRNArch else he_of(*inputs)
        assert_normal(module.weight, std, name)
        seen += 1
    layers = {SRCNNArch: 3, FSRCNNArch: 8, ESPCNArch: 3, VDSRArch: 20, DRCNArch: 4, LapSRNArch: 25, DRRNArch: 4}
    assert seen == {**layers, MemNetArch: 1 + 6 * 3 + 1}[network]


def test_drcn_begins_as_the_mean_of_predictions_that_agree():
    """The recursive convolution begins as the identity, so every recursion leaves the features as they are."""
    net, x = small(DRCNArch, num_feat=16).train(), image(1, 1, 6, 7)
    identity = torch.zeros(16, 16, 3, 3)
    for channel in range(16):
        identity[channel, channel, 1, 1] = 1
    assert torch.equal(net.recursive.weight, identity)
    assert torch.equal(net.weights, torch.full((3,), 1 / 3))
    *sides, final = net(x)
    for one in sides:
        torch.testing.assert_close(one, sides[0])
    torch.testing.assert_close(final, sides[0])


def test_memnet_begins_as_the_mean_of_its_blocks():
    net, x = small(MemNetArch).train(), image(2, 1, 6, 7)
    *sides, final = net(x)
    torch.testing.assert_close(final, sum(sides) / 3)
    assert not torch.allclose(sides[0], sides[1], atol=1e-2)


def test_lapsrn_begins_with_a_bilinear_image_branch():
    row = np.array([1, 3, 3, 1]) / 4
    np.testing.assert_array_equal(bilinear().numpy(), np.outer(row, row))
    net = small(LapSRNArch, 4, num_in_ch=3)
    for level in net.levels:
        assert level.image.weight.shape == (3, 1, 4, 4)
        assert all(torch.equal(one[0], bilinear()) for one in level.image.weight)
        assert level.image.weight.requires_grad
        assert level.image.bias is None


def test_bilinear_filters_double_a_ramp():
    """Twice the pixels on the same straight line: pixel i of the output lies at (i + 0.5) / 2 - 0.5 of the input."""
    level = small(LapSRNArch).levels[0]
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    doubled = level.image((3 * rows - 2 * columns + 1)[None, None])[0, 0]
    rows, columns = torch.meshgrid((torch.arange(12) - 0.5) / 2, (torch.arange(14) - 0.5) / 2, indexing="ij")
    expected = 3 * rows - 2 * columns + 1
    torch.testing.assert_close(doubled[1:-1, 1:-1], expected[1:-1, 1:-1])


def test_normalisations_begin_neutral():
    for network in NORMALISED:
        for module in small(network).modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.weight.eq(1).all() and module.bias.eq(0).all()
                assert (module.eps, module.momentum) == (1e-5, 0.1)


def test_mdsr_begins_with_torchs_own_weights():
    """Uniform up to 1 / sqrt(inputs), biases too: torch's default, as in the authors' code."""
    torch.manual_seed(0)
    net = MDSRArch(num_feat=32, num_block=1)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            limit = 1 / math.sqrt(math.prod(module.weight.shape[1:]))
            assert 0.98 * limit < module.weight.abs().max() <= limit, name
            assert 0 < module.bias.abs().max() <= limit, name
            assert module.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.1), name


# -- LapSRN's transposed filters


@pytest.mark.parametrize(("size", "first"), [(3, 0), (4, 1)])
def test_which_rows_of_the_doubled_features_stay(size, first):
    """3x3: the first 2n of 2n + 1 rows and columns; 4x4: the middle 2n of 2n + 2."""
    doubling = small(LapSRNArch, num_feat=1, up_size=size, bias=False).levels[0].doubling
    nn.init.zeros_(doubling.deconv.weight)
    with torch.no_grad():
        doubling.deconv.weight[0, 0, first, first] = 1  # this tap alone puts pixel (i, j) at (2i, 2j)
    x = image(1, 1, 3, 4)
    expected = torch.zeros(1, 1, 6, 8)
    expected[..., ::2, ::2] = x
    assert torch.equal(doubling(x), expected)


# -- what is refused


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_input_of_other_channels_is_refused(network, channels):
    net = small(network, num_in_ch=channels)
    said = rf"{network.__name__}: the input has {4 - channels} channels, num_in_ch is {channels}: let num_in_ch"
    with pytest.raises(ValueError, match=said):
        call(net, image(1, 4 - channels, 6, 6), 2)


BAD_NUMBERS = [
    *((network, "num_in_ch") for network in NETWORKS),
    *((network, "upscale") for network in NETWORKS if network is not MDSRArch),
    *((network, name) for network in NETWORKS for name in SMALL[network] if name.startswith(("num_", "depth"))),
]


@pytest.mark.parametrize(
    ("network", "argument"), [(network, argument) for network, argument in BAD_NUMBERS if argument != "num_feats"]
)
@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_what_is_no_whole_number_is_refused(network, argument, value):
    with pytest.raises(ValueError, match=f"{network.__name__}: {argument}={value}: expected"):
        network(**{argument: value})


@pytest.mark.parametrize(
    ("network", "arguments", "said"),
    [
        (SRCNNArch, {"kernel_sizes": (9, 5)}, r"SRCNNArch: .*kernel_sizes=\(9, 5\).*three odd sizes"),
        (SRCNNArch, {"kernel_sizes": (9, 4, 5)}, r"SRCNNArch: .*kernel_sizes=\(9, 4, 5\)"),
        (SRCNNArch, {"num_feats": [64]}, r"SRCNNArch: num_feats=\[64\].*two numbers of channels"),
        (ESPCNArch, {"num_feats": [64]}, r"ESPCNArch: num_feats=\[64\]: expected two numbers"),
        (ESPCNArch, {"num_feats": [64, 32, 16]}, r"ESPCNArch: num_feats=\[64, 32, 16\]: expected two numbers"),
        (VDSRArch, {"num_layers": 1}, "VDSRArch: num_layers=1: expected 2 or more"),
        (LapSRNArch, {"upscale": 3}, r"LapSRNArch: upscale=3: expected 2, 4 or 8 \(for 3 reduce the x4 result\)"),
        (LapSRNArch, {"upscale": 16}, "LapSRNArch: upscale=16"),
        (LapSRNArch, {"up_size": 5}, "LapSRNArch: up_size=5: expected 3 or 4"),
        (MDSRArch, {"scales": []}, r"MDSRArch: scales=\[\]: expected several"),
        (MDSRArch, {"scales": 3}, "MDSRArch: scales=3: expected several"),
        (MDSRArch, {"img_range": 0}, "MDSRArch: img_range=0: expected a positive number"),
        (SRCNNArch, {"kernel_sizes": (9, -1, 5)}, r"SRCNNArch: .*kernel_sizes=\(9, -1, 5\)"),
        (SRCNNArch, {"num_feats": (0, 32)}, "SRCNNArch: num_feats=0: expected a whole number"),
        (ESPCNArch, {"num_feats": 32}, "ESPCNArch: num_feats=32: expected two numbers"),
        (LapSRNArch, {"upscale": 2.0}, "LapSRNArch: upscale=2.0: expected a whole number"),
        (MDSRArch, {"scales": (2, 0)}, r"MDSRArch: scales=\(2, 0\): .*scale=0: expected a whole number"),
        (MDSRArch, {"scales": (2, 5)}, r"MDSRArch: scales=\(2, 5\): upscale=5: expected 3 or a power"),
        (MDSRArch, {"num_in_ch": 1}, r"MDSRArch: rgb_mean=\(0.4488, 0.4371, 0.404\): expected one value for each of 1"),
        (MDSRArch, {"rgb_mean": [0.5]}, r"MDSRArch: rgb_mean=\[0.5\]: expected one value for each of 3"),
    ],
)
def test_bad_arguments_are_refused_by_name(network, arguments, said):
    with pytest.raises(ValueError, match=said):
        network(**arguments)


@pytest.mark.parametrize("scale", [1, 5, 8])
def test_mdsr_refuses_a_scale_it_has_not(scale):
    with pytest.raises(ValueError, match=f"MDSRArch: scale {scale}: this network has 2, 3, 4"):
        small(MDSRArch)(image(1, 3, 6, 6), scale)


# -- MDSR's scales


@pytest.mark.parametrize("scales", [(2,), [8, 2], (1, 3)])
def test_mdsr_has_the_scales_it_was_given(scales):
    net = small(MDSRArch, scales=scales).eval()
    assert net.scales == tuple(scales)
    for scale in scales:
        assert net(image(1, 3, 4, 5), scale).shape == (1, 3, 4 * scale, 5 * scale)


def test_mdsr_works_in_its_own_range():
    """A last layer of zeros leaves the mean; a range of 1 with weights of 255 times the first layer's is the same."""
    net = stir(small(MDSRArch, img_range=255.0)).eval()
    x = image(1, 3, 5, 5)
    other = small(MDSRArch, img_range=1.0).eval()
    state = net.state_dict()
    state["conv_first.weight"] = state["conv_first.weight"] * 255
    state |= {key: value / 255 for key, value in state.items() if key.startswith("conv_last.")}
    other.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(other(x, 2), net(x, 2), rtol=1e-5, atol=1e-5)
        for last in net.conv_last.values():
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        torch.testing.assert_close(net(x, 3), torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1).expand(1, 3, 15, 15))


@pytest.mark.parametrize("network", [VDSRArch, DRCNArch])
def test_a_network_that_enlarges_can_be_cast_as_a_whole(network):
    net = small(network, upscale=2).double().eval()
    with torch.no_grad():
        out = net(torch.rand(1, 1, 5, 4, dtype=torch.float64))
    assert (out.dtype, out.shape) == (torch.float64, (1, 1, 10, 8))
