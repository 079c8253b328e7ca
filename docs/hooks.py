"""MkDocs hooks that add pages to the site: pages made at build time, and pages from other folders."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")

GENERATED = ("reference/commands.md", "reference/options.md")


def shown() -> Iterator[tuple[str, str]]:
    """Files outside docs/ that the site shows: path in the project, path in the site."""
    yield "README.md", "index.md"
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "rcan_plugin/weights/light/README.md"):
        yield name, name
    training = ROOT / "benchmarks/training"
    for folder in (ROOT / "benchmarks", training, *sorted(path for path in training.iterdir() if path.is_dir())):
        for path in sorted(folder.iterdir()):
            if path.suffix in (".md", ".png", ".svg", ".jpg"):
                yield (name := path.relative_to(ROOT).as_posix()), name


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of other folders, and those that are made here."""
    for source, uri in shown():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    for uri, text in zip(GENERATED, (commands(), options()), strict=True):
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the project into links between pages; links to other files into plain text."""
    if page.file.src_uri in GENERATED:
        return markdown
    in_site = dict(shown())
    in_project = {uri: source for source, uri in in_site.items()}
    source = in_project.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        uri = in_site.get(target, target.removeprefix("docs/"))
        return posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".") + (match[2] or "")

    return LINK.sub(link, markdown)


def commands() -> str:
    """The page of all commands: what `--help` prints."""
    from rcan_plugin.cli import COMMANDS

    parts = ["# Commands", "What `rcan COMMAND --help` prints."]
    for name, purpose in COMMANDS.items():
        parts += [f"## rcan {name}", f"{purpose[0].upper()}{purpose[1:]}.", f"```text\n{help_of(name)}```"]
    return "\n\n".join(parts) + "\n"


def help_of(command: str) -> str:
    """What `rcan COMMAND --help` prints."""
    import importlib

    module = "rcan_plugin.options.arguments" if command in ("train", "test") else f"rcan_plugin.cli.{command}"
    module_ = importlib.import_module(module.replace("-", "_"))
    parse = module_.parse_arguments if command in ("train", "test") else module_.main
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.suppress(SystemExit),
        mock.patch.object(sys, "argv", [f"rcan {command}"]),
        mock.patch.dict(os.environ, COLUMNS="100"),
    ):
        parse(["--help"])
    return out.getvalue()


def options() -> str:
    """The page of option files, from the schema that checks them."""
    import rcan_plugin

    rcan_plugin.register()
    import basicsr  # noqa: F401

    from rcan_plugin.options import export

    return export.reference()
