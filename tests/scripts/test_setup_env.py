"""Set-up, with stand-ins for what takes minutes: nothing here installs, or needs a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import setup_env  # noqa: E402
import setup_steps  # noqa: E402
from setup_steps import SetupError  # noqa: E402

VERSION = "{}.{}".format(*sys.version_info)
NO_LIBGL = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
# The end of pip 26's error output on a machine without a name server.
NO_NAME = (
    "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NameResolutionError(\"Failed to "
    "resolve host: [Errno -3] Temporary failure in name resolution\")': /simple/pip/\n"
    "ERROR: Could not find a version that satisfies the requirement wheel (from versions: none)\n"
)


def stub(path: Path, script: str) -> Path:
    """Write a shell script that stands in for a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a `.venv` that set-up takes for complete."""
    (tmp_path / "setup.py").write_text("needs = ['torch']\n")
    stub(tmp_path / ".venv/bin/python", f"echo {VERSION}")
    (setup_steps.site_packages(tmp_path / ".venv") / "basicsr").mkdir(parents=True)
    setup_steps.write_stamp(tmp_path)
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of set-up replaced by notes of their names."""
    done: list[str] = []
    monkeypatch.setattr(setup_steps, "pip", lambda venv, *arguments, **variables: done.append(f"pip {arguments[0]}"))
    monkeypatch.setattr(setup_steps, "make_venv", lambda root, clear: done.append(f"venv clear={clear}"))
    for step in ("check_space", "mend_opencv", "verify"):
        monkeypatch.setattr(setup_steps, step, lambda *_, step=step: done.append(step))
    return done


# --- the gate ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_gate_lets_fitting_pythons_through(minor: int) -> None:
    assert setup_env.refusal((3, minor, 1), "CPython", 64) == ""


@pytest.mark.parametrize(
    ("version", "implementation", "bits", "named"),
    [
        ((2, 7, 18), "CPython", 64, "CPython 2.7.18 (64 bits)"),
        ((3, 9, 18), "CPython", 64, "CPython 3.9.18 (64 bits)"),
        ((3, 14, 0), "CPython", 64, "CPython 3.14.0 (64 bits)"),
        ((3, 11, 9), "PyPy", 64, "PyPy 3.11.9 (64 bits)"),
        ((3, 11, 9), "CPython", 32, "CPython 3.11.9 (32 bits)"),
    ],
)
def test_gate_names_what_it_found_and_the_remedy(
    version: tuple[int, ...], implementation: str, bits: int, named: str
) -> None:
    text = setup_env.refusal(version, implementation, bits)
    assert f"found:    {named} {sys.executable}" in text
    assert "expected: CPython 3.10, 3.11, 3.12 or 3.13 (64 bits)" in text
    assert "make setup PYTHON=python3.12" in text


