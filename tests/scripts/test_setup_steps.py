"""The steps of set-up and the state of `.venv`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import setup_steps
from setup_pip import SetupError

from tests.scripts.conftest import VERSION, stub

NO_LIBGL = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the steps of set-up with stubs. Returns the names of the steps called, in order."""
    done: list[str] = []
    monkeypatch.setattr(setup_steps, "pip", lambda venv, *arguments, **variables: done.append(f"pip {arguments[0]}"))
    monkeypatch.setattr(setup_steps, "make_venv", lambda root, clear: done.append(f"venv clear={clear}"))
    for step in ("check_space", "mend_opencv", "verify"):
        monkeypatch.setattr(setup_steps, step, lambda *_, step=step: done.append(step))
    return done


# --- the state of .venv --------------------------------------------------------------------------------------------


def test_a_complete_venv_is_left_unchanged(root: Path, calls: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert setup_steps.main(root) == 0
    assert setup_steps.main(root) == 0
    assert (calls, capsys.readouterr().out) == ([], "")
    assert (root / "basicsr").readlink() == Path(f".venv/lib/python{VERSION}/site-packages/basicsr")


def test_without_a_stamp_it_is_completed(root: Path) -> None:
    (root / ".venv/.complete").unlink()
    assert setup_steps.judge(root) == ("complete", "an earlier set-up did not finish")
    (root / ".venv/.complete").write_text('{"root": ')
    assert setup_steps.judge(root)[0] == "complete"


def test_a_changed_setup_py_needs_an_update(root: Path) -> None:
    (root / "setup.py").write_text("needs = ['torch', 'scipy']\n")
    assert setup_steps.judge(root) == ("complete", "setup.py has changed")


def test_a_moved_folder_needs_a_new_venv(root: Path) -> None:
    moved = root.rename(root.with_name("moved"))
    todo, why = setup_steps.judge(moved)
    assert todo == "rebuild"
    assert why == f"it was made for {root}, and a virtual environment cannot be moved"


def test_a_venv_whose_python_is_gone_or_another_is_rebuilt(root: Path) -> None:
    (root / ".venv/.complete").unlink()
    stub(root / ".venv/bin/python", "echo 3.8")
    assert setup_steps.judge(root) == ("rebuild", f"it has Python 3.8, and this is Python {VERSION}")
    (root / ".venv/bin/python").unlink()
    (root / ".venv/bin/python").symlink_to("/nowhere/python3")
    assert setup_steps.judge(root) == ("rebuild", "its Python is missing or does not start")
    setup_steps.write_stamp(root)
    assert setup_steps.judge(root)[0] == "rebuild"


def test_a_file_named_venv_is_not_touched(root: Path) -> None:
    shutil.rmtree(root / ".venv")
    assert setup_steps.judge(root)[0] == "create"
    (root / ".venv").write_text("mine")
    with pytest.raises(SetupError, match=r"\.venv is not a folder"):
        setup_steps.judge(root)
    assert (root / ".venv").read_text() == "mine"


def test_incomplete_packages_are_found(tmp_path: Path) -> None:
    def package(name: str, size: int, record: bool = True) -> None:
        (tmp_path / f"{name}.py").write_text("12345")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}\n")
        if record:
            (info / "RECORD").write_text(f'{name}.py,sha256=x,{size}\n{name}.pyc,sha256=x,9\n"{info.name}/RECORD",,\n')

    package("complete", 5)
    package("cut", 6)
    package("unrecorded", 5, record=False)
    package("gone", 5)
    (tmp_path / "gone.py").unlink()
    damaged = [path.name for path in setup_steps.damaged_packages(tmp_path)]
    assert damaged == ["cut-1.0.dist-info", "gone-1.0.dist-info", "unrecorded-1.0.dist-info"]


def test_steps_come_in_order_and_the_stamp_last(root: Path, calls: list[str]) -> None:
    (root / ".venv/.complete").unlink()
    assert setup_steps.main(root) == 0
    steps = ["venv clear=False", "check_space", "pip install", "pip install", "pip install", "mend_opencv", "verify"]
    assert calls == steps
    assert setup_steps.judge(root) == ("nothing", "")


@pytest.mark.parametrize(
    ("trouble", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "set-up interrupted. Run it again"),
        (SetupError("torch does not import"), 1, "set-up stopped: torch does not import"),
        (OSError(28, "No space left on device"), 1, "set-up stopped by the system: [Errno 28] No space left"),
    ],
)
def test_trouble_leaves_no_stamp(
    root: Path,
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trouble: BaseException,
    status: int,
    message: str,
) -> None:
    def fail(root: Path) -> None:
        raise trouble

    (root / "setup.py").write_text("changed\n")  # the stamp of before must go too
    monkeypatch.setattr(setup_steps, "verify", fail)
    assert setup_steps.main(root) == status
    assert message in capsys.readouterr().err
    assert not (root / ".venv/.complete").exists()


# --- an unsuitable machine -----------------------------------------------------------------------------------------


def test_no_venv_module_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_steps.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name)
    with pytest.raises(SetupError) as caught:
        setup_steps.check_venv_module()
    assert "it lacks ensurepip" in str(caught.value)
    assert f"sudo apt install python{VERSION}-venv" in str(caught.value)


