"""The option file of a comparison: what it may say, and all mistakes with their lines."""

import pytest

from rcan_plugin.compare.spec import filled, read_spec
from rcan_plugin.options.mistakes import Mistakes
from tests.conftest import ROOT

SETS = [{"name": "Set5", "hr": "HR", "degradation": {"type": "BI"}}]


def mistakes(text, tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text(text)
    with pytest.raises(Mistakes) as raised:
        read_spec(path)
    return str(raised.value).splitlines()


def test_defaults_and_what_methods_inherit(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text(
        "scales: [4, 2]\nensemble: true\n"
        "methods:\n  - bicubic\n  - {name: RCAN+ x, weights: {x2: a.pth}, precision: bf16}\n"
        "sets:\n  - {name: Set5, hr: HR, lr: LR, scales: [4]}\n"
    )
    spec = read_spec(path)
    assert (spec.title, str(spec.out), spec.scales) == ("mine", "results/compare/mine", (2, 4))
    assert (spec.color, spec.gray, spec.metrics) == ("Y", "gray", ("psnr", "ssim"))
    assert (spec.border_at(3), spec.pictures, spec.device) == (3, True, "auto")
    bicubic, rcan = spec.methods
    assert (bicubic.id, bicubic.kind, bicubic.scales, bicubic.ensemble) == ("Bicubic", "bicubic", (2, 4), False)
    assert (rcan.id, rcan.kind, rcan.scales, rcan.ensemble) == ("RCAN+_x", "network", (2,), True)
    assert rcan.weights == {2: "a.pth"}
    assert (rcan.precision, rcan.published) == ("bf16", "RCAN+ x")
    assert spec.sets[0].scales == (4,) and spec.sets[0].recipe is None


def test_values_of_the_wrong_kind_are_all_listed_with_their_lines(tmp_path):
    text = (
        "scale: 4\nscales: [5]\ncolor: YCbCr\ntile: 128\nmethods:\n  - {name: A, picture: x}\n"
        "sets:\n  - name: Set5\n    lr: LR\n"
    )
    lines = mistakes(text, tmp_path)
    assert lines[0] == "line 1: scale: is 4; there is no such key. Did you mean scales?"
    assert lines[1] == "line 2: scales: is [5]; expected a list of 1 or more values, each 2, 3, 4 or 8."
    assert lines[2] == "line 3: color: is YCbCr; expected Y or RGB."
    assert lines[3].startswith("line 4: tile: is 128; expected {size: N, overlap: M} in LR pixels")
    assert lines[4] == "line 6: methods: 0: picture: is x; there is no such key. Did you mean pictures?"
    assert lines[5].startswith("line 7: sets: 0: hr: the key is missing")


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ({"name": "A"}, "has none; expected one of bicubic, pictures, options, network, or weights alone"),
        ({"name": "A", "bicubic": True, "pictures": "x"}, "has bicubic and pictures; expected one of"),
        ({"name": "A", "pictures": "x", "ensemble": True}, "ensemble: is true, and only networks have it: remove it"),
        ({"name": "A", "network": {"num_feat": 3}}, "network: type: the key is missing"),
        ({"name": "A", "bicubic": True, "published": "RCAM"}, "no figures of this name are known. Did you mean RCAN?"),
        ({"name": "Bicubic", "pictures": "x"}, "two have the name 'Bicubic' in file names: rename one"),
    ],
    ids=str,
)
def test_contradictions_of_a_method(method, text):
    with pytest.raises(Mistakes) as raised:
        read_spec({"scales": [2], "methods": ["bicubic", method], "sets": SETS})
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "expected either lr, a folder of LR images, or degradation, such as {type: BI}"),
        ({"lr": "LR", "degradation": {"type": "BI"}}, "expected either lr, a folder of LR images, or degradation"),
        ({"degradation": {"type": "BX"}}, "degradation: kind is 'BX'; expected one of 'BI', 'BD', 'DN'"),
    ],
    ids=str,
)
def test_contradictions_of_a_set(given, text):
    with pytest.raises(Mistakes) as raised:
        read_spec({"scales": [2], "methods": ["bicubic"], "sets": [{"name": "Set5", "hr": "HR", **given}]})
    assert text in str(raised.value)


def test_the_scale_stands_in_texts_and_as_a_number():
    assert filled({"upscale": "{scale}", "file": "{set}_x{scale}", "list": ["{scale}", 3]}, 4, "Set5") == {
        "upscale": 4,
        "file": "Set5_x4",
        "list": [4, 3],
    }


def test_our_option_files_compare_all_networks_at_their_scales():
    spec = read_spec(ROOT / "options/compare/BI.yml")
    names = [method.name for method in spec.methods]
    others = {path.stem.split("_")[1] for path in (ROOT / "options/others").glob("train_*.yml")}
    assert set(names) == others | {"Bicubic", "RCAN", "RCAN+"} and len(others) == 12
    for file in ("BI", "BD"):
        spec = read_spec(ROOT / f"options/compare/{file}.yml")
        assert [test_set.name for test_set in spec.sets] == ["Set5", "Set14", "B100", "Urban100", "Manga109"]
        for method in spec.methods:
            for scale in method.scales if method.options else ():
                assert (ROOT / filled(method.options, scale)).is_file()
        assert spec.scales == (2, 3, 4)
