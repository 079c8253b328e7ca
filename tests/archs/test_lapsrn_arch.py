"""LapSRN (CVPR 2017)."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from rcan_plugin.archs.lapsrn_arch import LapSRNArch, bilinear
from tests.archs.equations import transposed_conv
from tests.archs.network_tests import (
    NetworkTests,
    check_initial_weights,
    count,
    image,
    meta,
    shapes,
    weight_and_bias,
)


class TestLapSRN(NetworkTests):
    network = LapSRNArch
    papers_arguments = {"num_feat": 64, "depth": 10, "up_size": 3}
    scales = (2, 4, 8)
    keys = [
        *weight_and_bias("conv_first", "levels.0.convs.0", "levels.0.convs.1"),
        *weight_and_bias("levels.0.doubling.deconv", "levels.0.residual"),
        "levels.0.image.weight",
    ]
    variants = ({"bias": False}, {"up_size": 4})
    sizes_in_training = [(10, 12), (20, 24)]

    def equations(self, w, x, upscale, **_):
        """Of the transposed convolution's 2n + 1 rows and columns the first 2n stay (the authors' code, `crop`)."""

        def leaky(x):
            return torch.where(x > 0, x, 0.2 * x)

        features, images = leaky(w.conv("conv_first", x)), []
        for k in range(int(math.log2(upscale))):
            height, width = (2 * size for size in x.shape[-2:])
            for i in range(2):
                features = leaky(w.conv(f"levels.{k}.convs.{i}", features))
            name = f"levels.{k}.doubling.deconv"
            first = w[f"{name}.weight"].shape[-1] - 3
            features = transposed_conv(features, w[f"{name}.weight"], 2)
            features = features[:, :, first : first + height, first : first + width]
            features = leaky(features + w.bias(name))
            filters = w[f"levels.{k}.image.weight"]
            planes = [transposed_conv(x[:, c : c + 1], filters[c : c + 1], 2) for c in range(x.shape[1])]
            x = torch.cat(planes, 1)[:, :, 1 : 1 + height, 1 : 1 + width] + w.conv(f"levels.{k}.residual", features)
            images.append(x)
        return images

    def test_the_image_branch_starts_bilinear(self):
        row = np.array([1, 3, 3, 1]) / 4
        np.testing.assert_array_equal(bilinear().numpy(), np.outer(row, row))
        for level in self.small(4, num_in_ch=3).levels:
            assert level.image.weight.shape == (3, 1, 4, 4)
            assert all(torch.equal(filters[0], bilinear()) for filters in level.image.weight)
            assert level.image.weight.requires_grad
            assert level.image.bias is None

    def test_bilinear_filters_double_a_ramp(self):
        """Twice the pixels on the same line: pixel i of the output lies at (i + 0.5) / 2 - 0.5 of the input."""
        level = self.small().levels[0]
        rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
        doubled = level.image((3 * rows - 2 * columns + 1)[None, None])[0, 0]
        rows, columns = torch.meshgrid((torch.arange(12) - 0.5) / 2, (torch.arange(14) - 0.5) / 2, indexing="ij")
        expected = 3 * rows - 2 * columns + 1
        torch.testing.assert_close(doubled[1:-1, 1:-1], expected[1:-1, 1:-1])

    @pytest.mark.parametrize(("size", "first"), [(3, 0), (4, 1)])
    def test_which_rows_of_the_doubled_features_stay(self, size, first):
        """3x3: the first 2n of 2n + 1 rows and columns; 4x4: the middle 2n of 2n + 2."""
        doubling = self.small(num_feat=1, up_size=size, bias=False).levels[0].doubling
        nn.init.zeros_(doubling.deconv.weight)
        with torch.no_grad():
            doubling.deconv.weight[0, 0, first, first] = 1  # this tap alone puts pixel (i, j) at (2i, 2j)
        x = image(1, 1, 3, 4)
        expected = torch.zeros(1, 1, 6, 8)
        expected[..., ::2, ::2] = x
        assert torch.equal(doubling(x), expected)


# Published at x4: 812K, which only transposed filters of 3x3 give (4x4: 870K).
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (812_768, 1_474, 0)),
        ({"upscale": 2}, (406_672, 769, 0)),
        ({"upscale": 8}, (1_218_864, 2_179, 0)),
        ({"bias": False}, (812_768, 0, 0)),
        ({"up_size": 4}, (812_768 + 2 * 7 * 64 * 64, 1_474, 0)),
        ({"up_size": 4, "bias": False, "upscale": 2}, (406_672 + 7 * 64 * 64, 0, 0)),
    ],
)
def test_parameter_counts(arguments, expected):
    assert count(LapSRNArch, **arguments) == expected


def test_layers():
    level = [*[(64, 64, 3, 3)] * 11, (1, 64, 3, 3), (1, 1, 4, 4)]
    for upscale, levels in ((2, 1), (4, 2), (8, 3)):
        net = meta(LapSRNArch, upscale=upscale)
        assert shapes(net) == [(64, 1, 3, 3), *level * levels]
        assert all(part.doubling.deconv.stride == part.image.stride == (2, 2) for part in net.levels)
    wide = meta(LapSRNArch, upscale=2, up_size=4).levels[0]
    assert wide.doubling.deconv.weight.shape == (64, 64, 4, 4)


def test_initial_weights():
    """The authors' init_LapSRN_model.m: 9 * 64 also for the residual, which has as many inputs and one output."""

    def std(name, module):
        if name.endswith(".image"):
            return None
        return 0.001 if name == "conv_first" else math.sqrt(2 / (9 * 64))

    torch.manual_seed(0)
    assert check_initial_weights(LapSRNArch(), std) == 25


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"upscale": 3}, r"LapSRNArch: upscale is 3; expected 2, 4 or 8 \(for x3 reduce the x4 result\)"),
        ({"upscale": 16}, "LapSRNArch: upscale is 16"),
        ({"upscale": 2.0}, "LapSRNArch: upscale is 2.0; expected a whole number"),
        ({"up_size": 5}, "LapSRNArch: up_size is 5; expected 3 or 4"),
    ],
)
def test_errors_name_the_argument_and_its_value(arguments, words):
    with pytest.raises(ValueError, match=words):
        LapSRNArch(**arguments)
