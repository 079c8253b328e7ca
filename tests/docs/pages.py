"""The pages of the documentation, and what their code blocks hold."""

import re
from pathlib import Path

from tests.conftest import ROOT

LIGHT = ROOT / "rcan_plugin/weights/light/README.md"
GUIDES = [ROOT / "README.md", LIGHT, *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [*GUIDES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "benchmarks").rglob("*.md"))]
"""All that is written for users; the changelog tells of what is no more."""

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)((?: {4}.*\n)+)")
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of a language."""
    return [code for kind, code in FENCED.findall(page.read_text()) if kind == language]


def shell_lines(page: Path) -> list[str]:
    """The lines of indented blocks, which hold commands; what a backslash continues is one line."""
    found = INDENTED.findall(FENCED.sub("", page.read_text()))
    return [line.strip() for block in found for line in block.replace("\\\n", "").splitlines() if line.strip()]


def inline(page: Path) -> list[str]:
    """Code inside of sentences and tables."""
    return [" ".join(code.split()) for code in INLINE.findall(FENCED.sub("", page.read_text()))]
