"""The published figures through this code: the authors' own pictures, and bicubic."""

import re

import pytest

from rcan_plugin.compare.plan import make_plan
from rcan_plugin.compare.run import compare
from rcan_plugin.compare.spec import read_spec
from tests.reference import REFERENCE, needs_reference

SET5 = {
    "name": "Set5",
    "hr": f"{REFERENCE}/set5/HR/x{{scale}}",
    "lr": f"{REFERENCE}/set5/LRBI_replicate/x{{scale}}",
}
SET14 = {"name": "Set14", "hr": f"{REFERENCE}/set14/HR/x{{scale}}", "degradation": {"type": "BI"}}
QUICK = {"pictures": False, "explain": False, "latency": False}


@pytest.fixture(autouse=True)
def results_alone(monkeypatch):
    """Without tables, plots and the page."""
    for name in ("tables", "plots", "page"):
        monkeypatch.setattr(f"rcan_plugin.compare.{name}.write", lambda folder: None)


def official():
    """PSNR and SSIM of the authors by folder, scale and image; `Mean` for the mean."""
    figures, method = {}, ""
    text = (REFERENCE / "set5" / "psnr_ssim_official.txt").read_text()
    values = r"PSNR= ([\d.]+) SSIM= ([\d.]+)"
    for line in text.splitlines():
        if found := re.match(r"Method_\d: (\w+);", line):
            method = found[1]
        elif found := re.match(rf"(x\d) \d (\w+)_{method}_x\d.png: {values}", line):
            figures[method, found[1], found[2]] = float(found[3]), float(found[4])
        elif found := re.match(rf"(x\d): {values}", line):
            figures[method, found[1], "Mean"] = float(found[2]), float(found[3])
    return figures


@needs_reference
def test_the_authors_pictures_have_their_figures_to_four_digits(tmp_path):
    folders = {"RCAN": "RCAN", "RCAN+": "RCANplus"}
    methods = [{"name": name, "pictures": f"{REFERENCE}/set5/SR/{folders[name]}/x{{scale}}"} for name in folders]
    spec = {"out": str(tmp_path), "scales": [2, 3, 4], "methods": methods, "sets": [SET5], **QUICK}
    results = compare(spec).results
    figures, count = official(), 0
    for row in results["rows"]:
        method, scale = folders[row["method"]], row["set"][-2:]
        for image, values in {**row["images"], "Mean": row["mean"]}.items():
            psnr, ssim = figures[method, scale, image]
            assert values["psnr"] == pytest.approx(psnr, abs=5e-5) and values["ssim"] == pytest.approx(ssim, abs=5e-5)
            count += 1
        assert abs(row["mean"]["psnr"] - row["published"]["psnr"]) < 0.01
        assert row["marks"] == ["finished pictures: how they were made is not known"]
    assert count == 2 * 3 * 6
    assert [entry["identified"] for entry in results["sets"]] == [
        f"x{scale} BI, replicate border, exactly" for scale in (2, 3, 4)
    ]


@needs_reference
@pytest.mark.parametrize(
    ("test_set", "tolerance", "psnr"),
    [(SET5, 0.02, (33.66, 30.39, 28.42)), (SET14, 0.05, (30.24, 27.55, 26.00))],
    ids=["Set5", "Set14"],
)
def test_bicubic_has_the_published_figures(test_set, tolerance, psnr, tmp_path):
    options = {"out": str(tmp_path), "scales": [2, 3, 4], "methods": ["bicubic"], "metrics": ["psnr"]}
    results = compare({**options, "sets": [test_set], **QUICK}).results
    for row, expected in zip(results["rows"], psnr, strict=True):
        assert row["published"]["psnr"] == expected and row["marks"] == []
        assert row["mean"]["psnr"] == pytest.approx(expected, abs=tolerance)


@needs_reference
def test_names_and_sizes_are_those_of_the_files():
    plan = make_plan(read_spec({"scales": [4], "methods": ["bicubic"], "sets": [SET5, SET14]}))
    set5, set14 = plan.sets[4]
    assert [image.name for image in set5.images] == ["baby", "bird", "butterfly", "head", "woman"]
    assert (set5.images[4].width, set5.images[4].height) == (228, 344)
    assert [image.name for image in set14.images if image.gray] == ["img_003"]
