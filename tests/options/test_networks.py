"""Networks that cannot be built, do not fit the data, or are too large are refused before they are built."""

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from tests.options.wrong import BASES, MISSING, changed, gan, refused, training, understood

SWIN = {"type": "SwinIR", "upscale": 2, "img_size": 8, "window_size": 8, "depths": [1], "embed_dim": 12,
        "num_heads": [2], "mlp_ratio": 2, "upsampler": "pixelshuffle"}  # fmt: skip
VGG = {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 4}

WRONG = [
    (
        "SRModel",
        {"network_g__upscale": 4},
        "network_g: RCANArch makes 3 x 32 x 32 of an LR image of 3 x 8 x 8 (datasets:"
        " train), and its HR image is 3 x 16 x 16: scale is 2 and disagrees with network_g: upscale 4.",
    ),
    ("stock", {"network_g__upscale": 3}, "scale is 2 and disagrees with network_g: upscale 3."),
    (
        "SRModel",
        {"network_g__upscale": 5},
        "network_g: RCANArch cannot be built: RCANArch: upscale is 5; expected 3 or a",
    ),
    (
        "SRModel",
        {"network_g__squeeze_factor": 64},
        "network_g: RCANArch cannot be built: RCANArch: num_feat=8 is below",
    ),
    (
        "SRModel",
        {"datasets__train__channels": 1},
        "fails for an LR image of 1 x 8 x 8 (datasets: train): RCANArch: the",
    ),
    (
        "SRModel",
        {"datasets__val__color": "y"},
        "fails for an LR image of 1 x 48 x 48 (datasets: val): RCANArch: the inpu",
    ),
    (
        "SRModel",
        {"network_g__num_out_ch": 1},
        "its HR image is 3 x 16 x 16: correct the network's channels, or the data's",
    ),
    ("SRModel", {"datasets__train__pre_upsample": True}, "3 x 16 x 16: pre_upsample is true, so that the network must"),
    ("SRModel", {"network_g__num_block": 10**9}, "network_g: num_block: is 1000000000; expected at most 100000."),
    ("stock", {"network_g__num_feat": 100_000}, "GB of weights; this machine has "),
    ("stock", {"network_g__num_block": -1}, "network_g: num_block: is -1; expected a number above 0."),
    ("stock", {"network_g__img_range": 0}, "network_g: img_range: is 0; expected a number above 0."),
    (
        "gan",
        {"network_d": VGG},
        "network_d: VGGStyleDiscriminator fails for an HR crop of 3 x 16 x 16 (datasets: train: g",
    ),
    ("gan", {"network_d__num_in_ch": 1}, "network_d: UNetDiscriminatorSN fails for an HR crop of 3 x 16 x 16"),
    ("stock", {"network_g": {**SWIN, "upscale": 3}}, "scale is 2 and disagrees with network_g: upscale 3."),
    ("stock", {"network_g": {**SWIN, "upsampler": "pixelshuffel"}}, "agrees with scale 2: correct the other arguments"),
    ("stock", {"network_g": {**SWIN, "in_chans": 1}}, "SwinIR fails for an LR image of 3 x 8 x 8 (datasets"),
    ("ours", {"train__pixel_opt": {"type": "RecursiveLoss"}}, "pixel_opt: type: does not fit network_g: RecursiveLoss"),
    ("gan", {"network_d": {**VGG, "input_size": 100}}, "network_d: VGGStyleDiscriminator cannot be built: "),
]


@pytest.mark.parametrize(("base", "changes", "expected"), WRONG, ids=[str(entry[1])[:60] for entry in WRONG])
def test_a_network_that_does_not_fit(base, changes, expected, tmp_path):
    messages = refused(tmp_path / "o.yml", changed(BASES[base](), **changes))
    assert len(messages) == 1 and expected in messages[0], messages


def test_networks_that_fit(tmp_path):
    luma = {"network_g__num_in_ch": 1, "network_g__num_out_ch": 1, "network_g__rgb_mean": [0.4]}
    y = {f"datasets__{phase}__color": "y" for phase in ("train", "val")}
    understood(tmp_path / "o.yml", changed(training(), **luma, **y))
    pre_upsampled = {f"datasets__{phase}__pre_upsample": True for phase in ("train", "val")}
    vdsr = {"type": "VDSRArch", "num_in_ch": 3, "num_feat": 4, "num_layers": 3}
    understood(tmp_path / "o.yml", changed(training(), network_g=vdsr, **pre_upsampled))
    understood(tmp_path / "o.yml", changed(BASES["stock"](), network_g=SWIN))
    several = {"type": "DRCNArch", "num_in_ch": 3, "num_feat": 4, "num_recursion": 2, "upscale": 1}
    recursive = {"network_g": several, "train__pixel_opt": {"type": "RecursiveLoss"}}
    understood(tmp_path / "o.yml", changed(BASES["ours"](), **recursive, **pre_upsampled))
    crop = {"datasets__train__gt_size": 128}
    understood(tmp_path / "o.yml", changed(gan(), network_d={**VGG, "input_size": 128}, **crop))


def test_networks_of_other_people(tmp_path, monkeypatch):
    class Theirs(nn.Module):
        """Needs values: it cannot be built or run without."""

        def __init__(self, upscale, width=4, *, mode: str = "a"):
            super().__init__()
            if float(torch.ones(1)) != 1:
                raise ValueError
            self.body = nn.Conv2d(3, 3 * upscale**2, 3, padding=1)
            self.shuffle = nn.PixelShuffle(upscale)

        def forward(self, x):
            assert x.mean().item() == 0
            return self.shuffle(self.body(x))

    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Theirs", Theirs)
    path, options = tmp_path / "o.yml", changed(training(), network_g={"type": "Theirs", "upscale": 2})
    states = torch.get_rng_state()
    understood(path, options)
    assert torch.equal(torch.get_rng_state(), states)
    assert "network_g: widht: is 8; Theirs has no such argument. Did you mean width?" in refused(
        path, changed(options, network_g__widht=8)
    )[0]  # fmt: skip
    assert "network_g: upscale: the key is missing" in refused(path, changed(options, network_g__upscale=MISSING))[0]
    assert "network_g: mode: is 1; expected text." in refused(path, changed(options, network_g__mode=1))[0]
