"""`rcan compare`: what it prints and writes, and its exit codes."""

import json

import pytest

from rcan_plugin.cli import compare


@pytest.fixture
def option_file(tiny):
    path = tiny / "mine.yml"
    path.write_text(
        f"out: {tiny}/out\nscales: [2]\nmethods:\n  - bicubic\n  - {{name: B, weights: {tiny}/none.pth}}\n"
        f"sets:\n  - {{name: tiny, hr: {tiny}/HR, degradation: {{type: BI}}}}\n"
    )
    return path


def test_what_is_missing_is_reported_before_the_work_and_left_out_on_request(option_file, capsys):
    out = option_file.parent / "out"
    assert compare.main([str(option_file)]) == 2 and not out.exists()
    error = capsys.readouterr().err
    assert f"{option_file}:\n  line 5: methods: B: weights: {option_file.parent}/none.pth does not exist" in error
    assert "--available" in error and "Traceback" not in error

    assert compare.main([str(option_file), "--available"]) == 0
    printed = capsys.readouterr().out
    psnr = json.loads((out / "results.json").read_text())["rows"][0]["mean"]["psnr"]
    assert "left out: B: " in printed and f"Bicubic  PSNR {psnr:.2f}  SSIM " in printed
    assert "tiny x2: x2 BI (replicate), made from HR" in printed and f"{out}: written" in printed
    for name in ("table.md", "table.csv", "table.tex", "index.html", "pictures/tiny_BI_x2/0/Bicubic.png"):
        assert (out / name).is_file()
    assert "Bicubic" in (out / "table.md").read_text() and not list(out.rglob("*.part"))

    assert compare.main([str(option_file), "--available"]) == 0
    assert f"{out}: unchanged" in capsys.readouterr().out


def test_mistakes_of_all_files_are_printed(option_file, tmp_path, capsys):
    other = tmp_path / "other.yml"
    other.write_text("scales: [2]\nmethods: [bicubic]\nset: []\n")
    assert compare.main([str(option_file), str(other)]) == 2
    error = capsys.readouterr().err
    assert (
        "none.pth does not exist" in error and "line 3: set: is []; there is no such key. Did you mean sets?" in error
    )


def test_an_unchanged_run_imports_neither_torch_nor_basicsr(option_file, run):
    assert compare.main([str(option_file), "--available"]) == 0
    code = (
        "import sys\nfrom rcan_plugin.cli import compare\n"
        f"code = compare.main([{str(option_file)!r}, '--available'])\n"
        "print(code, sorted({'torch', 'basicsr', 'matplotlib'} & sys.modules.keys()))"
    )
    assert run("-c", code, fresh=True).stdout.splitlines()[-1] == "0 []"
