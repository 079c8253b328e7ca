"""`rcan upscale`: what it says and its exit codes; with a network that repeats pixels."""

import io
import logging
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rcan_plugin.cli import upscale
from rcan_plugin.pictures import MAX_PIXELS, suffix_of
from rcan_plugin.pictures.formats import FORMATS
from tests.conftest import ROOT
from tests.rights import forbidden
from tests.upscaling.pictures_on_disk import Repeating, doubled, files_in, make, pixels_of, random_pixels


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """The working folder, with `w.pth`; the network repeats pixels."""
    monkeypatch.chdir(tmp_path)
    Path("w.pth").write_bytes(b"weights")
    monkeypatch.setattr(upscale, "_upscaler", lambda args: Repeating())
    return tmp_path


def call(*arguments: str) -> int:
    return upscale.main([*arguments, "--weights", "w.pth"])


def test_a_picture_a_folder_and_a_list(monkeypatch, capsys):
    first, second = make(Path("in/a b.png")), make(Path("in/sub/ü.v2.png"), seed=1)
    Path("in/notes.txt").touch()
    assert call("in/a b.png", "-o", "one.png") == 0
    assert capsys.readouterr().out == "Upscaled 1 of 1 pictures: one.png.\n"
    np.testing.assert_array_equal(pixels_of(Path("one.png")), doubled(first))
    assert call("in", "-o", "out", "--suffix", "_x2") == 0
    assert capsys.readouterr().out == "Ignored because of their suffix: 1 .txt.\nUpscaled 2 of 2 pictures: out.\n"
    np.testing.assert_array_equal(pixels_of(Path("out/sub/ü.v2_x2.png")), doubled(second))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("in/sub/ü.v2.png\n".encode())))
    assert call("-", "-o", "listed", "--format", "tif") == 0
    np.testing.assert_array_equal(pixels_of(Path("listed/ü.v2.tif")), doubled(second))
    assert files_in(Path()) == [
        "in/a b.png",
        "in/notes.txt",
        "in/sub/ü.v2.png",
        "listed/ü.v2.tif",
        "one.png",
        "out/a b_x2.png",
        "out/sub/ü.v2_x2.png",
        "w.pth",
    ]


def test_a_name_that_is_not_valid_utf_8(capsys):
    odd = os.fsdecode(b"in/caf\xe9 1.png")
    pixels = make(Path(odd))
    for _ in range(2):
        assert call(odd, "-o", os.fsdecode(b"out\xe9/")) == 0
    np.testing.assert_array_equal(pixels_of(Path(os.fsdecode(b"out\xe9/caf\xe9 1.png"))), doubled(pixels))
    assert r"(first: out\xe9/caf\xe9 1.png)" in capsys.readouterr().out


def test_the_script_is_the_command():
    assert 'sys.exit(run("upscale"))\n' in (ROOT / "scripts/upscale.py").read_text()


def test_results_that_exist_are_kept_and_reported_or_overwritten(capsys):
    make(Path("in/a.png"))
    make(Path("in/b.png"))
    old = make(Path("out/a.png"), seed=7)
    assert call("in", "-o", "out") == 0
    assert capsys.readouterr().out == (
        "Skipped since the result exists: 1 (first: out/a.png). --overwrite replaces them.\n"
        "Upscaled 1 of 1 pictures: out.\n"
    )
    np.testing.assert_array_equal(pixels_of(Path("out/a.png")), old)
    assert call("in", "-o", "out") == 0
    assert "result exists: 2" in (said := capsys.readouterr().out) and "Nothing is left to upscale." in said
    assert call("in", "-o", "out", "--overwrite") == 0
    np.testing.assert_array_equal(pixels_of(Path("out/a.png")), doubled(pixels_of(Path("in/a.png"))))


def test_results_beside_the_pictures_and_inside_their_folder(capsys):
    make(Path("in/a.png"))
    make(Path("beside/a.png"))
    for _ in range(2):
        assert call("in", "-o", "in/large") == 0
        assert call("beside", "-o", "beside", "--suffix", "_x2") == 0
    assert files_in(Path("in")) == ["a.png", "large/a.png"]
    assert files_in(Path("beside")) == ["a.png", "a_x2.png"]
    assert capsys.readouterr().out.endswith(
        "Ignored as results of other inputs: 1.\n"
        "Skipped since the result exists: 1 (first: beside/a_x2.png). --overwrite replaces them.\n"
        "Nothing is left to upscale.\n"
    )


