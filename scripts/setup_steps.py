"""The steps of set-up. `setup_env.py` runs them on a Python that fits, where only the standard library is there yet.

The rule of it all: `.venv/.complete` (the stamp) is removed before anything is changed and written last, and it says
what was installed for. A `.venv` without the stamp of today is completed or built anew, never taken for good.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASICSR = "1.4.2"
# pip builds BasicSR with the setuptools of `.venv`: its `setup_requires` would otherwise unpack a second torch into a
# throw-away folder. Capped, because setuptools calls `setup_requires` deprecated.
TOOLS = ("wheel", "setuptools>=64,<85", "pip")

# Measured with torch 2.15 for CUDA 13 on Linux: `.venv` 6.4 GB; the packages pip holds while it unpacks them, and may
# keep in its cache as well, 2.7 GB. Elsewhere torch comes without CUDA and is far smaller.
VENV_GB, PACKAGES_GB = (6.5, 3.0) if sys.platform == "linux" else (2.0, 0.5)

# BasicSR 1.4.2's setup.py reads `locals()` after `exec(...)`, where Python 3.13 and later no longer put the names
# (PEP 667). This gives `exec` its old meaning, in the processes of one pip call.
OLD_EXEC = """\
import builtins, sys

new_exec = builtins.exec

def old_exec(source, globals=None, locals=None, /, **options):
    if globals is None and locals is None:
        caller = sys._getframe(1)
        globals, locals = caller.f_globals, caller.f_locals
    return new_exec(source, globals, locals, **options)

builtins.exec = old_exec
"""

IMPORT_ALL = """\
import cv2, torch, torchvision, rcan_plugin
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none that torch can use"
print(f"    torch {torch.__version__}, torchvision {torchvision.__version__}, OpenCV {cv2.__version__}; GPU: {gpu}")
"""

NO_NETWORK = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|MaxRetryError|IncompleteRead|ProtocolError"
    r"|name resolution|Name or service not known|Connection (refused|reset|aborted|broken)|Network is unreachable"
)
NETWORK_VARIABLE = re.compile(
    r"(https?|all|no)_proxy|PIP_(EXTRA_)?INDEX_URL|PIP_(NO_INDEX|PROXY|CERT|CONFIG_FILE)|SSL_CERT_FILE", re.I
)
BROKEN_OFF = "not enough bytes were received"
NO_SPACE = re.compile(r"No space left on device|Errno 28|Disk quota exceeded|Errno 122")


class SetupError(Exception):
    """Set-up cannot go on. The text says why and what to do."""


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def python_of(venv: Path) -> Path:
    return venv / "bin" / "python"


def site_packages(venv: Path) -> Path:
    return venv / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"


def environment(**more: str) -> dict[str, str]:
    """Return the user's environment without what would let Python or pip look, or install, outside `.venv`."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX")}
    return {**kept, "PYTHONNOUSERSITE": "1", "PIP_USER": "0", **more}


# --- what is there already ---------------------------------------------------------------------------------------


def wanted_stamp(root: Path) -> dict[str, str]:
    """Return what `.venv` is to be installed for. The folder counts, because a virtual environment cannot be moved."""
    return {
        "root": str(root),
        "python": "{}.{}".format(*sys.version_info),
        "setup.py": hashlib.sha256((root / "setup.py").read_bytes()).hexdigest(),
        "basicsr": BASICSR,
    }


