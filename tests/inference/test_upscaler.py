"""`Upscaler`: values, sizes, types, tiles that fit, errors."""

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rcan_plugin import weights
from rcan_plugin.archs.espcn_arch import ESPCNArch
from rcan_plugin.archs.luma_only import LumaOnly
from rcan_plugin.archs.mdsr_arch import MDSRArch
from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.inference import Upscaler, memory, parts, tiles
from rcan_plugin.inference.arrays import to_array, to_tensor
from rcan_plugin.inference.ensemble import self_ensemble
from rcan_plugin.inference.memory import TooLittleMemory
from rcan_plugin.inference.tiles import tiled
from tests.archs.small import SMALL


def rcan(**arguments: object) -> RCANArch:
    torch.manual_seed(0)
    return RCANArch(**{**SMALL["RCANArch"], "upscale": 2, **arguments}).eval()


def espcn(channels: int = 3, gain: float = 100) -> ESPCNArch:
    """ESPCN, which depends on 4 pixels around each; with weights of any size in the last convolution."""
    torch.manual_seed(0)
    network = ESPCNArch(num_in_ch=channels, upscale=2).eval()
    with torch.no_grad():
        network.conv3.weight *= gain
        network.conv3.bias += 0.5
    return network


class Pooling(nn.Module):
    """Pools over the whole image, and is no RCAN."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (0.5 + x.mean((2, 3), keepdim=True))


def picture(height: int = 45, width: int = 62, channels: int = 3, dtype: type = np.float32) -> np.ndarray:
    values = np.random.default_rng(height).random((height, width, channels), dtype=np.float32)
    return values if dtype == np.float32 else (values * np.iinfo(dtype).max).astype(dtype)


def whole(network: nn.Module, image: np.ndarray, ensemble: bool = False, *arguments: int) -> np.ndarray:
    """What the network itself gives for the whole image."""
    lq = torch.from_numpy(image).permute(2, 0, 1)[None]

    def upscale(lq: torch.Tensor) -> torch.Tensor:
        return network(lq, *arguments)

    with torch.no_grad():
        sr = self_ensemble(upscale, lq) if ensemble else upscale(lq)
    return sr[0].permute(1, 2, 0).clamp(0, 1).numpy()


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without room for the features of `picture`."""
    monkeypatch.setattr(memory, "free_bytes", lambda device: 400_000)


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("tile", [None, "auto", 24])
def test_tiles_of_a_network_without_global_pooling_are_exact(tile, ensemble):
    image, network = picture(), espcn()
    upscaler = Upscaler(network, tile=tile, ensemble=ensemble)
    sr = upscaler(image)
    assert (upscaler.scale, upscaler.channels, upscaler.out_channels) == (2, 3, 3)
    np.testing.assert_allclose(sr, whole(network, image, ensemble), rtol=0, atol=5e-6)


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize(("tile", "exact"), [(None, False), ("auto", False), (16, True), ("auto", True)])
def test_rcan_is_exact_but_in_tiles(tile, exact, ensemble):
    image, network = picture(), rcan()
    sr = Upscaler(network, tile=tile, exact=exact, ensemble=ensemble)(image)
    np.testing.assert_allclose(sr, whole(network, image, ensemble), rtol=0, atol=2e-6)


def test_tiles_of_rcan_change_the_result_and_that_is_reported_once(caplog):
    image, network = picture(), rcan()
    upscaler = Upscaler(network, tile=24)
    expected = whole(network, image)
    for _ in range(2):
        assert 1e-3 < np.abs(upscaler(image) - expected).max() < 0.5
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    in_tiles = tiled(network, to_tensor(image), 2, 24, 12).detach()
    np.testing.assert_allclose(upscaler(image), to_array(in_tiles, image.dtype), rtol=0, atol=5e-6)
    assert "RCANArch depends on the whole image: tiles of 24 pixels change the result" in caplog.text
    assert np.array_equal(upscaler(image[:24, :20]), whole(network, image[:24, :20])), "smaller than a tile"


