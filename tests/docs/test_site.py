"""The site builds without a warning: every link and anchor, every page in the navigation, every docstring it shows."""

import re
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from tests.conftest import ROOT


def built(config_file: Path, site: Path, **more) -> None:
    with config_file.open("rb") as file:
        build(load_config(file, site_dir=str(site), **more))


def test_the_site_builds_without_warnings(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    built(ROOT / "mkdocs.yml", tmp_path / "site", strict=True)
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "troubleshooting.html", "reference/options.html", "benchmarks/gpu.html"} <= pages

    def shown(page: str) -> str:
        return (tmp_path / "site" / page).read_text()

    assert "quickstart.jpg" in shown("index.html")
    commands = shown("reference/commands.html")
    assert 'id="rcan-upscale"' in commands and "--max-pixels" in commands
    assert "num_feat" in shown("reference/options.html") and 'id="network_g"' in shown("reference/options.html")
    assert "squeeze_factor" in shown("reference/networks.html") and "Raises" in shown("reference/python.html")
    # A page of the site loads nothing from elsewhere.
    loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?://[^\s\">]+)", shown("index.html"))
    assert loaded == []


@pytest.mark.parametrize("link", ["[a](gone.md)", "[a](index.md#gone)", "![a](gone.png)"])
def test_a_wrong_link_is_an_error(link, tmp_path):
    """With the settings of the site, on a page of its own."""
    settings = (ROOT / "mkdocs.yml").read_text()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# A page\n\n{link}\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text("site_name: a\nstrict: true\n" + settings[settings.index("validation:") :].split("\nnav:")[0])
    with pytest.raises(Abort):
        built(config, tmp_path / "site")