def read_stamp(venv: Path) -> dict[str, str] | None:
    try:
        stamp = json.loads((venv / ".complete").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def write_stamp(root: Path) -> None:
    partial = root / ".venv/.complete.part"
    partial.write_text(json.dumps(wanted_stamp(root), indent=1), encoding="utf-8")
    partial.replace(root / ".venv/.complete")


def judge(root: Path) -> tuple[str, str]:
    """Return what to do about `.venv` ("nothing", "create", "complete" or "rebuild") and why."""
    venv = root / ".venv"
    stamp, wanted = read_stamp(venv), wanted_stamp(root)
    if not os.path.lexists(venv):
        return "create", "there is no .venv"
    if not venv.is_dir():
        raise SetupError(f"{venv} is in the way: it is no folder. Move or delete it, then run this again.")
    if stamp == wanted and python_of(venv).exists():
        return "nothing", ""
    if stamp and stamp.get("root") != wanted["root"]:
        return "rebuild", f"it was made for {stamp.get('root')}, and a virtual environment cannot be moved"
    version = python_version(venv)
    if version is None:
        return "rebuild", "its Python is gone or does not start"
    if version != wanted["python"]:
        return "rebuild", f"it has Python {version} and you asked for {wanted['python']}"
    if stamp is None:
        return "complete", "an earlier set-up did not come to its end"
    return "complete", "setup.py has changed since"


def python_version(venv: Path) -> str | None:
    """Return "3.11" for a `.venv` whose Python 3.11 starts and is that of a virtual environment, else None."""
    code = "import sys; assert sys.prefix != sys.base_prefix; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python_of(venv), "-c", code], capture_output=True, text=True, env=environment())
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def damaged_packages(site: Path) -> list[Path]:
    """Return the `*.dist-info` folders of packages that are not whole, which pip would take for installed.

    Each file that a package's RECORD lists with a size must be there in that size. pip writes RECORD last.
    """

    def whole(info: Path) -> bool:
        try:
            with (info / "RECORD").open(newline="", encoding="utf-8") as record:
                # pip compiles anew the .pyc files that some packages bring (numpy 2.2).
                sizes = [(row[0], int(row[2])) for row in csv.reader(record) if row[2] and not row[0].endswith(".pyc")]
            return all((site / name).stat().st_size == size for name, size in sizes)
        except (OSError, ValueError, IndexError):
            return False

    return [info for info in sorted(site.glob("*.dist-info")) if not whole(info)]


# --- room and tools ----------------------------------------------------------------------------------------------


def check_venv_module() -> None:
    """Raise unless this Python can make virtual environments; Debian and Ubuntu ship it without."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        version = "{}.{}".format(*sys.version_info)
        raise SetupError(
            f"this Python ({sys.executable}) cannot make virtual environments: it lacks {' and '.join(missing)}.\n"
            f"On Debian and Ubuntu:  sudo apt install python{version}-venv   then run this again.\n"
            "Without root rights: another Python 3.10 to 3.13, for example of pyenv, uv or conda:\n"
            "  make setup PYTHON=/path/to/its/python"
        )


def check_space(venv: Path, cache: Path | None) -> None:
    """Raise unless the disks have room for what is still missing in `.venv` and for pip's cache."""
    if os.environ.get("RCAN_SKIP_DISK_CHECK"):
        return
    held = sum(path.lstat().st_size for path in venv.rglob("*")) / 1e9 if venv.exists() else 0.0
    missing = max(0.0, 1 - held / VENV_GB)
    needs = [(venv, (VENV_GB + PACKAGES_GB) * missing)]
    if cache:
        needs.append((cache, PACKAGES_GB * missing))
    by_disk: dict[int, list[tuple[Path, float]]] = {}
    for path, need in needs:
        there = next(parent for parent in (path, *path.parents) if parent.exists())
        by_disk.setdefault(there.stat().st_dev, []).append((there, need))
    for uses in by_disk.values():
        free, need = shutil.disk_usage(uses[0][0]).free / 1e9, sum(need for _, need in uses)
        if free < need:
            raise SetupError(
                f"too little disk space: {need:.1f} GB are needed, {free:.1f} GB are free in "
                f"{' and '.join(str(path) for path, _ in uses)}.\n"
                f".venv takes {VENV_GB} GB, and {PACKAGES_GB} GB more while pip unpacks; "
                f"pip's cache ({cache or 'off'}) takes up to {PACKAGES_GB} GB.\n"
                "Free some space, or clone to a larger disk, or spare the cache:  PIP_NO_CACHE_DIR=1 make setup\n"
                "If you know that less will do (a torch without CUDA):  RCAN_SKIP_DISK_CHECK=1 make setup"
            )


def make_venv(root: Path, clear: bool) -> None:
    """Make `.venv`, or mend the one that is there; leave none behind that has no pip."""
    venv = root / ".venv"
    # Run from `.venv` itself (it may be activated), `sys.executable` would vanish under our feet.
    python = Path(sys.executable)
    base = python.resolve() if venv in python.parents else python
    command = [str(base), "-m", "venv", *(["--clear"] if clear else []), str(venv)]
    done = subprocess.run(command, env=environment())
    if done.returncode or not python_version(venv):
        shutil.rmtree(venv, ignore_errors=True)
        raise SetupError(
            f"making the virtual environment failed (see above; exit status {done.returncode}); .venv was removed.\n"
            f"The command was:  {' '.join(command)}\n"
            "Check that the disk is not full and that the folder may be written to, or take another Python:\n"
            "  make setup PYTHON=/path/to/python3.12"
        )


# --- pip ---------------------------------------------------------------------------------------------------------


def pip(venv: Path, *arguments: str, **variables: str) -> None:
    """Run pip in `.venv`, its output shown as it comes; raise `SetupError` with what went wrong if it fails."""
    log, temporary = venv / "pip.log", venv / "tmp"
    # pip unpacks gigabytes, and /tmp is often a small disk in memory.
    temporary.mkdir(exist_ok=True)
    options = ["--no-input", "--disable-pip-version-check", f"--log={log}"]
    if arguments[0] == "install" and not sys.stdout.isatty():
        options.append("--progress-bar=off")
    command = [str(python_of(venv)), "-m", "pip", *arguments, *options]
    errors: list[str] = []
    # stdout is left alone, for progress bars. The lock of `one_at_a_time` is handed down (`close_fds`), so that a pip
    # that outlives us keeps it.
    with subprocess.Popen(
        command,
        env=environment(TMPDIR=str(temporary), **variables),
        cwd=venv.parent,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        close_fds=False,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            sys.stderr.write(line)
            errors.append(line)
    if process.returncode:
        raise SetupError(diagnosis(arguments, "".join(errors), shutil.disk_usage(venv).free, log))


def diagnosis(arguments: tuple[str, ...], errors: str, free: int, log: Path) -> str:
    """Return what to tell the user about a failed pip call, from its error output and the bytes left on the disk."""
    again = "\nRun the same command again afterwards: it goes on where this one stopped."
    if NO_SPACE.search(errors) or free < 100e6:
        return (
            f"the disk is full ({free / 1e9:.1f} GB free in {log.parent}). Free some space (.venv needs {VENV_GB} GB, "
            f"and {PACKAGES_GB} GB more while pip unpacks), or spare pip's cache: PIP_NO_CACHE_DIR=1 make setup" + again
        )
    if BROKEN_OFF in errors:  # pip 26 says the same, and speaks of the network alone, when its disk is full
        return (
            f"a download broke off (see pip's lines above): the connection failed, or the disk was full "
            f"({free / 1e9:.1f} GB are free in {log.parent} now; {VENV_GB + PACKAGES_GB} GB are needed in all)." + again
        )
    if NO_NETWORK.search(errors):
        found = [
            f"{name}={re.sub('//[^/]*@', '//***@', value)}"  # no passwords in logs
            for name, value in sorted(os.environ.items())
            if NETWORK_VARIABLE.fullmatch(name)
        ]
        return (
            "pip could not reach the package index (see its lines above). Check the connection, and the settings it "
            f"goes by: {', '.join(found) or 'no proxy or PIP_ variable is set'}; `python -m pip config list` shows "
            "those in files. Behind a proxy set HTTPS_PROXY, for a mirror PIP_INDEX_URL." + again
        )
    last = "".join("  " + line + "\n" for line in errors.strip().splitlines()[-8:])
    return f"pip failed. The call was:  pip {' '.join(arguments)}\n{last}The whole log: {log}" + again


def cache_folder(venv: Path) -> Path | None:
    """Return pip's cache folder, or None if the cache is off."""
    done = subprocess.run(
        [python_of(venv), "-m", "pip", "cache", "dir"], capture_output=True, text=True, env=environment()
    )
    return Path(done.stdout.strip()) if done.returncode == 0 and done.stdout.strip() else None


def install_basicsr(venv: Path) -> None:
    """Install the unmodified BasicSR, without what it asks for: `tb-nightly` has no releases (see setup.py)."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(OLD_EXEC, encoding="utf-8")
        variables = {"PYTHONPATH": folder} if sys.version_info >= (3, 13) else {}
        pip(venv, "install", "--no-deps", "--no-build-isolation", f"basicsr=={BASICSR}", **variables)


def mend_opencv(venv: Path) -> None:
    """Replace OpenCV by its headless build where the system lacks the libraries of its windows (libGL)."""
    done = subprocess.run([python_of(venv), "-c", "import cv2"], capture_output=True, text=True, env=environment())
    if done.returncode == 0 or ".so" not in done.stderr:
        return  # anything else shows, with its traceback, when all is imported in the end
    say(f"OpenCV does not load ({done.stderr.strip().splitlines()[-1]}); taking opencv-python-headless instead")
    # Both builds own the folder cv2, so each must go before the other comes.
    pip(venv, "uninstall", "--yes", "opencv-python", "opencv-python-headless")
    pip(venv, "install", "opencv-python-headless")


# --- the end -----------------------------------------------------------------------------------------------------


def link_basicsr(root: Path) -> None:
    """Make the link `basicsr` at the root, so that `python basicsr/train.py` works there as in a BasicSR checkout."""
    link, package = root / "basicsr", site_packages(root / ".venv") / "basicsr"
    target = package.relative_to(root)
    if link.exists() and not link.is_symlink():
        raise SetupError(
            f"{link} is in the way: set-up makes a link of that name to the installed BasicSR, so that "
            "`python basicsr/train.py` works here. Move or delete it, then run this again."
        )
    if link.exists():
        if link.resolve() != package.resolve():
            say(f"Left as it is: the link basicsr leads to {link.readlink()}, not to {target}")
        return
    try:
        link.unlink(missing_ok=True)  # one that leads nowhere
        link.symlink_to(target, target_is_directory=True)
    except OSError as error:
        raise SetupError(
            f"the link {link} -> {target} could not be made ({error}). Does this disk know symbolic links? A clone on "
            f"another disk helps; without the link run {target}/train.py instead of basicsr/train.py."
        ) from error


def verify(root: Path) -> None:
    """Raise unless all of it imports, from outside the repository as in a user's own project."""
    venv = root / ".venv"
    site = site_packages(venv)
    found = [d.version for d in importlib.metadata.distributions(name="basicsr", path=[str(site)])]
    if found != [BASICSR]:
        raise SetupError(f"BasicSR {BASICSR} was expected in {site}, found: {', '.join(found) or 'none'}")
    for code, remedy in (
        (IMPORT_ALL, "What is named there is missing or damaged: delete .venv and run this again."),
        ("import basicsr", "`.venv/bin/python -m rcan_plugin.doctor` says which part does not fit."),
    ):
        with tempfile.TemporaryDirectory() as elsewhere:
            done = subprocess.run([python_of(venv), "-c", code], cwd=elsewhere, env=environment())
        if done.returncode:
            raise SetupError(f"all is installed, but it does not import (see the error above). {remedy}")


@contextlib.contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Wait while another set-up works in the same folder, for example `make test` in another terminal."""
    import fcntl  # not on Windows, which `main` has turned away

    folder = os.open(root, os.O_RDONLY)
    os.set_inheritable(folder, True)  # see `pip`
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work in this folder; waiting for it to end")
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError:
            pass  # a disk without locks
        yield
    finally:
        os.close(folder)


def set_up(root: Path) -> None:
    """Bring `.venv` and the link `basicsr` to what this version of the plugin needs; do nothing if they are."""
    venv = root / ".venv"
    todo, why = judge(root)
    if todo == "nothing":
        if not (root / "basicsr").exists():
            link_basicsr(root)
        return

    say(f"Setting up .venv with Python {sys.version.split()[0]} ({todo}: {why})")
    (venv / ".complete").unlink(missing_ok=True)
    check_venv_module()
    make_venv(root, clear=todo == "rebuild")
    link_basicsr(root)
    shutil.rmtree(venv / "tmp", ignore_errors=True)
    for info in damaged_packages(site_packages(venv)):
        say(f"Installing again what is not whole: {info.stem}")
        shutil.rmtree(info)  # pip overwrites the files of a package it does not know of
    check_space(venv, cache_folder(venv))

    say("1/4 pip and the tools it builds with")
    # Few retries: this first and small call is where a missing network shows (by `wheel`, new to a fresh `.venv`).
    pip(venv, "install", "--upgrade", "--retries=1", "--timeout=15", *TOOLS)
    say(f"2/4 BasicSR {BASICSR}")
    install_basicsr(venv)
    say(f"3/4 torch, torchvision, the plugin and its tools (the first time up to {PACKAGES_GB} GB to download)")
    pip(venv, "install", "--no-build-isolation", "--no-warn-conflicts", "--editable", ".[dev]")
    mend_opencv(venv)
    say("4/4 Checking that it all imports")
    verify(root)

    shutil.rmtree(venv / "tmp", ignore_errors=True)
    (venv / "pip.log").unlink(missing_ok=True)  # 25 MB
    write_stamp(root)
    say("Done. `source .venv/bin/activate`, then for example: python basicsr/train.py -opt options/train_RCAN_x4.yml")


def main(root: Path = ROOT) -> int:
    """Set up; return the exit status. Every expected trouble ends in a message, not in a traceback."""
    try:
        if os.name != "posix":
            raise SetupError("set-up is for Linux and macOS. On Windows use WSL, or install by hand: see README.md.")
        with one_at_a_time(root):
            set_up(root)
    except SetupError as error:
        sys.stdout.flush()
        print(f"\nset-up stopped: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"\nset-up stopped by the system: {error}. Is the folder writable and the disk not full?", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("\nset-up interrupted. Run it again: it goes on where it stopped.", file=sys.stderr)
        return 130
    return 0
