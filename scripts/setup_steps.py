"""The steps of set-up, run by `setup_env.py` on a supported Python with only the standard library.

`.venv/.complete` (the stamp) records what `.venv` was installed for. It is removed before the first change and written
after the last. A `.venv` whose stamp is missing or differs is completed or rebuilt, never used as it is.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from setup_pip import PACKAGES_GB, VENV_GB, SetupError, cache_folder, environment, pip, python_of

ROOT = Path(__file__).resolve().parent.parent
BASICSR = "1.4.2"
# pip builds BasicSR with the setuptools of `.venv`: in an isolated build its `setup_requires` would unpack a second
# torch into a temporary folder. Capped, because setuptools has deprecated `setup_requires`.
TOOLS = ("wheel", "setuptools>=77,<85", "pip")

# BasicSR 1.4.2's setup.py expects `exec(...)` to add names to `locals()`, which Python 3.13 and later do not (PEP 667).
# This restores the old `exec` in the processes of one pip call.
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


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def site_packages(venv: Path) -> Path:
    return venv / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"


# --- the state of .venv ------------------------------------------------------------------------------------------


def wanted_stamp(root: Path) -> dict[str, str]:
    """Return the stamp of a complete `.venv`. It has the folder, because a virtual environment cannot be moved."""
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
        raise SetupError(f"{venv} is not a folder. Move or delete it, then run this again.")
    if stamp == wanted and python_of(venv).exists():
        return "nothing", ""
    if stamp and stamp.get("root") != wanted["root"]:
        return "rebuild", f"it was made for {stamp.get('root')}, and a virtual environment cannot be moved"
    version = python_version(venv)
    if version is None:
        return "rebuild", "its Python is missing or does not start"
    if version != wanted["python"]:
        return "rebuild", f"it has Python {version}, and this is Python {wanted['python']}"
    if stamp is None:
        return "complete", "an earlier set-up did not finish"
    return "complete", "setup.py has changed"


def python_version(venv: Path) -> str | None:
    """Return the version ("3.11") of the Python in `.venv`, or None if it does not start or is not a venv's."""
    code = "import sys; assert sys.prefix != sys.base_prefix; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python_of(venv), "-c", code], capture_output=True, text=True, env=environment())
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def damaged_packages(site: Path) -> list[Path]:
    """Return the `*.dist-info` folders of incomplete packages, which pip would consider installed.

    A package is complete if each file that its RECORD lists with a size has that size. pip writes RECORD last.
    """

    def complete(info: Path) -> bool:
        try:
            with (info / "RECORD").open(newline="", encoding="utf-8") as record:
                # pip recompiles the .pyc files that some packages contain (numpy 2.2).
                sizes = [(row[0], int(row[2])) for row in csv.reader(record) if row[2] and not row[0].endswith(".pyc")]
            return all((site / name).stat().st_size == size for name, size in sizes)
        except (OSError, ValueError, IndexError):
            return False

    return [info for info in sorted(site.glob("*.dist-info")) if not complete(info)]


# --- disk space and venv -----------------------------------------------------------------------------------------


def check_venv_module() -> None:
    """Raise `SetupError` if this Python cannot create virtual environments, as on Debian without python3-venv."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        version = "{}.{}".format(*sys.version_info)
        raise SetupError(
            f"this Python ({sys.executable}) cannot create virtual environments: it lacks {' and '.join(missing)}.\n"
            f"On Debian and Ubuntu:  sudo apt install python{version}-venv   then run this again.\n"
            "Without root rights, use another Python 3.10 to 3.13, for example from pyenv, uv or conda:\n"
            "  make setup PYTHON=/path/to/its/python"
        )


def check_space(venv: Path, cache: Path | None) -> None:
    """Raise `SetupError` if the disks lack space for the missing part of `.venv` and for pip's cache (if any)."""
    if os.environ.get("RCAN_SKIP_DISK_CHECK"):
        return
    installed_gb = sum(path.lstat().st_size for path in venv.rglob("*")) / 1e9 if venv.exists() else 0.0
    missing = max(0.0, 1 - installed_gb / VENV_GB)
    needs = [(venv, (VENV_GB + PACKAGES_GB) * missing)]
    if cache:
        needs.append((cache, PACKAGES_GB * missing))
    by_disk: dict[int, list[tuple[Path, float]]] = {}
    for path, need in needs:
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        by_disk.setdefault(existing.stat().st_dev, []).append((existing, need))
    for uses in by_disk.values():
        free, need = shutil.disk_usage(uses[0][0]).free / 1e9, sum(need for _, need in uses)
        if free < need:
            raise SetupError(
                f"too little disk space: {need:.1f} GB are needed, {free:.1f} GB are free in "
                f"{' and '.join(str(path) for path, _ in uses)}.\n"
                f".venv takes {VENV_GB} GB, and {PACKAGES_GB} GB more while pip unpacks; "
                f"pip's cache ({cache or 'off'}) takes up to {PACKAGES_GB} GB.\n"
                "Free some space, clone to a larger disk, or turn the cache off:  PIP_NO_CACHE_DIR=1 make setup\n"
                "To skip this check, for example for a torch without CUDA:  RCAN_SKIP_DISK_CHECK=1 make setup"
            )


def make_venv(root: Path, clear: bool) -> None:
    """Create `.venv` or repair it (`clear`: empty it first). If that fails, `.venv` is removed.

    Raises:
        SetupError: the virtual environment could not be created.
    """
    venv = root / ".venv"
    # If `.venv` is activated, `sys.executable` is in the folder that is cleared.
    python = Path(sys.executable)
    base = python.resolve() if venv in python.parents else python
    command = [str(base), "-m", "venv", *(["--clear"] if clear else []), str(venv)]
    done = subprocess.run(command, env=environment())
    if done.returncode or not python_version(venv):
        shutil.rmtree(venv, ignore_errors=True)
        raise SetupError(
            f"creating the virtual environment failed (see above; exit status {done.returncode}); .venv was removed.\n"
            f"The command was:  {' '.join(command)}\n"
            "Check that the disk is not full and the folder is writable, or use another Python:\n"
            "  make setup PYTHON=/path/to/python3.12"
        )