def test_a_venv_that_fails_is_removed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(stub(root / "bin/python3", "exit 3")))
    with pytest.raises(SetupError, match=r"exit status 3\); \.venv was removed"):
        setup_steps.make_venv(root, clear=False)
    assert not (root / ".venv").exists()


def test_too_little_space_says_how_much_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    free = {"GB": 2.0}
    monkeypatch.setattr(setup_steps.shutil, "disk_usage", lambda path: usage(free["GB"] * 1e9))
    monkeypatch.setattr(setup_steps, "VENV_GB", 6.5)
    monkeypatch.setattr(setup_steps, "PACKAGES_GB", 3.0)
    monkeypatch.delenv("RCAN_SKIP_DISK_CHECK", raising=False)
    venv, cache = tmp_path / ".venv", tmp_path / "home/cache/pip"
    with pytest.raises(SetupError) as caught:
        setup_steps.check_space(venv, cache)
    assert "12.5 GB are needed, 2.0 GB are free" in str(caught.value)  # one disk for both
    assert "PIP_NO_CACHE_DIR=1 make setup" in str(caught.value)
    with pytest.raises(SetupError, match=r"9\.5 GB are needed"):
        setup_steps.check_space(venv, None)

    free["GB"] = 12.6
    setup_steps.check_space(venv, cache)
    free["GB"] = 2.0
    monkeypatch.setenv("RCAN_SKIP_DISK_CHECK", "1")
    setup_steps.check_space(venv, cache)


def test_space_already_used_by_the_venv_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(setup_steps.shutil, "disk_usage", lambda path: usage(0))
    monkeypatch.delenv("RCAN_SKIP_DISK_CHECK", raising=False)
    (tmp_path / "torch.so").write_bytes(b"")
    os.truncate(tmp_path / "torch.so", int(setup_steps.VENV_GB * 1e9))  # takes no room on the disk
    setup_steps.check_space(tmp_path, None)


def test_opencv_without_libgl_is_replaced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, ...]] = []
    monkeypatch.setattr(setup_steps, "pip", lambda venv, *arguments: done.append(arguments))
    stub(root / ".venv/bin/python", f"echo '{NO_LIBGL}' >&2; exit 1")
    setup_steps.mend_opencv(root / ".venv")
    assert done == [
        ("uninstall", "--yes", "opencv-python", "opencv-python-headless"),
        ("install", "opencv-python-headless"),
    ]


@pytest.mark.parametrize("script", ["exit 0", "echo 'ModuleNotFoundError: No module named numpy' >&2; exit 1"])
def test_opencv_is_kept_otherwise(root: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(setup_steps, "pip", lambda *_: pytest.fail("pip was called"))
    stub(root / ".venv/bin/python", script)
    setup_steps.mend_opencv(root / ".venv")


# --- BasicSR -------------------------------------------------------------------------------------------------------


def test_basicsr_build_finds_its_version_on_every_python(tmp_path: Path) -> None:
    """`get_version` of BasicSR 1.4.2's setup.py, which Python 3.13 alone ends with `KeyError: '__version__'`."""
    (tmp_path / "sitecustomize.py").write_text(setup_steps.OLD_EXEC)
    code = (
        "def get_version():\n"
        "    exec(compile(\"__version__ = '1.4.2'\", 'version.py', 'exec'))\n"
        "    return locals()['__version__']\n"
        "space = {}\n"
        "exec('kept = 1', space)\n"
        "exec('top = 2')\n"
        "print(get_version(), space['kept'], top)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1.4.2 1 2\n", "")


def test_the_link_is_made_and_a_users_own_is_kept(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = Path(f".venv/lib/python{VERSION}/site-packages/basicsr")
    link = root / "basicsr"
    setup_steps.link_basicsr(root)
    setup_steps.link_basicsr(root)
    assert link.readlink() == ours

    link.unlink()
    link.symlink_to(".venv/lib/python2.7/site-packages/basicsr")  # of an earlier .venv: dangling
    setup_steps.link_basicsr(root)
    assert link.readlink() == ours
    assert capsys.readouterr().out == ""

    link.unlink()
    (root / "checkout/basicsr").mkdir(parents=True)
    link.symlink_to("checkout/basicsr")
    setup_steps.link_basicsr(root)
    assert link.readlink() == Path("checkout/basicsr")
    assert "Kept: the link basicsr points to checkout/basicsr" in capsys.readouterr().out


def test_a_real_folder_basicsr_is_not_touched(root: Path) -> None:
    (root / "basicsr").mkdir()
    with pytest.raises(SetupError, match="basicsr is not a link"):
        setup_steps.link_basicsr(root)
    assert (root / "basicsr").is_dir()
    assert not (root / "basicsr").is_symlink()


def test_a_disk_without_links_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    with pytest.raises(SetupError, match="Does this disk support symbolic links"):
        setup_steps.link_basicsr(root)


@pytest.mark.parametrize(("version", "found"), [("1.3.5", "found: 1.3.5"), (None, "found: none")])
def test_another_basicsr_is_not_taken_for_ours(root: Path, version: str | None, found: str) -> None:
    if version:
        info = setup_steps.site_packages(root / ".venv") / f"basicsr-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: basicsr\nVersion: {version}\n")
        (info / "RECORD").write_text("")
    with pytest.raises(SetupError, match=rf"BasicSR 1\.4\.2 was expected in .*, {found}"):
        setup_steps.verify(root)
