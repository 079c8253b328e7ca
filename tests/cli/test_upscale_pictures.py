"""`rcan upscale` from files to files, with weights on disk: what a picture is made of arrives in the result."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from rcan_plugin import weights
from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.cli import upscale
from rcan_plugin.inference import upscaler
from rcan_plugin.resampling.bicubic import imresize
from tests.upscaling.pictures_on_disk import doubled, files_in, make, pixels_of, random_pixels

ARGUMENTS = {"num_feat": 4, "num_group": 1, "num_block": 1, "squeeze_factor": 2, "upscale": 2}


def repeating_network() -> RCANArch:
    """A small RCAN whose result repeats each pixel: all weights are zero but those that copy the colours."""
    network = RCANArch(**ARGUMENTS)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        state = network.state_dict()
        for channel in range(3):
            state["conv_first.weight"][channel, channel, 1, 1] = 1
            state["upsample.0.weight"][4 * channel : 4 * channel + 4, channel, 1, 1] = 1
            state["conv_last.weight"][channel, channel, 1, 1] = 1
    return network


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Weights that repeat pixels (`w.safetensors`), random ones (`random.pth`), and too large ones (`large.pth`)."""
    folder = tmp_path_factory.mktemp("weights")
    weights.save(folder / "w.safetensors", repeating_network(), **ARGUMENTS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights.save(folder / "random.pth", RCANArch(**ARGUMENTS), **ARGUMENTS)
    torch.save({"params": repeating_network().state_dict()}, folder / "plain.pth")
    large = {name: value * 100 for name, value in repeating_network().state_dict().items()}
    weights.save(folder / "large.pth", weights.Weights(large, "RCANArch", ARGUMENTS))
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(folder):
    def run(*arguments: str, weights: str = "w.safetensors") -> int:
        return upscale.main([*arguments, "--weights", str(folder / weights)])

    return run


def test_colour_of_8_and_16_bits(call, folder, capsys):
    pixels = make(Path("a.png"), 5, 7)
    assert call("a.png", "-o", "b.png", "--device", "cpu", "--precision", "bf16") == 0
    assert capsys.readouterr().out == (
        f"{folder}/w.safetensors: x2, on cpu, in bfloat16.\nUpscaled 1 of 1 pictures: b.png.\n"
    )
    assert call("a.png", "-o", "b.png", "--overwrite") == 0
    np.testing.assert_array_equal(pixels_of(Path("b.png")), doubled(pixels))
    deep = np.random.default_rng(1).integers(0, 1 << 16, (5, 7, 3), np.uint16)
    for name in ("deep.png", "deep.tif"):
        assert cv2.imwrite(name, deep)
        assert call(name, "-o", f"out_{name}") == 0
        result = cv2.imread(f"out_{name}", cv2.IMREAD_UNCHANGED)
        assert result.dtype == np.uint16
        np.testing.assert_allclose(result.astype(int), doubled(deep), atol=1)


def test_gray_stays_gray(call):
    values = random_pixels(6, 5)[..., 0]
    Image.fromarray(values).save("gray.png")
    Image.fromarray(values.astype(np.uint16) * 257).save("deep.png")
    assert call("gray.png", "deep.png", "-o", "out") == 0
    with Image.open("out/gray.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), doubled(values))
    deep = cv2.imread("out/deep.png", cv2.IMREAD_UNCHANGED)
    assert deep.shape == (12, 10) and deep.dtype == np.uint16
    np.testing.assert_allclose(deep.astype(int), doubled(values.astype(int) * 257), atol=1)


def test_transparency_is_enlarged_beside_the_colours(call):
    pixels = np.dstack([random_pixels(8, 9), np.full((8, 9), 255, np.uint8)])
    pixels[:4, :4, 3] = 128
    Image.fromarray(pixels).save("a.png")
    assert call("a.png", "-o", "b.png") == 0
    result = pixels_of(Path("b.png"))
    alpha = imresize(pixels[..., 3], 2.0).astype(int)  # rounded between its passes, too
    np.testing.assert_allclose(result[..., 3].astype(int), alpha, atol=1)
    np.testing.assert_array_equal(result[..., :3], doubled(pixels[..., :3]))


def test_the_orientation_of_exif_is_applied_once(call):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"  # orientation: to be turned clockwise
    Image.fromarray(np.repeat(np.repeat(random_pixels(2, 3), 8, 0), 8, 1)).save("a.jpg", exif=exif, quality=95)
    with Image.open("a.jpg") as image:
        expected = doubled(np.rot90(np.asarray(image), -1))
    assert call("a.jpg", "-o", "b.png") == 0
    with Image.open("b.png") as image:
        np.testing.assert_array_equal(np.asarray(image), expected)
        assert image.getexif().get(0x0112, 1) == 1 and image.getexif()[0x010F] == "Maker"


def test_ways_to_run_the_network_agree(call):
    make(Path("a.png"), 20, 24)
    results = {}
    for name, *options in (
        ("whole", "--tile", "none"),
        ("exact", "--exact"),
        ("tiles", "--tile", "16"),
        ("half", "--precision", "bf16"),
        ("eight", "--ensemble"),
    ):
        assert call("a.png", "-o", f"{name}.png", *options, "--device", "cpu") == 0
        results[name] = pixels_of(Path(f"{name}.png")).astype(int)
    whole = results["whole"]
    np.testing.assert_array_equal(whole, doubled(pixels_of(Path("a.png"))))
    for name, tolerance in (("exact", 0), ("tiles", 0), ("eight", 0), ("half", 2)):
        assert np.abs(results[name] - whole).max() <= tolerance, name


def test_options_reach_the_network(call, monkeypatch):
    given = []

    class Recording(upscaler.Upscaler):
        def __init__(self, network, **options):
            given.append(options)
            super().__init__(network)

    monkeypatch.setattr(upscaler, "Upscaler", Recording)
    make(Path("a.png"))
    assert call("a.png", "-o", "b.png") == 0
    options = "--tile 32 --exact --ensemble --precision fp32 --device cpu --compile --scale 2 --overwrite"
    assert call("a.png", "-o", "b.png", *options.split()) == 0
    assert call("a.png", "-o", "b.png", "--tile", "none", "--overwrite") == 0
    switches = dict.fromkeys(("exact", "ensemble", "compile"), False)
    unset = {"tile": "auto", "precision": "auto", "device": None, "scale": None, **switches}
    assert given == [
        unset,
        {"tile": 32, "precision": "fp32", "device": "cpu", "scale": 2, **dict.fromkeys(switches, True)},
        {**unset, "tile": None},
    ]


def test_a_bad_picture_in_the_middle(call, capsys):
    for number in range(3):
        make(Path(f"in/{number}.png"), seed=number)
    Path("in/1.png").write_bytes(Path("in/1.png").read_bytes()[:70])
    assert call("in", "-o", "out", weights="random.pth") == 1
    out, err = capsys.readouterr()
    assert "Upscaled 2 of 3 pictures: out.\n" in out
    assert "Not upscaled, 1:\n  in/1.png: " in err and "Traceback" not in err
    assert files_in(Path("out")) == ["0.png", "2.png"]


def test_a_result_that_is_not_finite_is_not_written(call, capsys):
    make(Path("a.png"))
    assert call("a.png", "-o", "b.png", "--precision", "fp16", "--device", "cpu", weights="large.pth") == 1
    assert "  a.png: the result is not finite: " in (error := capsys.readouterr().err)
    assert "choose precision fp32 or bf16" in error
    assert files_in(Path()) == ["a.png"]
    assert call("a.png", "-o", "b.png", "--precision", "fp32", "--device", "cpu", weights="large.pth") == 0


def test_weights_and_devices_that_cannot_be_used(call, folder, capsys):
    make(Path("a.png"))
    (folder / "cut.pth").write_bytes((folder / "random.pth").read_bytes()[:900])
    assert call("a.png", "-o", "b.png", weights="cut.pth") == 2
    assert "cut.pth" in capsys.readouterr().err
    assert call("a.png", "-o", "b.png", "--device", "nonsense") == 2
    error = capsys.readouterr().err
    assert "nonsense" in error and error.count("\n") == 1
    assert files_in(Path()) == ["a.png"]


def test_arguments_that_the_weights_do_not_say(call, capsys):
    """Range 1 without a mean: the network of `plain.pth` adds and subtracts nothing, so that the result is the same."""
    pixels = make(Path("a.png"))
    assert call("a.png", "-o", "b.png", weights="plain.pth") == 0
    assert "plain.pth: img_range: 255, rgb_mean: " in capsys.readouterr().out
    arguments = ["--network", "RCANArch", "--arguments", "img_range=1", "rgb_mean=[0,0,0]"]
    assert call("a.png", "-o", "c.png", *arguments, weights="plain.pth") == 0
    assert "img_range" not in capsys.readouterr().out
    np.testing.assert_array_equal(pixels_of(Path("c.png")), doubled(pixels))
    assert call("a.png", "-o", "d.png", "--arguments", "strict=0", weights="plain.pth") == 2
    assert "--arguments strict=...: no network has an argument of this name." in capsys.readouterr().err
