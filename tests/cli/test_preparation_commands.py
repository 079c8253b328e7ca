"""What the commands that prepare, verify and identify data have in common; their work is tested in `preparation`."""

import importlib
import subprocess
import sys

import pytest

from rcan_plugin.cli import _exit_codes
from rcan_plugin.preparation import div2k
from rcan_plugin.preparation.encode import CODECS
from tests.conftest import ROOT

COMMANDS = {
    "create-lmdb": (["HR", "--out", "out"], "create_lmdb"),
    "identify": (["HR", "LR"], "identify_degradation"),
    "prepare-benchmarks": (["Set5"], "prepare_benchmarks"),
    "prepare-div2k": ([], "prepare_div2k"),
    "verify-lmdb": (["HR.lmdb"], "verify_lmdb"),
}


def main_of(command: str):
    return importlib.import_module(f"rcan_plugin.cli.{command.replace('-', '_')}").main


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_unknown_options(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main_of(command)(["--help"])
    assert ended.value.code == 0
    assert f"usage: rcan {command} " in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main_of(command)([*COMMANDS[command][0], "--nonsense"])
    assert ended.value.code == 2 and "--nonsense" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_what_does_not_exist_is_an_error_of_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main_of(command)(COMMANDS[command][0]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "looked for from" in error
    assert list(tmp_path.iterdir()) == []


def test_modules_and_help_need_no_heavy_packages():
    modules = [f"rcan_plugin.cli.{command.replace('-', '_')}" for command in (*COMMANDS, "upscale")]
    program = f"import sys, {', '.join(modules)}; print({{*sys.modules}} & {{'torch', 'numpy', 'cv2', 'basicsr'}})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_scripts_call_the_same_function(command):
    text = (ROOT / f"scripts/{COMMANDS[command][1]}.py").read_text()
    assert f'sys.exit(run("{command}"))\n' in text


def test_choices_are_those_of_the_package(capsys):
    with pytest.raises(SystemExit):
        main_of("prepare-div2k")(["--help"])
    text = capsys.readouterr().out
    assert f"{{{','.join(CODECS)}}}" in text and f"{{{','.join(div2k.IMAGE_COUNTS)}}}" in text


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("wrong"), 2, "wrong\n"),
        (OSError("gone"), 2, "gone\n"),
        (RuntimeError("locked"), 2, "locked\n"),
        (MemoryError(), 2, "There is not enough memory: close other programs. Hint.\n"),
        (KeyboardInterrupt(), 130, "\nStopped. Hint.\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_become_messages_and_exit_codes(error, code, text, capsys):
    def command() -> int:
        raise error

    assert _exit_codes.run(command, " Hint.") == code
    assert capsys.readouterr().err == text
    assert _exit_codes.run(lambda: 1) == 1