def test_with_little_memory_rcan_gets_tiles_unless_exact(little_memory, caplog):
    image, network = picture(), rcan()
    expected = whole(network, image)
    assert np.abs(Upscaler(network)(image) - expected).max() > 1e-3
    assert "For the same result in little memory choose exact" in caplog.text
    np.testing.assert_allclose(Upscaler(network, exact=True)(image), expected, rtol=0, atol=2e-6)


def test_with_little_memory_tiles_are_small(little_memory, monkeypatch):
    image, network = picture(), espcn()
    upscaler = Upscaler(network)
    strips = list(upscaler.rows(image))
    assert len(strips) > 1
    np.testing.assert_allclose(np.concatenate(strips), whole(network, image), rtol=0, atol=5e-6)


@pytest.mark.parametrize("tile", ["auto", 16])
def test_another_network_with_global_pooling(tile, caplog, monkeypatch):
    image = picture()
    monkeypatch.setattr(tiles, "LARGEST_TILE", 16)
    monkeypatch.setattr(parts, "LARGEST_TILE", 16)
    sr = Upscaler(Pooling(), tile=tile)(image)
    difference = np.abs(sr - whole(Pooling(), image)).max()
    assert (difference == 0) == (tile == "auto") == ("Pooling depends on the whole image" not in caplog.text)
    with pytest.raises(ValueError, match="exact: Pooling depends on the whole image; choose tile none"):
        Upscaler(Pooling(), tile=16, exact=True)(image)


class OutOfMemory(nn.Module):
    """A network that runs out of memory beyond a number of pixels."""

    def __init__(self, network: nn.Module, most: int) -> None:
        super().__init__()
        self.network, self.most = network, most

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2] * x.shape[3] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.network(x)


def test_out_of_memory_halves_the_tiles_of_auto_and_is_remembered(caplog):
    image, network = picture(90, 95), espcn()
    upscaler = Upscaler(OutOfMemory(network, 50 * 50))
    expected = whole(network, image)
    for _ in range(2):
        np.testing.assert_allclose(upscaler(image), expected, rtol=0, atol=5e-6)
    assert caplog.messages == ["Out of memory: tiles of 47 pixels from now on."]


def test_out_of_memory_never_changes_a_size_by_hand(caplog):
    image = picture(90, 95)
    for tile, remedy in ((60, "choose tile 30 or tile auto"), (None, "choose tile auto")):
        with pytest.raises(TooLittleMemory, match=f"out of memory for an image of 95x90: {remedy}"):
            Upscaler(OutOfMemory(espcn(), 50 * 50), tile=tile)(image)
    assert not caplog.messages
    with pytest.raises(TooLittleMemory, match="out of memory for an image of 95x90: free some memory"):
        Upscaler(OutOfMemory(espcn(), 100))(image)


def test_a_tile_smaller_than_the_receptive_field_is_refused():
    upscaler = Upscaler(espcn(), tile=20)
    with pytest.raises(ValueError, match=r"tile is 20: .* ESPCNArch depends on 4 pixels .* choose tile 24 or more"):
        upscaler(picture())
    assert upscaler(picture(20, 10)).shape == (40, 20, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_results_are_of_the_type_of_the_image(dtype):
    image, network = picture(dtype=dtype), rcan()
    largest = 1 if dtype == np.float32 else np.iinfo(dtype).max
    sr = Upscaler(network)(image)
    expected = whole(network, image.astype(np.float32) / np.float32(largest)) * largest
    assert sr.dtype == dtype and sr.shape == (90, 124, 3)
    np.testing.assert_allclose(sr.astype(np.float64), expected, rtol=0, atol=0.51 if largest > 1 else 2e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (3, 2)], ids=str)
@pytest.mark.parametrize("network", [rcan(), rcan(unshuffle=2), espcn()], ids=["RCAN", "unshuffled RCAN", "ESPCN"])
def test_images_of_any_size(network, shape):
    image = picture(*shape)
    for tile in ("auto", 32):
        sr = Upscaler(network, tile=tile, exact=True)(image)
        assert sr.shape == (2 * shape[0], 2 * shape[1], 3)
        np.testing.assert_allclose(sr, whole(network, image), rtol=0, atol=2e-6)