# --- BasicSR and OpenCV -------------------------------------------------------------------------------------------


def install_basicsr(venv: Path) -> None:
    """Install the unmodified BasicSR without its dependencies: `tb-nightly` has no releases (see setup.py)."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(OLD_EXEC, encoding="utf-8")
        variables = {"PYTHONPATH": folder} if sys.version_info >= (3, 13) else {}
        pip(venv, "install", "--no-deps", "--no-build-isolation", f"basicsr=={BASICSR}", **variables)


def mend_opencv(venv: Path) -> None:
    """Replace OpenCV with its headless build if a system library for windows (libGL) is missing."""
    done = subprocess.run([python_of(venv), "-c", "import cv2"], capture_output=True, text=True, env=environment())
    if done.returncode == 0 or ".so" not in done.stderr:
        return  # `verify` shows any other error with its traceback
    say(f"OpenCV does not load ({done.stderr.strip().splitlines()[-1]}); installing opencv-python-headless instead")
    # Both builds install the folder cv2: one must be removed before the other is installed.
    pip(venv, "uninstall", "--yes", "opencv-python", "opencv-python-headless")
    pip(venv, "install", "opencv-python-headless")


# --- last steps --------------------------------------------------------------------------------------------------


def link_basicsr(root: Path) -> None:
    """Create the link `basicsr` in the root, so that `python basicsr/train.py` works there as in a BasicSR checkout.

    A link of the user's own is kept.

    Raises:
        SetupError: something else has that name, or the disk has no symbolic links.
    """
    link, package = root / "basicsr", site_packages(root / ".venv") / "basicsr"
    target = package.relative_to(root)
    if link.exists() and not link.is_symlink():
        raise SetupError(
            f"{link} is not a link. Set-up creates a link of that name to the installed BasicSR, so that "
            "`python basicsr/train.py` works here. Move or delete it, then run this again."
        )
    if link.exists():
        if link.resolve() != package.resolve():
            say(f"Kept: the link basicsr points to {link.readlink()}, not to {target}")
        return
    try:
        link.unlink(missing_ok=True)  # a dangling link
        link.symlink_to(target, target_is_directory=True)
    except OSError as error:
        raise SetupError(
            f"the link {link} -> {target} could not be created ({error}). Does this disk support symbolic links? Clone "
            f"to another disk, or run {target}/train.py instead of basicsr/train.py."
        ) from error


def verify(root: Path) -> None:
    """Raise `SetupError` if an installed package does not import from outside the repository."""
    venv = root / ".venv"
    site = site_packages(venv)
    versions = [d.version for d in importlib.metadata.distributions(name="basicsr", path=[str(site)])]
    if versions != [BASICSR]:
        raise SetupError(f"BasicSR {BASICSR} was expected in {site}, found: {', '.join(versions) or 'none'}")
    for code, remedy in (
        (IMPORT_ALL, "A package is missing or damaged: delete .venv and run this again."),
        ("import basicsr", "`.venv/bin/python -m rcan_plugin.doctor` names the part that does not fit."),
    ):
        with tempfile.TemporaryDirectory() as elsewhere:
            done = subprocess.run([python_of(venv), "-c", code], cwd=elsewhere, env=environment())
        if done.returncode:
            raise SetupError(f"everything is installed, but an import fails (see the error above). {remedy}")


@contextlib.contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Wait while another set-up runs in the same folder, for example `make test` in another terminal."""
    import fcntl  # not on Windows, which `main` refuses

    folder = os.open(root, os.O_RDONLY)
    os.set_inheritable(folder, True)  # see `pip`
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting: another set-up is running in this folder")
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError:
            pass  # the disk has no locks
        yield
    finally:
        os.close(folder)


def set_up(root: Path) -> None:
    """Create or complete `.venv` and the link `basicsr`. Does nothing if both are complete.

    Raises:
        SetupError: a step failed.
    """
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
        say(f"Reinstalling an incomplete package: {info.stem}")
        shutil.rmtree(info)  # without it pip installs the package again
    check_space(venv, cache_folder(venv))

    say("1/4 pip and build tools")
    # Few retries: this small first call detects a missing network (a new `.venv` has no `wheel`).
    pip(venv, "install", "--upgrade", "--retries=1", "--timeout=15", *TOOLS)
    say(f"2/4 BasicSR {BASICSR}")
    install_basicsr(venv)
    say(f"3/4 torch, torchvision, the plugin and its tools (the first time up to {PACKAGES_GB} GB to download)")
    pip(venv, "install", "--no-build-isolation", "--no-warn-conflicts", "--editable", ".[dev]")
    mend_opencv(venv)
    say("4/4 Checking the imports")
    verify(root)

    shutil.rmtree(venv / "tmp", ignore_errors=True)
    (venv / "pip.log").unlink(missing_ok=True)  # 25 MB
    write_stamp(root)
    say("Done. `source .venv/bin/activate`, then for example: python basicsr/train.py -opt options/train_RCAN_x4.yml")


def main(root: Path = ROOT) -> int:
    """Set up `root`. Returns the exit status; expected errors are printed as messages, without a traceback."""
    try:
        if os.name != "posix":
            raise SetupError("set-up needs Linux or macOS. On Windows use WSL, or see docs/install.md.")
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
        print("\nset-up interrupted. Run it again: it continues where it stopped.", file=sys.stderr)
        return 130
    return 0
