"""`compare` on tiny images: results, what is kept, what is computed again, marks and explanations."""

import json
import os
import shutil
import sys

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_psnr, calculate_ssim

from rcan_plugin.compare import explain
from rcan_plugin.compare.metrics import Protocol, other_protocols, to_8_bits
from rcan_plugin.compare.published import Published
from rcan_plugin.compare.run import compare
from rcan_plugin.compare.work import Worker
from rcan_plugin.degradations import degrade, imresize
from rcan_plugin.inference.ensemble import self_ensemble
from rcan_plugin.inference.official_chop import official_chop
from rcan_plugin.inference.tiles import tiled
from rcan_plugin.options.mistakes import Mistakes
from rcan_plugin.weights.networks import build

RCAN = {"type": "RCANArch", "num_feat": 8, "num_group": 1, "num_block": 1, "squeeze_factor": 2, "upscale": 2}
VDSR = {"type": "VDSRArch", "num_feat": 4, "num_layers": 3}
MADE = ("tables", "plots", "page")


@pytest.fixture(autouse=True)
def written(monkeypatch):
    """The folders that tables, plots and the page were written to, instead of writing them."""
    folders = []
    for name in MADE:
        monkeypatch.setattr(f"rcan_plugin.compare.{name}.write", folders.append)
    monkeypatch.setattr("rcan_plugin.compare.run.MADE", ())
    return folders


@pytest.fixture
def runs(monkeypatch):
    """Method and image of each run of a network."""
    done = []
    run_network = Worker._run_network

    def noted(self, task, hr, lr):
        done.append((task.entrant.method.name, task.image.name))
        return run_network(self, task, hr, lr)

    monkeypatch.setattr(Worker, "_run_network", noted)
    return done


@pytest.fixture
def folder(tiny):
    """`tiny` with weights `rcan.pth` and `vdsr.pth`."""
    torch.manual_seed(0)
    for name, option in (("rcan", RCAN), ("vdsr", {**VDSR, "upscale": 1})):
        torch.save({"params": build(option).state_dict()}, tiny / f"{name}.pth")
    return tiny


def spec(folder, *methods, **options):
    methods = methods or ({"name": "RCAN", "network": RCAN, "weights": str(folder / "rcan.pth")},)
    tiny_set = {"name": "tiny", "hr": str(folder / "HR"), "degradation": {"type": "BI"}}
    usual = {"out": str(folder / "out"), "scales": [2], "sets": [tiny_set], "latency": False}
    return {**usual, "methods": list(methods), **options}


def images(folder, name):
    hr = cv2.imread(str(folder / "HR" / name))
    lr = degrade(hr, 2, "BI")
    return np.ascontiguousarray(hr[: 2 * len(lr), : 2 * lr.shape[1]]), lr