def other_pythons() -> list[str]:
    """Pythons on this machine that set-up refuses and that start."""
    names = ["python2.7", *(f"python3.{minor}" for minor in (5, 6, 7, 8, 9, 14, 15))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    paths = [shutil.which(name) or next(map(str, pyenv.glob(f"*/bin/{name}")), "") for name in names]
    paths += [str(path) for name in names for path in pyenv.glob(f"*/bin/{name}")]
    return sorted(
        {path for path in paths if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0}
    )


def test_gate_refuses_the_other_pythons_here_without_a_traceback() -> None:
    if not (pythons := other_pythons()):
        pytest.skip("no Python older than 3.10 or newer than 3.13 on this machine")
    for python in pythons:
        done = subprocess.run([python, ROOT / "scripts/setup_env.py"], capture_output=True, text=True)
        assert done.returncode == 1, python
        assert done.stderr.startswith("set-up stopped, nothing was changed: this Python does not fit."), done.stderr
        assert done.stdout == ""


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run our Makefile in `folder` with a set-up that only says which Python runs it, out of the stubs there."""
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "scripts/setup_env.py", folder / "scripts")
    (folder / "scripts/setup_steps.py").write_text("import os\ndef main(): print('set up by', os.environ['NAME'])\n")
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/sh").symlink_to("/bin/sh")
    program = shutil.which("make")
    assert program
    environ = {"PATH": str(folder / "bin")}
    return subprocess.run([program, "setup", *arguments], cwd=folder, env=environ, capture_output=True, text=True)


def test_make_passes_over_pythons_that_do_not_start_or_fit(tmp_path: Path) -> None:
    stub(tmp_path / "bin/python3", "echo 'pyenv: python3: command not found' >&2; exit 127")
    stub(tmp_path / "bin/python3.13", "exit 1")
    stub(tmp_path / "bin/python3.12", f'NAME=python3.12 exec {sys.executable} "$@"')
    stub(tmp_path / "bin/python3.11", f'NAME=python3.11 exec {sys.executable} "$@"')
    done = make(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "set up by python3.12\n", "")


def test_make_keeps_to_the_python_of_the_venv_that_is_there(tmp_path: Path) -> None:
    stub(tmp_path / "bin/python3", f'NAME=python3 exec {sys.executable} "$@"')
    stub(tmp_path / ".venv/bin/python", f'NAME=venv exec {sys.executable} "$@"')
    assert make(tmp_path).stdout == "set up by venv\n"


def test_make_says_that_no_python_starts(tmp_path: Path) -> None:
    done = make(tmp_path, "PYTHON=/nowhere/python3")
    assert done.returncode == 2
    assert "set-up stopped: no Python starts (tried: /nowhere/python3)." in done.stderr
    assert "make setup PYTHON=/path/to/python3.12" in done.stderr


# --- what is taken for good ----------------------------------------------------------------------------------------


def test_a_complete_venv_is_left_alone(root: Path, calls: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert setup_steps.main(root) == 0
    assert setup_steps.main(root) == 0
    assert (calls, capsys.readouterr().out) == ([], "")
    assert (root / "basicsr").readlink() == Path(f".venv/lib/python{VERSION}/site-packages/basicsr")


def test_without_a_stamp_it_is_completed(root: Path) -> None:
    (root / ".venv/.complete").unlink()
    assert setup_steps.judge(root) == ("complete", "an earlier set-up did not come to its end")
    (root / ".venv/.complete").write_text('{"root": ')
    assert setup_steps.judge(root)[0] == "complete"


def test_a_changed_setup_py_asks_for_an_update(root: Path) -> None:
    (root / "setup.py").write_text("needs = ['torch', 'scipy']\n")
    assert setup_steps.judge(root) == ("complete", "setup.py has changed since")


def test_a_moved_folder_asks_for_a_new_venv(root: Path) -> None:
    moved = root.rename(root.with_name("moved"))
    todo, why = setup_steps.judge(moved)
    assert todo == "rebuild"
    assert why == f"it was made for {root}, and a virtual environment cannot be moved"


def test_a_venv_whose_python_is_gone_or_another_is_rebuilt(root: Path) -> None:
    (root / ".venv/.complete").unlink()
    stub(root / ".venv/bin/python", "echo 3.8")
    assert setup_steps.judge(root) == ("rebuild", f"it has Python 3.8 and you asked for {VERSION}")
    (root / ".venv/bin/python").unlink()
    (root / ".venv/bin/python").symlink_to("/nowhere/python3")
    assert setup_steps.judge(root) == ("rebuild", "its Python is gone or does not start")
    setup_steps.write_stamp(root)
    assert setup_steps.judge(root)[0] == "rebuild"


def test_a_file_named_venv_is_not_touched(root: Path) -> None:
    shutil.rmtree(root / ".venv")
    assert setup_steps.judge(root)[0] == "create"
    (root / ".venv").write_text("mine")
    with pytest.raises(SetupError, match=r"\.venv is in the way: it is no folder"):
        setup_steps.judge(root)
    assert (root / ".venv").read_text() == "mine"


def test_packages_that_are_not_whole_are_found(tmp_path: Path) -> None:
    def package(name: str, size: int, record: bool = True) -> None:
        (tmp_path / f"{name}.py").write_text("12345")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}\n")
        if record:
            (info / "RECORD").write_text(f'{name}.py,sha256=x,{size}\n{name}.pyc,sha256=x,9\n"{info.name}/RECORD",,\n')

    package("whole", 5)
    package("cut", 6)
    package("unrecorded", 5, record=False)
    package("gone", 5)
    (tmp_path / "gone.py").unlink()
    found = [path.name for path in setup_steps.damaged_packages(tmp_path)]
    assert found == ["cut-1.0.dist-info", "gone-1.0.dist-info", "unrecorded-1.0.dist-info"]


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


# --- what a machine can lack ---------------------------------------------------------------------------------------


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


def test_no_network_is_told_from_other_failures(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:9/simple")
    text = setup_steps.diagnosis(("install", "wheel"), NO_NAME, 10**12, root / "pip.log")
    assert text.startswith("pip could not reach the package index")
    assert "PIP_INDEX_URL=http://***@127.0.0.1:9/simple" in text  # without the password
    assert "it goes on where this one stopped" in text

    text = setup_steps.diagnosis(("install", "wheel"), "ERROR: No matching distribution\n", 10**12, root / "pip.log")
    assert "pip failed. The call was:  pip install wheel\n  ERROR: No matching distribution\n" in text
    assert f"The whole log: {root / 'pip.log'}" in text


def test_a_full_disk_is_told_from_other_failures(root: Path) -> None:
    errors = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
    assert setup_steps.diagnosis(("install",), errors, 10**12, root / "pip.log").startswith("the disk is full")
    assert setup_steps.diagnosis(("install",), "", 10**7, root / "pip.log").startswith("the disk is full (0.0 GB free")


def test_a_broken_download_names_both_causes(root: Path) -> None:
    errors = "x Download failed after 6 attempts because not enough bytes were received (284.4 MB/404.9 MB)\n"
    text = setup_steps.diagnosis(("install",), errors, 2 * 10**9, root / "pip.log")
    assert text.startswith("a download broke off")
    assert f"or the disk was full (2.0 GB are free in {root} now" in text


def test_pip_itself_at_a_closed_port(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(root / ".venv/bin/python", f'exec {sys.executable} "$@"')
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(SetupError, match="pip could not reach the package index"):
        setup_steps.pip(root / ".venv", "install", "--dry-run", "--retries=1", "rcan-plugin-no-such-package")
    assert "127.0.0.1" in capsys.readouterr().err  # pip's own lines are shown as well


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
    """`get_version` as in the setup.py of BasicSR 1.4.2, which dies with `KeyError: '__version__'` on Python 3.13."""
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
    link.symlink_to(".venv/lib/python2.7/site-packages/basicsr")  # of an earlier .venv: leads nowhere now
    setup_steps.link_basicsr(root)
    assert link.readlink() == ours
    assert capsys.readouterr().out == ""

    link.unlink()
    (root / "checkout/basicsr").mkdir(parents=True)
    link.symlink_to("checkout/basicsr")
    setup_steps.link_basicsr(root)
    assert link.readlink() == Path("checkout/basicsr")
    assert "Left as it is: the link basicsr leads to checkout/basicsr" in capsys.readouterr().out


def test_a_real_folder_basicsr_is_not_touched(root: Path) -> None:
    (root / "basicsr").mkdir()
    with pytest.raises(SetupError, match="basicsr is in the way"):
        setup_steps.link_basicsr(root)
    assert (root / "basicsr").is_dir()
    assert not (root / "basicsr").is_symlink()


def test_a_disk_without_links_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    with pytest.raises(SetupError, match="Does this disk know symbolic links"):
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
