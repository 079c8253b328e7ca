"""`rcan COMMAND`: help, unknown commands, and what it imports."""

import importlib
import json
import os
import pkgutil
import signal

import pytest

from rcan_plugin import cli
from rcan_plugin._version import __version__
from tests.conftest import ROOT


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    for name, text in cli.COMMANDS.items():
        assert any(line.split() == [name, *text.split()] for line in lines)
    assert cli.main([]) == 0 and "create-lmdb" in capsys.readouterr().out


def test_every_module_with_a_command_is_listed():
    modules = {module.name for module in pkgutil.iter_modules(cli.__path__) if not module.name.startswith("_")}
    # The quickstart needs the clone's option file and link: `make quickstart`.
    assert modules - {"quickstart"} == {name.replace("-", "_") for name in cli.COMMANDS}


def test_help_imports_neither_torch_nor_numpy(run):
    code = (
        "import sys, json\nfrom rcan_plugin.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    modules = json.loads(run("-c", code, fresh=True).stdout.splitlines()[-1])
    assert not {"torch", "numpy", "cv2", "basicsr"} & set(modules)


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"rcan_plugin {__version__}\n"


@pytest.mark.parametrize(("name", "nearest"), [("trian", "train"), ("verify_lmdb", "verify-lmdb"), ("zzz", None)])
def test_an_unknown_command_is_refused_with_the_nearest_name(name, nearest, capsys):
    assert cli.main([name]) == 2
    error = capsys.readouterr().err
    assert repr(name) in error and "prepare-div2k" in error
    assert (f"Did you mean {nearest}?" in error) if nearest else ("Did you mean" not in error)


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name not in ("train", "test")])
@pytest.mark.parametrize("flag", ["--help", "--nonsense"])
def test_every_command_has_help_and_refuses_unknown_flags(name, flag, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([name, flag])
    assert ended.value.code == (0 if flag == "--help" else 2)
    out, err = capsys.readouterr()
    assert f"rcan {name}" in (out or err)


def test_train_and_test_have_basicsrs_arguments(run, tmp_path):
    (tmp_path / "x.yml").touch()
    assert "-opt" in run("-m", "rcan_plugin.cli", "train", "--help").stdout
    assert "--nonsense" in run("-m", "rcan_plugin.cli", "test", "-opt", "x.yml", "--nonsense", code=2).stderr


def test_ctrl_c_while_a_command_is_imported(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert cli.main(["train"]) == 130
    assert capsys.readouterr().err == "\nStopped.\n"


INTERRUPTED = """
import os, runpy, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE: os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest in the background ignores it
sys.argv = ["program", *ARGUMENTS]
RUN
"""


@pytest.mark.parametrize(
    ("program", "module"),
    [
        ("rcan_plugin.train", "torch"),
        ("rcan_plugin.test", "torch"),
        ("scripts/quickstart.py", "numpy"),
        ("scripts/create_lmdb.py", "rcan_plugin.cli._lmdb"),
        ("scripts/create_lmdb.py", "numpy"),
        ("scripts/verify_lmdb.py", "rcan_plugin.cli._exit_codes"),
        ("scripts/verify_lmdb.py", "numpy"),
        ("scripts/identify_degradation.py", "numpy"),
        ("scripts/prepare_div2k.py", "argparse"),
        ("scripts/prepare_benchmarks.py", "argparse"),
        ("scripts/convert_weights.py", "argparse"),
    ],
)
def test_ctrl_c_in_the_first_seconds(program, module, run):
    """Also where the import of another package would turn it into another error."""
    arguments = ["a", "b"] if "identify" in program else ["a", "--out", "b"] if "create" in program else ["a"]
    path = program if program.startswith("rcan") else str(ROOT / program)
    runner = "run_module" if program.startswith("rcan") else "run_path"
    code = f"MODULE, ARGUMENTS = {module!r}, {arguments!r}" + INTERRUPTED.replace(
        "RUN", f"runpy.{runner}({path!r}, run_name='__main__')"
    )
    done = run("-c", code, code=130, fresh=True)
    assert done.stderr.startswith("\nStopped.") and "Traceback" not in done.stderr


def test_ctrl_c_during_imports_is_no_exception(monkeypatch):
    class EndedError(BaseException):
        pass

    def end(code):
        raise EndedError(code)

    monkeypatch.setattr(os, "_exit", end)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(EndedError, match="130"), cli.stopping_at_once():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with cli.stopping_at_once():
            signal.raise_signal(signal.SIGINT)  # ignored, as in the background
    finally:
        signal.signal(signal.SIGINT, before)
