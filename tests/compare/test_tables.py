"""Tables of a comparison: Markdown, CSV, LaTeX."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from rcan_plugin.compare import layout, tables
from tests.compare import example


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return example.write(tmp_path, pictures=False)


def test_markdown(folder: Path):
    tables.write(folder)
    text = (folder / "table.md").read_text()
    assert text.startswith("# RCAN on two sets\n\n## BI ×2\n\n| Method | Parameters | ")
    assert "Set2 PSNR | Set2 SSIM | Other\\_set PSNR | Other\\_set SSIM |" in text
    assert "| bicubic | – | – | – | <u>26.00</u> | <u>0.5200</u> |" in text
    assert "| RCAN | 15.6M | 916G | 12.3 | **27.75**<sup>a,b</sup> | **0.5550**<sup>a,b</sup> | **27.75** |" in text
    assert "| RCAN+ | 15.6M | 916G | 12.3 | 29.50<sup>c</sup> |" in text
    assert "- <sup>b</sup> with RGB instead of Y: 26.49\n" in text
    assert "unless a footnote says otherwise: on Y, border of 2 pixels cut, 8 bit rounding, whole images" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in lines} == {9}


def test_comma_separated_values_are_complete(folder: Path):
    tables.write(folder)
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert len(rows) == 12
    assert float(rows[2]["psnr"]) == 27.75 and rows[2]["published_psnr"] == "26.5"
    assert (rows[2]["method"], rows[2]["set"], rows[2]["scale"], rows[2]["border"]) == ("RCAN", "Set2", "2", "2")
    assert rows[2]["parameters"] == "15592379" and float(rows[2]["multiply_adds_256x256"]) == 1.02e12
    assert rows[2]["marks"] == "0.75 dB above the published 26.50 | with RGB instead of Y: 26.49"
    assert rows[0]["parameters"] == rows[0]["marks"] == ""


def test_latex(folder: Path):
    tables.write(folder)
    text = (folder / "table.tex").read_text()
    assert (
        r"RCAN & $\times$2 & 15.6M & \textbf{27.75}\textsuperscript{a,b} & \textbf{0.5550}\textsuperscript{a,b} &"
        in text
    )
    assert r"bicubic & $\times$4 & -- & \underline{25.50} & \underline{0.5100} & \underline{25.50}" in text
    assert r"\multicolumn{2}{c}{Other\_set}" in text and r"\cmidrule(lr){4-5}\cmidrule(lr){6-7}" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1
    assert text.count(r"\midrule") == 2
    assert r"\textsuperscript{c} Other protocol, not ranked: self-ensemble instead of no self-ensemble." in text
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    assert {
        len(re.findall(r"(?<!\\)&", line)) for line in body.splitlines() if " & " in line and "{c}" not in line
    } == {6}


def test_a_set_of_one_scale_only_is_absent_at_the_other(tmp_path: Path):
    content = example.results()
    content["sets"].pop()
    content["rows"] = [row for row in content["rows"] if row["set"] != "Other_set_BI_x4"]
    text = tables.latex(content, layout.groups(content))
    assert r"RCAN & $\times$4 & 15.6M & \textbf{27.25} & \textbf{0.5450} & -- & -- \\" in text


def test_names_are_escaped():
    content = example.results()
    content["methods"][1]["name"] = "R|C_A*N & 50%"
    found = layout.groups(content)
    assert "| R\\|C\\_A\\*N & 50% |" in tables.markdown(content, found)
    assert r"R\textbar{}C\_A{*}N \& 50\% &" in tables.latex(content, found)