class Reflecting(nn.Module):
    """Takes sides of 8 or more that are multiples of 4."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(48, 48, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.conv(F.pixel_unshuffle(F.pad(x, (4, 4, 4, 4), "reflect"), 4))
        return F.pixel_shuffle(features, 4)[..., 4:-4, 4:-4] + 0.5


@pytest.mark.parametrize("shape", [(1, 1), (5, 62), (45, 61)], ids=str)
def test_images_are_padded_by_reflection_for_networks_that_take_multiples(shape):
    image, network = picture(*shape), Reflecting()
    height, width = (max(8, -(-side // 4) * 4) for side in shape)
    padded = np.pad(image, ((0, height - shape[0]), (0, width - shape[1]), (0, 0)), "reflect")
    for tile in (None, "auto", 24):
        sr = Upscaler(network, tile=tile)(image)
        np.testing.assert_allclose(sr, whole(network, padded)[: shape[0], : shape[1]], rtol=0, atol=5e-6)


def test_networks_of_one_channel_and_of_luma():
    image = picture(channels=1)
    np.testing.assert_allclose(Upscaler(espcn(1), tile=24)(image), whole(espcn(1), image), rtol=0, atol=5e-6)
    with pytest.raises(ValueError, match="the image has 3 channels, the network takes 1"):
        Upscaler(espcn(1)).rows(picture())
    luma = LumaOnly(espcn(1, gain=1))
    upscaler = Upscaler(luma, tile=24)
    assert (upscaler.channels, upscaler.out_channels) == (3, 3)
    np.testing.assert_allclose(upscaler(picture()), whole(luma, picture()), rtol=0, atol=2e-6)


def test_a_network_of_several_scales_needs_one():
    torch.manual_seed(0)
    network = MDSRArch(**SMALL["MDSRArch"]).eval()
    for scale in (None, 5):
        with pytest.raises(ValueError, match=f"scale is {scale}: MDSRArch has 2, 3, 4; choose one"):
            Upscaler(network, scale=scale)
    upscaler = Upscaler(network, scale=3, tile=48)
    assert upscaler.scale == 3
    image = picture(60, 50)
    np.testing.assert_allclose(upscaler(image), whole(network, image, False, 3), rtol=0, atol=2e-6)


def test_weights_of_a_file(tmp_path):
    network, image = rcan(), picture(9, 8)
    weights.save(tmp_path / "net.safetensors", network, **{**SMALL["RCANArch"], "upscale": 2})
    expected = whole(network, image)
    path = tmp_path / "net.safetensors"
    for given in (path, str(path), weights.read(path)):
        np.testing.assert_allclose(Upscaler(given)(image), expected, rtol=0, atol=2e-6)


def test_a_network_given_is_not_changed():
    network = rcan().train()
    Upscaler(network, precision="bf16")(picture(9, 8))
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())


def test_precisions(monkeypatch):
    image, network = picture(), rcan()
    by_precision = {name: Upscaler(network, precision=name)(image) for name in ("fp32", "bf16", "auto")}
    assert 1e-4 < np.abs(by_precision["bf16"] - by_precision["fp32"]).max() < 0.02
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert np.array_equal(Upscaler(network)(image), by_precision["bf16"])


def test_overflow_is_an_error_that_names_the_precision():
    network = rcan(img_range=1e6)
    with pytest.raises(FloatingPointError, match=r"not finite: float16 overflows .* choose precision fp32 or bf16"):
        Upscaler(network, precision="fp16")(picture(8, 8))
    assert np.isfinite(Upscaler(network, precision="fp32")(picture(8, 8))).all()


def test_rows_are_those_of_the_result():
    image = picture(100, 20, dtype=np.uint8)
    upscaler = Upscaler(espcn(), tile=32)
    strips = list(upscaler.rows(image))
    assert max(len(strip) for strip in strips) <= 64 and {strip.shape[1:] for strip in strips} == {(40, 3)}
    assert np.array_equal(np.concatenate(strips), upscaler(image))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tile": 8}, "tile is 8; expected"),
        ({"tile": "large"}, "tile is 'large'; expected"),
        ({"precision": "half"}, "precision is 'half'"),
        ({"device": "tpu9"}, "device is 'tpu9'"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        Upscaler(espcn(), **arguments)
