"""Code, commands, option files and keys in the guides: they run, and they exist."""

import itertools
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from basicsr.utils import registry

from rcan_plugin import weights
from rcan_plugin.compare import spec
from rcan_plugin.options.export import json_schema
from tests.archs.rcan import small_rcan
from tests.archs.small import SMALL
from tests.conftest import ROOT
from tests.docs.pages import GUIDES, PAGES, blocks, inline, name, shell_lines

WITH_PYTHON = [page for page in GUIDES if blocks(page, "python")]
WITH_YAML = [page for page in GUIDES if blocks(page, "yaml")]

FREE = {"bias", "psnr", "ssim", "value", "norm", "adjustable", "adjustable_norm", "x4", "until"}
"""Keys that are names of the user's, or choices inside of a key's value."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that the guides name, and registries that forget what a guide registers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry.ARCH_REGISTRY, "_obj_map", dict(registry.ARCH_REGISTRY._obj_map))
    random = np.random.default_rng(0)
    for file, upscale, channels in (("net_g_latest", 4, 3), ("RCAN_x4", 4, 3), ("scans_x4", 4, 1)):
        arguments = {**SMALL["RCANArch"], "upscale": upscale, "num_in_ch": channels, "num_out_ch": channels}
        weights.save(f"{file}.pth", small_rcan(**arguments), **arguments)
    for file in ("cat.png", "lr.png"):
        assert cv2.imwrite(file, random.integers(0, 256, (12, 15, 3), np.uint8))
    Path("scans/valid").mkdir(parents=True)
    assert cv2.imwrite("scans/valid/2.png", random.integers(0, 65536, (41, 48), np.uint16))
    return tmp_path


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python_runs(page, folder, capsys):
    """All blocks of a page, one after the other, print what stands behind their `print` as a comment."""
    code = "\n".join(blocks(page, "python"))
    names = {"hr": np.random.default_rng(0).integers(0, 256, (420, 570, 3), np.uint8), "__name__": "guide"}
    exec(compile(code, name(page), "exec"), names)
    printed = iter(capsys.readouterr().out.splitlines())
    for expected in re.findall(r"^print\(.*\)  # (.*)$", code, re.M):
        assert expected in printed


def keys_of(value: object) -> set[str]:
    """The keys of mappings in a value, at any depth."""
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values()))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


def properties(schema: object) -> set[str]:
    """The keys that a JSON schema knows, at any depth."""
    if isinstance(schema, dict):
        own = schema.get("properties")
        return (set(own) if isinstance(own, dict) else set()).union(*map(properties, schema.values()))
    return set().union(*map(properties, schema)) if isinstance(schema, list) else set()


@pytest.fixture(scope="module")
def known_keys() -> set[str]:
    compared = {word for table in vars(spec).values() if isinstance(table, dict) for word in table}
    return {str(key) for key in compared} | properties(json_schema()) | {"datasets", "train", "val"} | FREE


@pytest.mark.parametrize("page", WITH_YAML, ids=name)
def test_yaml_has_known_keys(page, known_keys):
    for block in blocks(page, "yaml"):
        assert keys_of(yaml.safe_load(block)) - known_keys == set()


def expanded(text: str) -> list[str]:
    """`x{2,3}.yml` as `x2.yml` and `x3.yml`."""
    parts = re.split(r"\{([\w,]+)\}", text)
    choices = [part.split(",") if number % 2 else [part] for number, part in enumerate(parts)]
    return ["".join(choice) for choice in itertools.product(*choices)]


FILE = re.compile(r"(?<![\w/.])(?:options|scripts|benchmarks|rcan_plugin|tests)/[\w/.{},*-]*[\w}]")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_files_exist(page):
    """Files in code, of the project or of the package; `NAME`, `NETWORK` and `{scale}` stand for any text."""
    code = [*shell_lines(page), *inline(page), *itertools.chain(*(blocks(page, kind) for kind in ("yaml", "python")))]
    code = [re.sub(r"NAME|NETWORK|\{scale\}", "*", text) for text in code]
    found = [path for text in code for match in FILE.findall(text) for path in expanded(match)]
    assert [path for path in found if not any(ROOT.glob(path)) and not any((ROOT / "rcan_plugin").glob(path))] == []


def test_every_option_file_is_in_the_readme():
    table = [code for code in inline(ROOT / "README.md") if code.endswith(".yml")]
    patterns = [path.replace("NETWORK", "*") for code in table for path in expanded(code.removeprefix("options/"))]
    named = {path for pattern in patterns for path in (ROOT / "options").glob(pattern)}
    assert named == set((ROOT / "options").rglob("*.yml"))


def test_make_knows_the_targets():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        match
        for page in PAGES
        for text in [*shell_lines(page), *inline(page)]
        for match in re.findall(r"^(?:\w+=\w+ )*make (\w+)(?: \w+=\S+)?(?: +#.*)?$", text)
    }
    assert {"quickstart", "test", "docs"} <= named <= targets