def test_bad_files_are_listed_at_the_end(capsys, monkeypatch):
    for name in ("a", "c", "e"):
        make(Path(f"in/{name}.png"))
    Path("in/b.png").write_bytes(b"no picture")
    Path("in/d.png").symlink_to("gone")
    odd = os.fsdecode(b"in/caf\xe9.png")
    Path(odd).write_bytes(b"")
    assert call("in", "-o", "out") == 1
    out, err = capsys.readouterr()
    assert out == "Upscaled 3 of 5 pictures: out.\n"
    listed = err[err.index("Not upscaled, 3:") :].splitlines()
    assert listed[1] == "  in/d.png: is a broken link; expected a picture or a folder."
    assert listed[2].startswith("  in/b.png: ") and listed[3].startswith(r"  in/caf\xe9.png: ") and len(listed) == 4
    assert listed[2].count("b.png") == 1 and "Traceback" not in err
    assert files_in(Path("out")) == ["a.png", "c.png", "e.png"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"nowhere.png\n")))
    assert call("-", "-o", "out") == 1
    assert "  nowhere.png: does not exist.\n" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"in/a.png\nin/c.png\0in/e.png\n")))
    assert call("-", "-o", "listed") == 1
    assert r"  in/c.png\x00in/e.png: has a zero byte; expected one name a line" in capsys.readouterr().err
    assert files_in(Path("listed")) == ["a.png"]


def test_warnings_of_the_network_and_remarks_on_pictures_are_reported(monkeypatch, capsys):
    make(Path("a.png"))
    Image.fromarray(random_pixels(4, 4)).save("b.jpg", dpi=(300, 300))
    log = logging.getLogger("basicsr")
    handlers = list(log.handlers)
    monkeypatch.setattr(upscale, "_upscaler", lambda args: Repeating(lambda number: log.warning("tiles %s", number)))
    assert call("a.png", "b.jpg", "-o", "out", "--format", "ppm") == 0
    lines = capsys.readouterr().err.splitlines()
    assert "tiles 0" in lines and "tiles 1" in lines
    assert "b.jpg: PPM does not keep the resolution" in lines
    assert log.handlers == handlers


