"""`rcan COMMAND`: help, unknown commands, and what it imports."""

import importlib
import json
import pkgutil

import pytest

from rcan_plugin import cli
from rcan_plugin._version import __version__


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


def test_train_and_test_have_basicsrs_arguments(run):
    assert "-opt" in run("-m", "rcan_plugin.cli", "train", "--help").stdout
    assert "--nonsense" in run("-m", "rcan_plugin.cli", "test", "-opt", "x.yml", "--nonsense", code=2).stderr


def test_ctrl_c_while_a_command_is_imported(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert cli.main(["train"]) == 130
    assert capsys.readouterr().err == "\nStopped.\n"
