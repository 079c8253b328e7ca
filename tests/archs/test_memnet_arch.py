"""MemNet (ICCV 2017)."""

import pytest
import torch
from torch import nn

from rcan_plugin.archs.memnet_arch import MemNetArch
from tests.archs.equations import bicubic
from tests.archs.network_tests import (
    BatchNormTests,
    BicubicFirstTests,
    NetworkTests,
    check_initial_weights,
    count,
    he_std,
    image,
    meta,
    pre_activated_keys,
    recursion_keys,
)


class TestMemNet(BicubicFirstTests, BatchNormTests, NetworkTests):
    network = MemNetArch
    papers_arguments = {"num_feat": 64, "num_block": 6, "num_recursion": 6, "batch_norm": True}
    keys = [
        "weights",
        *pre_activated_keys("extract"),
        *(
            key
            for m in range(3)
            for key in (
                *recursion_keys(f"blocks.{m}.recursion", convs=2, times=2),
                *pre_activated_keys(f"blocks.{m}.gate"),
            )
        ),
        *recursion_keys("reconstruct", convs=1, times=3),
    ]
    variants = ({"bias": False}, {"batch_norm": False})
    sizes_in_training = [(20, 24)] * (3 + 1)
    first_norm = "extract.norm"

    def equations(self, w, x, upscale, **_):
        """B0 = extract(x); Hr = H(r-1) + F(H(r-1), Wm); Bm = gate([B0 ... B(m-1), H1 ... HR]); y_m = x + f(Bm)."""
        x = bicubic(x, upscale)
        blocks, predictions = [w.pre_activated("extract", x)], []
        for m in range(3):
            h, short_term = blocks[-1], []
            for r in range(2):
                name = f"blocks.{m}.recursion"
                inner = w.relu_conv(f"{name}.norms.{r}.0", f"{name}.convs.0", h)
                h = h + w.relu_conv(f"{name}.norms.{r}.1", f"{name}.convs.1", inner)
                short_term.append(h)
            blocks.append(w.pre_activated(f"blocks.{m}.gate", torch.cat([*blocks, *short_term], 1)))
            predictions.append(x + w.relu_conv(f"reconstruct.norms.{m}.0", "reconstruct.convs.0", blocks[-1]))
        return [*predictions, sum(w_m * y_m for w_m, y_m in zip(w["weights"], predictions, strict=True))]

    def test_the_output_starts_as_the_mean_of_the_predictions(self):
        net, x = self.small().train(), image(2, 1, 6, 7)
        *predictions, final = net(x)
        torch.testing.assert_close(final, sum(predictions) / 3)
        assert not torch.allclose(predictions[0], predictions[1], atol=1e-2)


# Published for M6R6: 677K, without the 6 weights of the sum.
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (676_992 + 6, 1_217, 17_282)),
        ({"batch_norm": False}, (676_992 + 6, 1_217, 0)),
        ({"bias": False, "batch_norm": False}, (676_992 + 6, 0, 0)),
    ],
)
def test_parameter_counts(arguments, expected):
    assert count(MemNetArch, **arguments) == expected


def test_recursions_share_convolutions_inside_a_block():
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


def test_initial_weights():
    torch.manual_seed(0)
    convs = 1 + 6 * 3 + 1
    assert check_initial_weights(MemNetArch(), lambda name, module: he_std(*module.weight.shape[1:])) == convs
