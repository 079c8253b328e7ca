"""Commands of `rcan` in the guides and in the heads of option files have arguments that their parsers take."""

import argparse
import contextlib
import importlib
import io
import re
import shlex

import pytest

from rcan_plugin.cli import COMMANDS, main
from rcan_plugin.options.arguments import parse_arguments
from tests.conftest import ROOT
from tests.docs.pages import PAGES, inline, name, shell_lines


class Parsed(BaseException):
    """Raised in place of what a command does. Not an `Exception`, which commands would print."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


@pytest.fixture
def parsing(monkeypatch):
    """Every command ends when its arguments are parsed."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise Parsed(self)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)


def parser_of(command: str, arguments: list[str]) -> argparse.ArgumentParser:
    """The parser of a command, after it took the arguments."""
    try:
        if command in ("train", "test"):
            parse_arguments(arguments)
        else:
            importlib.import_module(f"rcan_plugin.cli.{command.replace('-', '_')}").main(arguments)
    except Parsed as parsed:
        return parsed.parser
    except SystemExit:
        raise AssertionError(f"rcan {command} does not take {arguments}") from None
    raise AssertionError(f"rcan {command} parsed nothing")


def commands(lines: list[str]) -> list[list[str]]:
    """The words after `rcan` of the lines that are such a command, or end in one after a pipe."""
    found = [re.search(r"(?:^|\| )rcan (.*)", line) for line in lines]
    return [shlex.split(match[1], comments=True) for match in found if match]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_parse(page, parsing):
    for command, *arguments in commands(shell_lines(page)):
        parser_of(command, arguments)


def test_commands_of_option_files_parse(parsing):
    heads = [line.lstrip("# ") for path in (ROOT / "options").rglob("*.yml") for line in path.read_text().splitlines()]
    found = commands(heads)
    assert found
    for command, *arguments in found:
        parser_of(command, arguments)


LEAST = {
    "train": ["-opt", "F"], "test": ["-opt", "F"], "check": ["F"], "options": ["schema"], "doctor": [],
    "upscale": ["I", "-o", "O", "--weights", "W"], "prepare-div2k": [], "prepare-benchmarks": ["F"],
    "create-lmdb": ["F", "--out", "O"], "verify-lmdb": ["F"], "identify": ["H", "L"], "compare": ["F"],
    "convert-weights": ["I", "O"], "export-onnx": ["W", "O.onnx"], "plot-training": ["R"],
    "recognition": ["--images", "I", "--labels", "L", "--classifier", "C", "--classifier-weights", "W"],
}  # fmt: skip
"""Arguments that each command needs at least."""


def test_commands_in_sentences_exist_with_their_options(parsing):
    """They are often shown without arguments that are needed."""
    options = {command: parser_of(command, LEAST[command])._option_string_actions for command in COMMANDS}
    wrong = []
    for page in PAGES:
        for command, *words in commands(inline(page)):
            if command.startswith("-") or command == "COMMAND":
                continue
            flags = [word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)]
            if command not in options or any(flag not in options[command] for flag in flags):
                wrong.append((name(page), command, flags))
    assert wrong == []


def test_every_command_is_in_a_guide():
    shown = {words[0] for page in PAGES for words in commands([*shell_lines(page), *inline(page)]) if words}
    assert set(COMMANDS) <= shown


def test_the_check_sees_what_is_wrong(parsing):
    with contextlib.redirect_stderr(io.StringIO()):
        for wrong in (["upscale", "a.png"], ["check", "a.yml", "--nonsense"], ["options", "nothing"]):
            with pytest.raises(AssertionError, match="does not take"):
                parser_of(wrong[0], wrong[1:])
        assert main(["nonsense"]) == 2
    assert commands(["rcan check a.yml  # a comment", "find . | rcan upscale - -o b", "python rcan x"]) == [
        ["check", "a.yml"], ["upscale", "-", "-o", "b"]
    ]  # fmt: skip