def by_hand(folder, name, in_parts=lambda net, lq: net(lq)):
    """The HR image, and what the network makes of its LR image, before rounding."""
    hr, lr = images(folder, name)
    net = build(RCAN).eval()
    net.load_state_dict(torch.load(folder / "rcan.pth")["params"])
    lq = torch.from_numpy(lr[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        sr = in_parts(net, lq)
    return hr, sr[0].permute(1, 2, 0).numpy()[..., ::-1]


def test_values_are_basicsrs_of_the_rounded_image(folder):
    methods = [
        {"name": "RCAN", "weights": str(folder / "rcan.pth")},
        {"name": "RCAN+", "network": RCAN, "weights": str(folder / "rcan.pth"), "ensemble": True},
        "bicubic",
    ]
    results = compare(spec(folder, *methods)).results
    rows = {row["method"]: row for row in results["rows"]}
    for name in ("0", "1", "2"):
        hr, lr = images(folder, f"{name}.png")
        upscaled = {
            "RCAN": to_8_bits(by_hand(folder, f"{name}.png")[1]),
            "RCAN+": to_8_bits(by_hand(folder, f"{name}.png", in_parts=self_ensemble)[1]),
            "Bicubic": imresize(lr, 2),
        }
        for method, sr in upscaled.items():
            sr = np.ascontiguousarray(sr)
            # Channels-last rounds otherwise: a value in a thousand may differ by 1.
            values = rows[method]["images"][name]
            assert values["psnr"] == pytest.approx(calculate_psnr(sr, hr, 2, test_y_channel=True), abs=2e-3)
            assert values["ssim"] == pytest.approx(calculate_ssim(sr, hr, 2, test_y_channel=True), abs=2e-4)
            picture = cv2.imread(str(folder / "out/pictures/tiny_BI_x2" / name / f"{method}.png"))
            assert np.abs(picture.astype(int) - sr).max() <= 1
        assert np.array_equal(cv2.imread(str(folder / "out/pictures/tiny_BI_x2" / name / "lr.png")), lr)
        assert np.array_equal(cv2.imread(str(folder / "out/pictures/tiny_BI_x2" / name / "hr.png")), hr)
    mean = rows["Bicubic"]["mean"]["psnr"]
    assert mean == pytest.approx(np.mean([values["psnr"] for values in rows["Bicubic"]["images"].values()]))
    assert rows["RCAN+"]["marks"] == ["with self-ensemble, others without"] and rows["Bicubic"]["marks"] == []
    by_scale = results["methods"][0]["by_scale"]["2"]
    assert by_scale["parameters"] == sum(p.numel() for p in build(RCAN).parameters())
    assert results["methods"][0]["network"] == "RCANArch"
    assert results == json.loads((folder / "out/results.json").read_text())


@pytest.mark.parametrize(
    ("tile", "words", "in_parts"),
    [
        ({"size": 16, "overlap": 4}, "tiles 16/4", lambda net, lq: tiled(net, lq, 2, 16, 4)),
        ({"protocol": "official_chop"}, "official chop", official_chop),
    ],
    ids=["tiles", "official_chop"],
)
def test_tiles_and_the_official_chop(tile, words, in_parts, folder):
    methods = [{"name": "RCAN", "weights": str(folder / "rcan.pth"), "tile": tile}]
    results = compare(spec(folder, *methods)).results
    assert results["rows"][0]["protocol"]["inference"] == words
    _, whole = by_hand(folder, "1.png")
    _, sr = by_hand(folder, "1.png", in_parts=in_parts)
    picture = cv2.imread(str(folder / "out/pictures/tiny_BI_x2/1/RCAN.png"))
    assert 50 * (picture != to_8_bits(sr)).sum() < (picture != to_8_bits(whole)).sum()


def test_a_second_run_does_nothing_and_a_stopped_one_continues(folder, runs, written, monkeypatch):
    run_network = Worker._run_network

    def stops(self, task, hr, lr):
        if len(runs) == 2:
            raise KeyboardInterrupt
        return run_network(self, task, hr, lr)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_run_network", stops)
        with pytest.raises(KeyboardInterrupt):
            compare(spec(folder))
    assert [image for _, image in runs] == ["0", "1"] and not written
    first = compare(spec(folder))
    assert [image for _, image in runs[2:]] == ["2"]
    assert first.is_new and written == [folder / "out"] * 3
    shutil.copytree(folder / "out", folder / "once")
    again = compare(spec(folder))
    assert len(runs) == 3 and not again.is_new and len(written) == 3
    shutil.rmtree(folder / "out")
    compare(spec(folder))
    texts = [json.loads((folder / name / "results.json").read_text()) for name in ("out", "once")]
    assert texts[0] | {"created": ""} == texts[1] | {"created": ""}


def test_what_has_changed_is_computed_again(folder, runs):
    before = compare(spec(folder)).results["rows"][0]["images"]
    hr = cv2.imread(str(folder / "HR/1.png"))
    stat = (folder / "HR/1.png").stat()
    hr[20:30] = 255 - hr[20:30]
    cv2.imwrite(str(folder / "HR/1.png"), hr)
    os.utime(folder / "HR/1.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = compare(spec(folder)).results["rows"][0]["images"]
    assert [image for _, image in runs[3:]] == ["1"]
    assert after["1"] != before["1"] and (after["0"], after["2"]) == (before["0"], before["2"])

    weights = torch.load(folder / "rcan.pth")
    weights["params"]["conv_last.bias"] += 20
    torch.save(weights, folder / "rcan.pth")
    changed = compare(spec(folder)).results["rows"][0]["images"]
    assert len(runs) == 7 and all(changed[name]["psnr"] != after[name]["psnr"] for name in changed)


def test_other_metrics_of_kept_pictures_need_no_network(folder, runs):
    on_y = compare(spec(folder)).results["rows"][0]["mean"]["psnr"]
    on_rgb = compare(spec(folder, color="RGB")).results["rows"][0]["mean"]["psnr"]
    assert len(runs) == 3 and on_rgb != on_y
    picture = folder / "out/pictures/tiny_BI_x2/0/RCAN.png"
    image = cv2.imread(str(picture))
    hr, _ = images(folder, "0.png")
    row = compare(spec(folder, color="RGB")).results["rows"][0]
    assert row["images"]["0"]["psnr"] == calculate_psnr(image, hr, 2)
    cv2.imwrite(str(picture), image // 2)
    compare(spec(folder))
    assert runs[3:] == [("RCAN", "0")] and np.array_equal(cv2.imread(str(picture)), image)
    content = bytearray(picture.read_bytes())
    content[-20] ^= 1  # as long as before
    picture.write_bytes(content)
    compare(spec(folder))
    assert runs[4:] == [("RCAN", "0")] and np.array_equal(cv2.imread(str(picture)), image)


def test_networks_of_luma_run_on_y_and_one_file_serves_several_scales(folder):
    method = {"name": "VDSR", "network": VDSR, "weights": str(folder / "vdsr.pth")}
    results = compare(spec(folder, method, "bicubic", scales=[2, 3])).results
    by_set = {(row["method"], row["set"]): row["mean"]["psnr"] for row in results["rows"]}
    assert len(by_set) == 4
    picture = cv2.imread(str(folder / "out/pictures/tiny_BI_x3/0/VDSR.png"))
    assert picture.shape == (39, 48, 3)
    assert results["methods"][0]["by_scale"]["3"]["sha256"] == results["methods"][0]["by_scale"]["2"]["sha256"]


def test_lr_images_are_identified_and_other_borders_marked(folder):
    for border in ("replicate", "symmetric"):
        (folder / border).mkdir()
        for path in (folder / "HR").iterdir():
            lr = degrade(cv2.imread(str(path)), 2, "BI", border=border)
            cv2.imwrite(str(folder / border / path.name), lr)
    sets = [{"name": name, "hr": str(folder / "HR"), "lr": str(folder / name)} for name in ("replicate", "symmetric")]
    results = compare(spec(folder, "bicubic", sets=sets)).results
    assert [entry["identified"] for entry in results["sets"]] == [
        "x2 BI, replicate border, exactly",
        "x2 BI, symmetric border, exactly",
    ]
    marks = [row["marks"] for row in results["rows"]]
    assert marks[0] == [] and marks[1] == ["LR has a symmetric border; the papers' test data repeat the nearest pixel"]


@pytest.mark.parametrize(
    ("words", "border", "published"),
    [
        ("with RGB instead of Y", "replicate", None),
        ("with a border of 0 pixels left out", "replicate", None),
        ("without rounding to 8 bits", "replicate", None),
        ("with LR images of BI (replicate) made from HR", "symmetric", None),
        (None, "replicate", 99.0),
    ],
)
def test_the_cause_of_a_difference_is_found_by_trying(words, border, published, folder, monkeypatch):
    tried, others = {}, []
    for name in ("0", "1", "2"):
        hr, _ = images(folder, f"{name}.png")
        lr = degrade(hr, 2, "BI", border="symmetric")
        if words and "LR images" in words:
            lr = degrade(hr, 2, "BI")
        sr = imresize(lr, 2)
        others.append(other_protocols(sr, imresize(lr / 255, 2), hr, Protocol("Y", 2, "gray"), 2))
        tried.setdefault("with LR images of BI (replicate) made from HR", []).append(
            calculate_psnr(sr, hr, 2, test_y_channel=True)
        )
    if words and "LR images" not in words:
        tried[words] = []
        for name in ("0", "1", "2"):
            hr, lr = images(folder, f"{name}.png")
            protocol = Protocol("Y", 2, "gray")
            tried[words].append(other_protocols(imresize(lr, 2), imresize(lr / 255, 2), hr, protocol, 2)[words])
    figure = published or float(np.mean(tried[words]))
    monkeypatch.setattr("rcan_plugin.compare.run.published", lambda *key: Published(figure, None, "a paper"))
    monkeypatch.setattr("rcan_plugin.compare.report.TOLERANCE", 1e-6)
    monkeypatch.setattr(explain, "REPRODUCED", 1e-6)
    degradation = {"type": "BI", "border": border}
    tiny_set = {"name": "tiny", "hr": str(folder / "HR"), "degradation": degradation}
    row = compare(spec(folder, "bicubic", sets=[tiny_set])).results["rows"][0]
    assert any("the published" in mark for mark in row["marks"])
    assert row["explanation"] == (words and f"{words}: {figure:.2f}")


def test_finished_pictures_are_paired_by_name_and_their_size_checked(folder):
    (folder / "x2").mkdir()
    for path in (folder / "HR").iterdir():
        hr, _ = images(folder, path.name)
        cv2.imwrite(str(folder / "x2" / f"{path.stem}_mine.png"), hr)
    method = {"name": "mine", "pictures": str(folder / "x{scale}")}
    row = compare(spec(folder, method)).results["rows"][0]
    assert row["mean"] == {"psnr": None, "ssim": pytest.approx(1)}  # equal images: infinite
    assert row["protocol"]["inference"] == "pictures"
    cv2.imwrite(str(folder / "x2" / "0_mine.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(Mistakes, match=r"methods: mine: image .*0_mine.png is 9x9; expected 48x40, as its HR image"):
        compare(spec(folder, method))


def test_gray_images_are_measured_as_they_are_or_as_color(folder):
    gray = cv2.imread(str(folder / "HR/0.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(folder / "HR/0.png"), gray)
    lr = degrade(gray, 2, "BI")
    sr = imresize(lr, 2)
    for choice, pair in (("gray", (sr, gray)), ("color", tuple(np.repeat(x[..., None], 3, 2) for x in (sr, gray)))):
        row = compare(spec(folder, "bicubic", gray=choice)).results["rows"][0]
        assert row["images"]["0"]["psnr"] == calculate_psnr(*pair, crop_border=2, test_y_channel=True)
    assert cv2.imread(str(folder / "out/pictures/tiny_BI_x2/0/Bicubic.png"), cv2.IMREAD_UNCHANGED).ndim == 2


def test_wrong_weights_and_networks_are_all_said_before_the_work(folder, runs):
    methods = [
        {"name": "A", "network": {**RCAN, "num_block": 2}, "weights": str(folder / "rcan.pth")},
        {"name": "B", "network": {**RCAN, "type": "RCANAsch"}, "weights": str(folder / "rcan.pth")},
        {"name": "C", "network": {**RCAN, "upscale": 3}},
        {"name": "D", "network": RCAN, "weights": str(folder / "rcan.pth")},
    ]
    with pytest.raises(Mistakes) as raised:
        compare(spec(folder, *methods))
    text = str(raised.value)
    for part in ("methods: A: x2: ", "num_block is 1 in its tensors", "B: x2: ", "RCANAsch", "not x2"):
        assert part in text
    assert not runs


def test_a_device_that_is_not_here_is_reported_before_anything_is_made(folder):
    with pytest.raises(Mistakes, match=r"^device: is 'cuda:99', which cannot be used \(.+\): choose cpu\.$"):
        compare(spec(folder, device="cuda:99"))
    assert not (folder / "out").exists()


def test_images_without_partner_name_the_options_of_a_comparison(folder):
    (folder / "LR").mkdir()
    cv2.imwrite(str(folder / "LR/other.png"), np.zeros((4, 4, 3), np.uint8))
    pairs = {
        "name": "tiny",
        "hr": str(folder / "HR"),
        "lr": str(folder / "LR"),
        "hr_template": "{}",
        "lr_template": "{}",
    }
    with pytest.raises(
        Mistakes, match=r"has no partner: .* give in hr_template and lr_template how the names are made"
    ):
        compare(spec(folder, sets=[pairs]))


def test_a_result_that_is_not_finite_is_refused(folder):
    weights = torch.load(folder / "rcan.pth")
    weights["params"]["conv_last.bias"] += 3e38
    torch.save(weights, folder / "rcan.pth")
    net = RCAN | {"img_range": 1e-3}
    with pytest.raises(ValueError, match="RCAN x2: the result for 0 of tiny is not finite with precision fp32"):
        compare(spec(folder, {"name": "RCAN", "network": net, "weights": str(folder / "rcan.pth")}))


def test_what_is_missing_is_listed_or_left_out(folder):
    methods = [{"name": "RCAN", "options": "train.yml"}, "bicubic", {"name": "other", "pictures": "nowhere/x{scale}"}]
    with pytest.raises(Mistakes) as raised:
        compare(spec(folder, *methods))
    assert "train.yml does not exist" in str(raised.value) and "nowhere/x2 does not exist" in str(raised.value)
    assert "--available" in str(raised.value)
    lines = []
    results = compare(spec(folder, *methods), available=True, say=lines.append).results
    assert [row["method"] for row in results["rows"]] == ["Bicubic"]
    assert [line.split(":")[1] for line in lines[:2]] == [" RCAN", " other"] and len(results["left_out"]) == 2


def test_an_option_file_of_training_gives_network_and_weights(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "experiments/V/models").mkdir(parents=True)
    shutil.copy(folder / "vdsr.pth", folder / "experiments/V/models/net_g_latest.pth")
    option = {"name": "V", "datasets": {"val": {"pre_upsample": True}}, "network_g": {**VDSR, "upscale": 1}}
    (folder / "V.yml").write_text(json.dumps(option))
    given = {"name": "given", "network": VDSR, "weights": "vdsr.pth"}
    rows = compare(spec(folder, {"name": "V", "options": "V.yml"}, given)).results["rows"]
    assert rows[0]["images"] == rows[1]["images"]
    (folder / "V.yml").write_text(json.dumps({**option, "scale": 3}))
    with pytest.raises(Mistakes, match=r"V\.yml is of scale 3, not 2"):
        compare(spec(folder, {"name": "V", "options": "V.yml"}))


def test_latency_and_memory_are_measured_once_for_all_networks(folder, monkeypatch):
    monkeypatch.setattr("rcan_plugin.compare.costs.OUTPUT", (64, 96))
    weights = str(folder / "rcan.pth")
    methods = [{"name": name, "network": RCAN, "weights": weights, "ensemble": name == "B"} for name in "AB"]
    first = compare(spec(folder, *methods, latency=True)).results["methods"]
    a, b = (method["by_scale"]["2"] for method in first)
    assert a["latency"]["input"] == "48x32" and 2 <= a["latency"]["runs"] <= 9
    assert 0 < a["latency"]["median_ms"] < b["latency"]["median_ms"]
    assert a["memory_mb"] is None or a["memory_mb"] >= 0
    assert b["multiply_adds"]["256x256"] == 8 * a["multiply_adds"]["256x256"] > 0
    assert compare(spec(folder, *methods, latency=True)).results["methods"] == first


PYIQA = """
import torch

class Metric:
    def __init__(self, mode):
        self.metric_mode = mode

    def __call__(self, sr, hr=None):
        assert sr.shape[1] == 3 and sr.dtype == torch.float32 and sr.max() <= 1
        return (sr - hr).abs().mean() * 255 if self.metric_mode == "FR" else sr[:, 0].mean()

def create_metric(name):
    return Metric({"lpips": "FR", "niqe": "NR"}[name])
"""


def test_metrics_of_pyiqa_by_name(folder, monkeypatch):
    """With a stand-in that has its interface: a metric with and one without reference."""
    asked = spec(folder, "bicubic", metrics=["psnr", "lpips", "niqe"])
    with (
        monkeypatch.context() as without,
        pytest.raises(Mistakes, match=r"names lpips, niqe; only psnr and ssim work .*"),
    ):
        without.setattr("rcan_plugin.compare.metrics.importlib.util.find_spec", lambda name: None)
        compare(asked)
    for name in [name for name in sys.modules if name.split(".")[0] == "pyiqa"]:
        monkeypatch.delitem(sys.modules, name)  # the real one
    (folder / "pyiqa").mkdir()
    (folder / "pyiqa/__init__.py").write_text(PYIQA)
    configs = "DEFAULT_CONFIGS = {'lpips': {'lower_better': True}, 'niqe': {}, 'fid': {}}"
    (folder / "pyiqa/default_model_configs.py").write_text(configs)
    monkeypatch.syspath_prepend(str(folder))
    results = compare(asked).results
    assert [entry["better"] for entry in results["metrics"].values()] == ["higher", "lower", "higher"]
    hr, lr = images(folder, "0.png")
    sr = imresize(lr, 2)
    values = results["rows"][0]["images"]["0"]
    assert values["lpips"] == pytest.approx(np.abs(sr.astype(float) - hr).mean(), rel=1e-5)
    assert values["niqe"] == pytest.approx(sr[..., 2].mean() / 255, rel=1e-5)
    with pytest.raises(ValueError, match=r"names lpisp, which is neither .* Did you mean lpips\?"):
        compare(spec(folder, "bicubic", metrics=["lpisp"]))
    with pytest.raises(ValueError, match="names fid, which compares sets of images"):
        compare(spec(folder, "bicubic", metrics=["fid"]))
    for name in ("pyiqa", "pyiqa.default_model_configs"):
        del sys.modules[name]