def test_ctrl_c(monkeypatch, capsys):
    for name in "abc":
        make(Path(f"in/{name}.png"))

    def interrupt(number):
        if number == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(upscale, "_upscaler", lambda args: Repeating(interrupt))
    assert call("in", "-o", "out") == 130
    assert capsys.readouterr().err.endswith(
        "\nStopped. Written results are complete; run the same command again (without --overwrite) to resume.\n"
    )
    assert files_in(Path("out")) == ["a.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.png", "-o", "x.png"], "gone.png does not exist (looked for from "),
        (["a.png", "-o", "x.xyz"], "The output x.xyz has the suffix .xyz; expected one of .png, "),
        (["a.png", "-o", ""], "--output is an empty text; "),
        (["a.png", "-o", "x/", "--format", "psd"], "format is 'psd'; expected one of png, jpg, "),
        (["a.png", "-o", "x/", "--suffix", "a/b"], "--suffix is 'a/b'; expected a part of a file name"),
        (
            ["a.png", "-o", "x.png", "--quality", "90"],
            "--quality is for JPEG, WEBP, AVIF; the results are PNG: drop it.",
        ),
        (["a.png", "-o", "a.png", "--overwrite"], "These outputs are inputs, too, and would be overwritten"),
        (["empty", "-o", "x"], "The inputs hold no picture (looked for .apng, "),
        (["wide.png", "-o", "x.webp"], "wide.png: the result has 16384 x 2 pixels; WEBP holds at most 16,383"),
        (["transparent.png", "-o", "x.jpg"], "transparent.png: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_reported_before_the_work(arguments, message, capsys):
    make(Path("a.png"))
    make(Path("wide.png"), 1, 8192)
    Image.new("RGBA", (3, 3)).save("transparent.png")
    Path("empty").mkdir()
    Path("empty/a.txt").touch()
    before = files_in(Path())
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and "0 of 1 images" not in error
    assert files_in(Path()) == before


def test_weights_and_folders_that_cannot_be_used(capsys):
    make(Path("a.png"))
    assert upscale.main(["a.png", "-o", "x.png", "--weights", "none.pth"]) == 2
    assert capsys.readouterr().err.startswith("--weights: none.pth does not exist (looked for from ")
    Path("closed").mkdir()
    with forbidden("closed", mode=0o500):
        assert call("a.png", "-o", "closed/") == 2
    assert capsys.readouterr().err.startswith("The output folder closed cannot be written to: permission denied: ")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--quality", "0", "'0'; expected a whole number from 1 to 100"),
        ("--quality", "101", "'101'; expected a whole number from 1 to 100"),
        ("--tile", "0", "'0'; expected auto, none or a number of pixels"),
        ("--tile", "-3", "'-3'; expected auto, none or a number of pixels"),
        ("--max-pixels", "1e6", "'1e6'; expected a whole number of 1 or more"),
        ("--precision", "fp8", "invalid choice: 'fp8'"),
    ],
)
def test_values_that_options_do_not_take(option, value, message, capsys):
    with pytest.raises(SystemExit) as ended:
        call("a.png", "-o", "x.png", f"{option}={value}")
    assert ended.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_without_weights_the_light_rcan_of_the_scale_is_taken(scale, monkeypatch):
    taken = []
    monkeypatch.setattr(upscale, "_upscaler", lambda args: taken.append(Path(args.weights)) or Repeating())
    make(Path("a.png"))
    assert upscale.main(["a.png", "-o", "b.png", "--scale", str(scale)]) == 0
    assert taken == [ROOT / f"rcan_plugin/weights/light/RCANlight_x{scale}.safetensors"]


@pytest.mark.parametrize(("arguments", "given"), [([], "missing"), (["--scale", "8"], "8")])
def test_without_weights_the_light_rcan_needs_a_scale(arguments, given, capsys):
    make(Path("a.png"))
    assert upscale.main(["a.png", "-o", "b.png", *arguments]) == 2
    words = f"--scale is {given}; expected one of 2, 3, 4 for the light RCAN that comes with the project; or give "
    assert capsys.readouterr().err.startswith(words)
    assert not Path("b.png").exists()


def test_arguments_for_other_weights_need_them(capsys):
    make(Path("a.png"))
    arguments = ["--network", "EDSR", "--arguments", "num_feat=64", "--no-strict", "--scale", "2"]
    assert upscale.main(["a.png", "-o", "b.png", *arguments]) == 2
    words = "--network, --arguments, --no-strict: for weights of your own; add --weights FILE.\n"
    assert capsys.readouterr().err == words


def test_help_states_the_values_of_the_package(capsys):
    with pytest.raises(SystemExit):
        upscale.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"(default {MAX_PIXELS})" in text
    assert "for JPEG and WebP (default 95) and AVIF (90)" in text
    assert {name: form.quality for name, form in FORMATS.items() if form.quality} == {
        "JPEG": 95,
        "WEBP": 95,
        "AVIF": 90,
    }
    assert all(suffix_of(name) for name in FORMATS)


def test_a_picture_made_to_fill_the_memory_does_not_end_the_run(capsys):
    make(Path("in/a.png"))
    data = bytearray(Path("in/a.png").read_bytes())
    data[16:24] = b"\x7f\xff\xff\xff" * 2  # width and height
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    Path("in/bomb.png").write_bytes(data)
    assert call("in", "-o", "out", "--format", "webp") == 1
    out, err = capsys.readouterr()
    assert out == "Upscaled 1 of 2 pictures: out.\n"
    assert "  in/bomb.png: has 2147483647 x 2147483647 pixels, more than the limit of 178,956,970" in err


def test_a_name_with_control_characters_is_one_line(capsys):
    Path("in").mkdir()
    Path("in/a\n\x1b[31m.png").touch()
    assert call("in", "-o", "out") == 1
    assert "  in/a\\n\\x1b[31m.png: is empty (0 bytes)" in capsys.readouterr().err
